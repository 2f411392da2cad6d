//! The rules of security. This module reads no request and no database. Its functions get values as parameters and decide.

mod argon2_memory;
pub mod attempts;
pub mod issuer;
pub mod keys;
pub mod minimum_duration;
pub mod password_hash;
pub mod password_rules;
pub mod policy;
pub mod reset_token;
pub mod token;
pub mod token_settings;
mod werkzeug;

pub use attempts::{Attempt, ProofAttempt};
pub use issuer::Issuer;
pub use minimum_duration::MinimumDuration;
pub use password_hash::{Password, PasswordHash, PasswordHasher};
pub use password_rules::{NewPassword, PasswordRules};
pub use reset_token::{ResetToken, ResetTokenHash};
pub use token::{TokenError, Tokens};
pub use token_settings::TokenSettings;
