//! The texts that all pages share. There is a file for each language. A missing text is an error of the compiler.

mod de;
mod en;
mod es;
mod fr;

use serde::Serialize;

use crate::{domain::Locale, security::policy};

/// The texts that all pages share.
pub struct Texts {
    /// For browsers without JavaScript.
    pub no_script: &'static str,
    /// The label of the box that shows the password.
    pub show_password: &'static str,
    /// What the script shows if a request fails.
    pub refusals: Refusals,
    /// The same, only for pages that set a new password.
    pub new_password: NewPasswordRefusals,
}

/// Texts for the codes of refusals, in fields of the same names, and for other failures.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields have the names of codes in openapi.yaml")]
pub struct Refusals {
    pub email_required: &'static str,
    /// The forms of the pages have one field, so the password is missing.
    pub missing_required_fields: &'static str,
    pub invalid_credentials: &'static str,
    pub too_many_attempts: &'static str,
    pub service_unavailable: &'static str,
    /// There was no answer.
    pub no_answer: &'static str,
    /// Any other refusal.
    pub other: &'static str,
}

/// Texts for the codes of refusals of a new password, in fields of the same names.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields have the names of codes in openapi.yaml")]
pub struct NewPasswordRefusals {
    pub new_password_required: &'static str,
    /// With the placeholder `{min_length}`.
    pub password_too_short: &'static str,
    /// With the placeholder `{max_length}`.
    pub password_too_long: &'static str,
    pub password_has_nul: &'static str,
    pub password_too_common: &'static str,
    pub password_contains_account: &'static str,
}

impl Texts {
    /// The texts in a language.
    #[must_use]
    pub fn of(locale: Locale) -> &'static Self {
        match locale {
            Locale::English => &en::TEXTS,
            Locale::German => &de::TEXTS,
            Locale::French => &fr::TEXTS,
            Locale::Spanish => &es::TEXTS,
        }
    }

    /// The texts of refusals as JSON that can be in an HTML script element. If the page sets a new password, with those for new passwords.
    pub(super) fn refusals_as_json(&'static self, min_length: Option<usize>) -> String {
        let new_password = min_length.map(|_| &self.new_password);
        let json = serde_json::to_string(&OfPage { refusals: &self.refusals, new_password }).expect("structs of texts");
        json.replace("{min_length}", &min_length.unwrap_or_default().to_string())
            .replace("{max_length}", &policy::PASSWORD_MAX_LENGTH.to_string())
            .replace('<', "\\u003c")
    }
}

/// The texts of refusals that one page needs.
#[derive(Serialize)]
struct OfPage {
    #[serde(flatten)]
    refusals: &'static Refusals,
    #[serde(flatten)]
    new_password: Option<&'static NewPasswordRefusals>,
}

#[cfg(test)]
mod tests {
    use super::*;

    // Requirement 62.
    #[test]
    fn refusals_name_the_limits_in_every_language() {
        for locale in Locale::ALL {
            let json = Texts::of(locale).refusals_as_json(Some(23));
            assert!(json.contains("23") && json.contains("128") && !json[1..].contains('{'), "{json}");
        }
    }

    #[test]
    fn only_pages_that_set_a_password_have_the_texts_for_new_passwords() {
        for (min_length, expected) in [(None, false), (Some(8), true)] {
            let json = Texts::of(Locale::English).refusals_as_json(min_length);
            assert!(json.contains("\"invalid_credentials\":"), "{json}");
            assert_eq!(json.contains("\"password_too_short\":"), expected, "{json}");
        }
    }
}
