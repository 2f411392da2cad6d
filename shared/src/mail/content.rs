//! The mails and their texts. The templates are in `shared/templates/`. The HTML templates escape every value.
//!
//! A mail contains no text that an attacker could choose. It does not even contain the account's name, because anybody can sign up with
//! somebody else's address and any name.

use std::time::Duration;

use askama::Template;

use crate::security::ResetToken;

/// The content of a mail.
pub struct Mail {
    pub(super) subject: &'static str,
    pub(super) text: String,
    pub(super) html: String,
}

#[derive(Template)]
#[template(path = "password_reset.txt")]
struct PasswordResetText<'a> {
    link: &'a str,
    minutes: u64,
}

#[derive(Template)]
#[template(path = "password_reset.html")]
struct PasswordResetHtml<'a> {
    link: &'a str,
    minutes: u64,
}

#[derive(Template)]
#[template(path = "password_changed.txt")]
struct PasswordChangedText;

#[derive(Template)]
#[template(path = "password_changed.html")]
struct PasswordChangedHtml;

impl Mail {
    /// The mail with the link to reset a password: `page`, a slash, and the token. It says how long the token is valid.
    #[must_use]
    pub fn password_reset(page: &str, token: &ResetToken, lifetime: Duration) -> Self {
        let minutes = lifetime.as_secs() / 60;
        let link = &format!("{page}/{}", token.to_link_text());
        Self {
            subject: "Reset your password",
            text: PasswordResetText { link, minutes }.to_string(),
            html: PasswordResetHtml { link, minutes }.to_string(),
        }
    }

    /// The notice that the password was changed (NIST SP 800-63B-4 §4.2.3; OWASP Forgot Password cheat sheet).
    #[must_use]
    pub fn password_changed() -> Self {
        Self {
            subject: "Your password was changed",
            text: PasswordChangedText.to_string(),
            html: PasswordChangedHtml.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Requirement 46.
    #[test]
    fn the_reset_mail_has_its_link_in_both_parts_and_escapes_it_in_html() {
        let page = "https://example.com/t?a=1&b=\"<x>";
        let mail = Mail::password_reset(page, &ResetToken::random(&mut crate::system::rng()), Duration::from_hours(1));
        assert!(mail.text.contains(&format!("{page}/")));
        assert!(mail.text.contains("60 minutes"));
        assert!(!mail.html.contains("<x>") && !mail.html.contains("&b=\""));
        assert!(mail.html.contains("60 minutes"));
    }

    // Requirement 31.
    #[test]
    fn the_notice_says_what_to_do() {
        let mail = Mail::password_changed();
        assert!(mail.text.contains("did not") && mail.html.contains("did not"));
    }
}
