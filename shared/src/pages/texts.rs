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
}

/// Texts for the codes of refusals, in fields of the same names, and for other failures.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields have the names of codes in openapi.yaml")]
pub struct Refusals {
    pub new_password_required: &'static str,
    /// With the placeholder `{min_length}`.
    pub password_too_short: &'static str,
    /// With the placeholder `{max_length}`.
    pub password_too_long: &'static str,
    pub password_has_nul: &'static str,
    pub password_too_common: &'static str,
    pub password_contains_account: &'static str,
    pub email_required: &'static str,
    pub too_many_attempts: &'static str,
    pub service_unavailable: &'static str,
    /// There was no answer.
    pub no_answer: &'static str,
    /// Any other refusal.
    pub other: &'static str,
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
}

impl Refusals {
    /// The texts as JSON that can be in an HTML script element, with the limits for passwords.
    pub(super) fn to_json(&self, min_length: usize) -> String {
        let json = serde_json::to_string(self).expect("a struct of texts");
        json.replace("{min_length}", &min_length.to_string())
            .replace("{max_length}", &policy::PASSWORD_MAX_LENGTH.to_string())
            .replace('<', "\\u003c")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Requirement 62.
    #[test]
    fn refusals_name_the_limits_in_every_language() {
        for locale in Locale::ALL {
            let json = Texts::of(locale).refusals.to_json(23);
            assert!(json.contains("23") && json.contains("128") && !json[1..].contains('{'), "{json}");
        }
    }
}
