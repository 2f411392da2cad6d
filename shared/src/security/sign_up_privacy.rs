//! Whether sign-up reveals that an address has an account (OWASP ASVS 6.3.8).

use std::time::Duration;

use super::policy;
use crate::environment::{ConfigError, Environment};

/// Whether sign-up and sign-in may tell a stranger which addresses have accounts. Reads `SIGNUP_TELLS`.
///
/// If it is `off`, a sign-up with the address of an account is answered like any other, and nobody can sign in before the address is verified. The second
/// rule is necessary: a stranger could sign up with an address and then sign in. A success would show that the address had no account.
///
/// # Errors
/// If it is neither `on` nor `off`.
pub fn sign_up_tells(env: &Environment) -> Result<bool, ConfigError> {
    env.switch("SIGNUP_TELLS", true)
}

/// The minimum duration of answers whose duration must not reveal whether an address has an account. Reads `FORGOT_PASSWORD_FLOOR_MS`.
///
/// # Errors
/// If it is not a number of milliseconds.
pub fn minimum_duration(env: &Environment) -> Result<Duration, ConfigError> {
    env.milliseconds("FORGOT_PASSWORD_FLOOR_MS", policy::FORGOT_PASSWORD_MINIMUM_DURATION)
}
