//! The mails and how they are composed. `shared/templates/mails/` has a file for each language and mail, and the layout of all HTML parts.
//!
//! A mail contains no text that an attacker could choose. It does not even contain the account's name, because anybody can sign up with
//! somebody else's address and any name.

use askama::Template;

use crate::{
    brand::Brand,
    domain::Locale,
    security::{ResetToken, policy},
};

/// What a mail is about.
pub enum Mail<'a> {
    /// The link to reset the password: `page`, a slash, and the token.
    PasswordReset {
        /// The URL of the page that the link leads to, without the token.
        page: &'a str,
        /// The token.
        token: &'a ResetToken,
    },
    /// The notice that the password was changed (NIST SP 800-63B-4 §4.2.3; OWASP Forgot Password cheat sheet).
    PasswordChanged,
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
    pub fn all(page: &'a str, token: &'a ResetToken) -> [Self; 2] {
        [Self::PasswordReset { page, token }, Self::PasswordChanged]
    }
}

impl Mail<'_> {
    /// The text of the mail, with placeholders. The first line is the subject. Paragraphs are separated by empty lines. `[label]({placeholder})` is a
    /// paragraph that is only a link.
    fn file(&self, locale: Locale) -> &'static str {
        match self {
            Self::PasswordReset { .. } => file!(locale, "password_reset.txt"),
            Self::PasswordChanged => file!(locale, "password_changed.txt"),
        }
    }

    /// The values of the placeholders. The files of all languages have exactly these.
    fn values(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::PasswordReset { page, token } => vec![
                ("link", format!("{page}/{}", token.to_link_text())),
                ("minutes", (policy::RESET_TOKEN_LIFETIME.as_secs() / 60).to_string()),
            ],
            Self::PasswordChanged => Vec::new(),
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
        let token = ResetToken::random(&mut system::rng());
        for mail in Mail::all(HOSTILE, &token) {
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
        let token = ResetToken::random(&mut system::rng());
        for locale in Locale::ALL {
            let folder = format!("{}/templates/mails/{}", env!("CARGO_MANIFEST_DIR"), locale.tag());
            assert_eq!(std::fs::read_dir(folder).unwrap().count(), Mail::all(HOSTILE, &token).len(), "{locale:?}");
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
        let token = ResetToken::random(&mut system::rng());
        let link = format!("https://example.com/reset/{}", token.to_link_text());
        for locale in Locale::ALL {
            let mail = Mail::PasswordReset { page: "https://example.com/reset", token: &token }
                .compose(Some(locale), &brand(&[]));
            assert!(mail.text.contains(&format!("\n{link}\n")), "{}", mail.text);
            assert!(mail.html.contains(&format!("href=\"{link}\"")), "{}", mail.html);
        }
    }

    #[test]
    fn the_brand_is_in_both_parts_and_text_on_its_color_is_readable() {
        let variables = [("BRAND_NAME", "Example"), ("BRAND_COLOR", "#ffb000"), ("DEFAULT_LOCALE", "fr")];
        let token = ResetToken::random(&mut system::rng());
        let mail = Mail::PasswordReset { page: "https://example.com/reset", token: &token };
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
