//! The rules. Nothing here reads a request or a database: it is given values and decides.

pub mod floor;
pub mod keys;
pub mod opaque_token;
pub mod password_hash;
pub mod password_rules;
pub mod policy;
pub mod throttle;
pub mod token;
mod werkzeug;

pub use floor::Floor;
pub use opaque_token::{ResetToken, ResetTokenHash};
pub use password_hash::{Password, PasswordHash, PasswordHasher};
pub use password_rules::{NewPassword, PasswordRules};
pub use throttle::Source;
pub use token::{TokenError, Tokens};
