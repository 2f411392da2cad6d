//! The rules of security. This module reads no request and no database. Its functions get values as parameters and decide.

mod argon2_memory;
pub mod attempts;
pub mod data_keys;
pub mod email_code;
pub mod issuer;
pub mod keys;
pub mod link_token;
pub mod mail_budget;
pub mod minimum_duration;
pub mod password_hash;
pub mod password_rules;
pub mod policy;
pub mod recovery_code;
pub mod sign_up_privacy;
pub mod token;
pub mod token_settings;
pub mod totp;
pub mod verification_settings;
pub mod webauthn;
mod werkzeug;

pub use attempts::{Attempt, PasswordLink, ProofAttempt, SignInAttempt};
pub use data_keys::{DataKeys, Encrypted, NotDecrypted};
pub use email_code::{EmailCode, EmailCodeHash, EmailCodes};
pub use issuer::Issuer;
pub use link_token::{LinkToken, LinkTokenHash};
pub use mail_budget::MailBudget;
pub use minimum_duration::MinimumDuration;
pub use password_hash::{Password, PasswordHash, PasswordHasher};
pub use password_rules::{NewPassword, PasswordRules};
pub use recovery_code::{RecoveryCode, RecoveryCodeHash};
pub use token::{TokenError, Tokens};
pub use token_settings::TokenSettings;
pub use totp::{TotpCode, TotpSecret};
