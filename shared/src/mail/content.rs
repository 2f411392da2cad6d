//! The mails and how they are composed. `shared/templates/mails/` has a file for each language and mail, and the layout of all HTML parts.
//!
//! A mail contains no text that an attacker could choose. It does not even contain the account's name, because anybody can sign up with
//! somebody else's address and any name.

use std::time::Duration;

use askama::Template;

use crate::{
    brand::Brand,
    domain::{Locale, UnixTime},
    security::{EmailCode, LinkToken, policy},
};

/// What a mail is about.
pub enum Mail<'a> {
    /// The link to reset the password.
    PasswordReset(Link<'a>),
    /// The notice that the password was changed (NIST SP 800-63B-4 §4.2.3; OWASP Forgot Password cheat sheet).
    PasswordChanged,
    /// The link and the code that verify the address.
    Verification(Link<'a>, &'a EmailCode),
    /// The notice that somebody tried to sign up with the address of an account.
    SignUpAttempted,
    /// The link that proves the new address of a requested change.
    EmailChange(Link<'a>),
    /// The notice of a requested change of the address, for the current address.
    EmailChangeRequested,
    /// The link that undoes a change of the address, for the earlier address.
    EmailChanged(Link<'a>),
    /// The notice that a change of the address was undone, for the address that the undo replaced.
    EmailRestored,
    /// The link that keeps an account that its user has deleted.
    AccountDeleted {
        /// The link.
        link: Link<'a>,
        /// When the account may be erased.
        erase_at: UnixTime,
    },
    /// The notice that an authenticator was added, with the link that removes it.
    TotpAdded(Link<'a>),
    /// The notice that the authenticator was removed.
    TotpRemoved,
    /// The notice that a passkey was added, with the link that removes it.
    PasskeyAdded(Link<'a>),
    /// The notice that a passkey was removed.
    PasskeyRemoved,
    /// The notice that a passkey was rejected, because there may be a copy of it.
    PasskeyCopied,
    /// The notice that a recovery code was used.
    RecoveryCodeUsed {
        /// How many codes are left.
        left: i64,
    },
    /// The notice that the recovery codes were replaced.
    RecoveryCodesReplaced,
    /// The notice that somebody entered the right password and then five wrong codes (OWASP ASVS 6.3.5).
    SecondFactorFailed,
}

/// A link in a mail: `page`, a slash, and the token.
#[derive(Clone, Copy)]
pub struct Link<'a> {
    /// The URL of the page that the link leads to, without the token.
    pub page: &'a str,
    /// The token.
    pub token: &'a LinkToken,
}

impl Link<'_> {
    fn to_text(self) -> String {
        format!("{}/{}", self.page, self.token.to_link_text())
    }
}

/// The file of a mail in a language. A missing file is an error of the compiler.
macro_rules! file {
    ($locale:expr, $name:literal) => {
        match $locale {
            Locale::English => include_str!(concat!("../../templates/mails/en/", $name)),
            Locale::German => include_str!(concat!("../../templates/mails/de/", $name)),
            Locale::French => include_str!(concat!("../../templates/mails/fr/", $name)),
            Locale::Spanish => include_str!(concat!("../../templates/mails/es/", $name)),
        }
    };
}

impl<'a> Mail<'a> {
    /// Every mail, with these values.
    #[must_use]
    pub fn all(link: Link<'a>, code: &'a EmailCode) -> [Self; 17] {
        [
            Self::PasswordReset(link),
            Self::PasswordChanged,
            Self::Verification(link, code),
            Self::SignUpAttempted,
            Self::EmailChange(link),
            Self::EmailChangeRequested,
            Self::EmailChanged(link),
            Self::EmailRestored,
            Self::AccountDeleted { link, erase_at: UnixTime(1_795_426_221) },
            Self::TotpAdded(link),
            Self::TotpRemoved,
            Self::PasskeyAdded(link),
            Self::PasskeyRemoved,
            Self::PasskeyCopied,
            Self::RecoveryCodeUsed { left: 9 },
            Self::RecoveryCodesReplaced,
            Self::SecondFactorFailed,
        ]
    }
}

impl Mail<'_> {
    /// The text of the mail, with placeholders. The first line is the subject. Paragraphs are separated by empty lines. `[label]({placeholder})` is a
    /// paragraph that is only a link.
    fn file(&self, locale: Locale) -> &'static str {
        match self {
            Self::PasswordReset(_) => file!(locale, "password_reset.txt"),
            Self::PasswordChanged => file!(locale, "password_changed.txt"),
            Self::Verification(..) => file!(locale, "verification.txt"),
            Self::SignUpAttempted => file!(locale, "sign_up_attempted.txt"),
            Self::EmailChange(_) => file!(locale, "email_change.txt"),
            Self::EmailChangeRequested => file!(locale, "email_change_requested.txt"),
            Self::EmailChanged(_) => file!(locale, "email_changed.txt"),
            Self::EmailRestored => file!(locale, "email_restored.txt"),
            Self::AccountDeleted { .. } => file!(locale, "account_deleted.txt"),
            Self::TotpAdded(_) => file!(locale, "totp_added.txt"),
            Self::TotpRemoved => file!(locale, "totp_removed.txt"),
            Self::PasskeyAdded(_) => file!(locale, "passkey_added.txt"),
            Self::PasskeyRemoved => file!(locale, "passkey_removed.txt"),
            Self::PasskeyCopied => file!(locale, "passkey_copied.txt"),
            Self::RecoveryCodeUsed { .. } => file!(locale, "recovery_code_used.txt"),
            Self::RecoveryCodesReplaced => file!(locale, "recovery_codes_replaced.txt"),
            Self::SecondFactorFailed => file!(locale, "second_factor_failed.txt"),
        }
    }

    /// The values of the placeholders. The files of all languages have exactly these.
    fn values(&self) -> Vec<(&'static str, String)> {
        let hours = |time: Duration| ("hours", (time.as_secs() / 3600).to_string());
        let minutes = |time: Duration| ("minutes", (time.as_secs() / 60).to_string());
        let link = |link: &Link| ("link", link.to_text());
        match self {
            Self::PasswordReset(reset) => vec![link(reset), minutes(policy::RESET_TOKEN_LIFETIME)],
            Self::Verification(verify, code) => vec![
                link(verify),
                ("code", code.digits().to_owned()),
                hours(policy::VERIFICATION_LINK_LIFETIME),
                minutes(policy::EMAIL_CODE_LIFETIME),
            ],
            Self::EmailChange(change) => vec![link(change), minutes(policy::EMAIL_CHANGE_LIFETIME)],
            Self::EmailChanged(undo) => vec![link(undo), hours(policy::EMAIL_UNDO_LIFETIME)],
            Self::AccountDeleted { link: keep, erase_at } => vec![link(keep), ("date", erase_at.to_date())],
            Self::TotpAdded(undo) | Self::PasskeyAdded(undo) => vec![link(undo), hours(policy::FACTOR_UNDO_LIFETIME)],
            Self::RecoveryCodeUsed { left } => vec![("left", left.to_string())],
            Self::PasswordChanged
            | Self::SignUpAttempted
            | Self::EmailChangeRequested
            | Self::EmailRestored
            | Self::TotpRemoved
            | Self::PasskeyRemoved
            | Self::PasskeyCopied
            | Self::RecoveryCodesReplaced
            | Self::SecondFactorFailed => Vec::new(),
        }
    }

    /// Composes the mail in a language, or in the default language.
    ///
    /// # Panics
    /// Never: a test composes every mail in every language.
    #[must_use]
    pub fn compose(&self, locale: Option<Locale>, brand: &Brand) -> Message {
        let locale = locale.unwrap_or(brand.default_locale);
        let values = self.values();
        let (subject, body) = self.file(locale).split_once("\n\n").expect("a subject and paragraphs");
        let paragraphs: Vec<_> = body.split("\n\n").map(|paragraph| Paragraph::of(paragraph, &values)).collect();
        Message {
            subject,
            text: paragraphs.iter().map(Paragraph::to_text).chain(brand.name.clone()).collect::<Vec<_>>().join("\n\n"),
            html: Layout { locale, brand, subject, paragraphs: &paragraphs }.to_string(),
        }
    }
}

/// A composed mail.
pub struct Message {
    /// The subject.
    pub subject: &'static str,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// The HTML part of a mail. It escapes every text.
#[derive(Template)]
#[template(path = "mails/layout.html")]
struct Layout<'a> {
    locale: Locale,
    brand: &'a Brand,
    subject: &'a str,
    paragraphs: &'a [Paragraph],
}

enum Paragraph {
    Text(String),
    Link { label: String, address: String },
}

impl Paragraph {
    fn of(text: &str, values: &[(&str, String)]) -> Self {
        let text = text.trim_end().replace('\n', " ");
        let link = text.strip_prefix('[').and_then(|link| link.strip_suffix(')')?.split_once("]("));
        match link {
            Some((label, address)) => Self::Link { label: fill(label, values), address: fill(address, values) },
            None => Self::Text(fill(&text, values)),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Link { label, address } => format!("{label}\n{address}"),
        }
    }
}

/// Replaces each `{placeholder}` by its value. Values are not searched for placeholders.
fn fill(text: &str, values: &[(&str, String)]) -> String {
    let mut parts = text.split('{');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').expect("the end of a placeholder");
        let (_, value) = values.iter().find(|(known, _)| *known == name).expect("a placeholder that the mail has");
        filled.push_str(value);
        filled.push_str(rest);
    }
    filled
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{environment::Environment, system};

    const HOSTILE: &str = "https://example.com/\"><script>alert(1)</script>&b={minutes}";

    fn brand(variables: &[(&str, &str)]) -> Brand {
        Brand::from_env(&Environment::with(variables)).unwrap()
    }

    /// Every mail, with hostile values.
    fn every_mail(check: impl Fn(&Mail, Locale)) {
        let (token, code) = (LinkToken::random(&mut system::rng()), EmailCode::random(&mut system::rng()));
        for mail in Mail::all(Link { page: HOSTILE, token: &token }, &code) {
            for locale in Locale::ALL {
                check(&mail, locale);
            }
        }
    }

    fn placeholders(file: &str) -> BTreeSet<&str> {
        file.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect()
    }

    // Requirement 62.
    #[test]
    fn a_mail_has_the_same_paragraphs_and_placeholders_in_every_language() {
        every_mail(|mail, locale| {
            let (english, file) = (mail.file(Locale::English), mail.file(locale));
            assert_eq!(placeholders(file), mail.values().iter().map(|(name, _)| *name).collect(), "{file}");
            assert_eq!(file.split("\n\n").count(), english.split("\n\n").count(), "{file}");
            assert_eq!(file == english, locale == Locale::English, "the file is translated");
            assert!(file.split("\n\n").all(|paragraph| !paragraph.trim().is_empty()), "{file}");
            assert!(!file.starts_with('\n') && !file.lines().next().unwrap().contains('{'), "a subject: {file}");
        });
    }

    #[test]
    fn every_file_is_a_mail() {
        let (token, code) = (LinkToken::random(&mut system::rng()), EmailCode::random(&mut system::rng()));
        let mails = Mail::all(Link { page: HOSTILE, token: &token }, &code);
        for locale in Locale::ALL {
            let folder = format!("{}/templates/mails/{}", env!("CARGO_MANIFEST_DIR"), locale.tag());
            assert_eq!(std::fs::read_dir(folder).unwrap().count(), mails.len(), "{locale:?}");
        }
    }

    // Requirement 62.
    #[test]
    fn a_mail_has_its_values_in_both_parts_and_escapes_them_in_html_in_every_language() {
        let name = &HOSTILE[8..];
        let brand = brand(&[("BRAND_NAME", name), ("BRAND_LOGO_URL", "https://example.com/'&b=.png")]);
        every_mail(|mail, locale| {
            let Message { subject, text, html } = mail.compose(Some(locale), &brand);
            assert!(html.contains(&format!("<html lang=\"{}\">", locale.tag())), "{html}");
            assert!(html.contains(&format!("<title>{subject}</title>")), "{html}");
            let shown = [("&#34;", "\""), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
            let shown = shown.iter().fold(html.clone(), |html, (escaped, character)| html.replace(escaped, character));
            for value in mail.values().into_iter().map(|(_, value)| value).chain([name.to_owned()]) {
                assert!(text.contains(&value) && shown.contains(&value), "{value}: {text}\n{html}");
            }
            assert!(!html.contains("<script") && !html.contains("&b="), "{html}");
        });
    }

    // Requirement 46.
    #[test]
    fn the_reset_mail_has_its_link_in_both_parts_in_every_language() {
        let token = LinkToken::random(&mut system::rng());
        let link = format!("https://example.com/reset/{}", token.to_link_text());
        for locale in Locale::ALL {
            let mail = Mail::PasswordReset(Link { page: "https://example.com/reset", token: &token })
                .compose(Some(locale), &brand(&[]));
            assert!(mail.text.contains(&format!("\n{link}\n")), "{}", mail.text);
            assert!(mail.html.contains(&format!("href=\"{link}\"")), "{}", mail.html);
        }
    }

    #[test]
    fn the_brand_is_in_both_parts_and_text_on_its_color_is_readable() {
        let variables = [("BRAND_NAME", "Example"), ("BRAND_COLOR", "#ffb000"), ("DEFAULT_LOCALE", "fr")];
        let token = LinkToken::random(&mut system::rng());
        let mail = Mail::PasswordReset(Link { page: "https://example.com/reset", token: &token });
        let Message { text, html, .. } = mail.compose(None, &brand(&variables));
        assert!(
            text.ends_with("\n\nExample") && html.contains(">Example</p>") && html.contains("lang=\"fr\""),
            "{html}"
        );
        assert!(html.contains("background: #ffb000; color: #000000"), "{html}");
        assert!(!html.contains("<img"), "{html}");

        let logo = [("BRAND_NAME", "Example"), ("BRAND_LOGO_URL", "https://cdn.example.com/logo.png")];
        let html = mail.compose(None, &brand(&logo)).html;
        assert!(html.contains("<img src=\"https://cdn.example.com/logo.png\" alt=\"Example\""), "{html}");
    }

    #[test]
    fn texts_have_the_typography_of_their_language() {
        every_mail(|mail, locale| {
            let file = mail.file(locale);
            assert!(!file.contains(['\'', '"']), "straight quotes: {file}");
            assert!(file.lines().all(|line| line.chars().count() <= 150 && line.trim_end() == line), "{file}");
            if locale == Locale::French {
                let spaced = file.replace(['\u{a0}', '\u{202f}'], "_");
                for mark in [':', ';', '!', '?'] {
                    let bare = spaced.match_indices(mark).filter(|(at, _)| !spaced[..*at].ends_with('_'));
                    assert_eq!(bare.count(), 0, "a space that does not break before {mark}: {file}");
                }
            }
        });
    }
}
