//! The vocabulary: names, addresses and ids that cannot be wrong once they exist. Parse or refuse; no input or output.

mod email;
mod ids;
mod name;
mod rule;
mod time;

pub use email::{Email, EmailLookup};
pub use ids::{MailId, SessionId, TokenId, UserId};
pub use name::Name;
pub use rule::Rule;
pub use time::UnixTime;
