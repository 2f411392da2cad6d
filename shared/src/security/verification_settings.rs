//! Whether addresses are verified.

use crate::environment::{ConfigError, Environment};

/// Whether a sign-up owes a verification mail. Reads `EMAIL_VERIFICATION`.
///
/// # Errors
/// If it is neither `on` nor `off`.
pub fn sign_up_owes_mail(env: &Environment) -> Result<bool, ConfigError> {
    env.switch("EMAIL_VERIFICATION", true)
}

/// Whether an account with an unverified address may do only what verifies or manages it. Reads `REQUIRE_VERIFIED_EMAIL` and `EMAIL_VERIFICATION`.
///
/// # Errors
/// If one of them is neither `on` nor `off`, or if addresses must be verified although sign-ups owe no mail.
pub fn is_required(env: &Environment) -> Result<bool, ConfigError> {
    let (required, owes_mail) = (env.switch("REQUIRE_VERIFIED_EMAIL", false)?, sign_up_owes_mail(env)?);
    if required && !owes_mail {
        let expected = "`off` if EMAIL_VERIFICATION is `off`, because new users would get no mail";
        return Err(ConfigError::Malformed { name: "REQUIRE_VERIFIED_EMAIL", expected });
    }
    Ok(required)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_is_on_by_default_and_not_required() {
        let of = |mails, required| {
            let env = Environment::with(&[("EMAIL_VERIFICATION", mails), ("REQUIRE_VERIFIED_EMAIL", required)]);
            (sign_up_owes_mail(&env).ok(), is_required(&env).ok())
        };
        assert_eq!(of("", ""), (Some(true), Some(false)));
        assert_eq!(of("off", ""), (Some(false), Some(false)));
        assert_eq!(of("on", "on"), (Some(true), Some(true)));
        assert_eq!(of("", "on"), (Some(true), Some(true)));
    }

    // Requirement 59.
    #[test]
    fn without_mails_verification_cannot_be_required() {
        let env = Environment::with(&[("EMAIL_VERIFICATION", "off"), ("REQUIRE_VERIFIED_EMAIL", "on")]);
        let refused = is_required(&env).unwrap_err().to_string();
        assert!(refused.contains("REQUIRE_VERIFIED_EMAIL") && refused.contains("EMAIL_VERIFICATION"), "{refused}");
    }
}
