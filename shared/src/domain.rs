//! The values that the other modules pass to each other. A value of these types is always valid, because parsing refuses everything else. This module
//! does no input or output.

mod counter;
mod email;
mod ids;
mod locale;
mod methods;
mod name;
mod passkey;
mod proof;
mod rule;
mod session;
mod source;
mod time;
mod user;

pub use counter::{CounterKey, FactorCounters, SignInCounters, TooMany};
pub use email::{Email, EmailLookup};
pub use ids::{EmailChangeId, FactorChangeId, FactorId, MailId, SessionId, TokenId, UserId};
pub use locale::Locale;
pub use methods::Methods;
pub use name::Name;
pub use passkey::Passkey;
pub use proof::Proof;
pub use rule::Rule;
pub use session::{
    Ended, ListedSession, NewSession, PresentedSession, Refreshed, Session, TableSession, VerifiedToken,
};
pub use source::Source;
pub use time::{UnixMillis, UnixTime};
pub use user::{Factors, User};
