//! The rules for new passwords.

use std::{collections::HashSet, sync::LazyLock};

use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;

use tracing::warn;

use super::policy;
use crate::{
    domain::Rule,
    environment::{ConfigError, Environment},
};

/// A password that follows the rules, in NFC form. Only such a password is hashed.
pub struct NewPassword(SecretString);

impl NewPassword {
    pub(super) fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The configured rules.
pub struct PasswordRules {
    min_length: usize,
    blocklist: bool,
}

impl PasswordRules {
    /// Reads `PASSWORD_MIN_LENGTH` and `PASSWORD_BLOCKLIST`. Logs a warning for a length below the recommended one.
    ///
    /// # Errors
    /// If the length is not between [`policy::PASSWORD_MIN_LENGTH_LOWEST`] and [`policy::PASSWORD_MAX_LENGTH`], or the switch is not `on` or `off`.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let (name, expected) = ("PASSWORD_MIN_LENGTH", "a whole number from 8 to 128");
        let min_length = env.parsed(name, expected, policy::PASSWORD_MIN_LENGTH)?;
        if !(policy::PASSWORD_MIN_LENGTH_LOWEST..=policy::PASSWORD_MAX_LENGTH).contains(&min_length) {
            return Err(ConfigError::Malformed { name, expected });
        }
        if min_length < policy::PASSWORD_MIN_LENGTH {
            let recommended = policy::PASSWORD_MIN_LENGTH;
            warn!(min_length, "{name} is below {recommended}, the minimum that NIST SP 800-63B-4 allows");
        }
        Ok(Self { min_length, blocklist: env.switch("PASSWORD_BLOCKLIST", true)? })
    }

    /// The minimum number of characters of a new password.
    #[must_use]
    pub fn min_length(&self) -> usize {
        self.min_length
    }

    /// Accepts a new password for the account with this name and address, or returns the rule that it breaks.
    ///
    /// The length is counted in characters of the NFC form. Every character except NUL is allowed, and no mixture of kinds of characters is required
    /// (NIST SP 800-63B-4 §3.1.1.2, OWASP ASVS 6.2.5). Comparisons with the list and with the account ignore case.
    pub fn accept(&self, text: &str, name: &str, email: &str) -> Result<NewPassword, Rule> {
        let password: String = text.nfc().collect();
        let length = password.chars().count();
        if length < self.min_length {
            return Err(Rule::PasswordTooShort { min_length: self.min_length });
        }
        if length > policy::PASSWORD_MAX_LENGTH {
            return Err(Rule::PasswordTooLong { max_length: policy::PASSWORD_MAX_LENGTH });
        }
        if password.contains('\0') {
            return Err(Rule::PasswordHasNul);
        }
        if self.blocklist {
            let folded = folded(&password);
            if COMMON_PASSWORDS.contains(folded.as_str()) {
                return Err(Rule::PasswordTooCommon);
            }
            if pieces(name).chain(pieces(own_part(email))).any(|piece| folded.contains(&piece)) {
                return Err(Rule::PasswordContainsAccount { run_length: policy::PASSWORD_CONTEXT_LENGTH });
            }
        }
        Ok(NewPassword(password.into()))
    }
}

/// The part of an address that identifies its owner. The domain of a public mail service does not identify its owner: millions of people use it, and
/// its name (`mail`, `live`) is a word in many good passwords.
fn own_part(email: &str) -> &str {
    let Some((local, domain)) = email.rsplit_once('@') else { return email };
    // The domain of a public service looks like gmail.com or yahoo.co.uk, and not like mail.somebody.example.
    let ([service, _] | [service, "co" | "com", _]) = *domain.split('.').collect::<Vec<_>>() else { return email };
    let public = policy::PUBLIC_MAIL_SERVICES.iter().any(|name| name.eq_ignore_ascii_case(service));
    if public { local } else { email }
}

/// The text without case. Characters are converted one by one, because `str::to_lowercase` converts a Σ depending on its neighbours. They are
/// converted to capitals first, because some capitals have two small letters.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

/// Every run of [`policy::PASSWORD_CONTEXT_LENGTH`] characters in the text, without case. Punctuation counts, because attackers guess
/// addresses with their punctuation.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let folded: Vec<char> = folded(text).chars().collect();
    folded.windows(policy::PASSWORD_CONTEXT_LENGTH).map(|run| run.iter().collect()).collect::<Vec<String>>().into_iter()
}

/// Passwords that attackers try first, one in each line, in lower case. See `docs/decisions/0004-common-passwords.md`.
static COMMON_PASSWORDS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

#[cfg(test)]
mod tests {
    use proptest::{bits, prelude::*, property_test, sample::Index};

    use super::*;

    const RULES: PasswordRules = PasswordRules { min_length: 15, blocklist: true };

    fn refusal(password: &str) -> Option<Rule> {
        RULES.accept(password, "Ada Lovelace", "ada.l@analytical.example").err()
    }

    // Requirements 25, 26.
    #[test]
    fn length_counts_characters_after_normalisation() {
        assert_eq!(refusal(&"ab".repeat(7)), Some(Rule::PasswordTooShort { min_length: 15 }));
        assert_eq!(refusal(&"e\u{301}".repeat(14)), Some(Rule::PasswordTooShort { min_length: 15 }));
        assert_eq!(refusal(&"qjx".repeat(5)), None);
        assert_eq!(refusal(&"é".repeat(128)), None);
        assert_eq!(refusal(&"é".repeat(129)), Some(Rule::PasswordTooLong { max_length: 128 }));
    }

    // Requirement 25.
    #[test]
    fn every_character_except_nul_is_allowed() {
        assert_eq!(refusal("correct horse \t 🐎 \u{7} staple"), None);
        assert_eq!(refusal("correct horse \0 staple"), Some(Rule::PasswordHasNul));
    }

    // Requirement 27.
    #[test]
    fn a_common_password_is_refused_in_any_case() {
        assert!(COMMON_PASSWORDS.iter().filter(|line| line.chars().count() >= 15).count() >= 3000);
        assert_eq!(refusal("PasswordPassword"), Some(Rule::PasswordTooCommon));
    }

    // Requirement 27.
    #[test]
    fn a_part_of_the_account_is_refused() {
        for password in ["the lovely LOVElace", "12345678 velac 9", "my analytical mind!", "xxxxx xxxxx yexamY"] {
            assert_eq!(refusal(password), Some(Rule::PasswordContainsAccount { run_length: 4 }), "{password}");
        }
        let three = RULES.accept("ada goes for a walk", "Ada", "q@w.io").err();
        assert_eq!(three, None, "three characters are no part");
        for (name, email, password) in [
            ("Ada", "ab1@x.io", "ab1@x.io ab1@x.io!!"),
            ("Bo Li Xu", "q@w.io", "bo li xu bo li xu"),
            ("O'Ra B-C", "q@w.io", "o'ra b-c o'ra b-c"),
        ] {
            assert_eq!(
                RULES.accept(password, name, email).err(),
                Some(Rule::PasswordContainsAccount { run_length: 4 }),
                "{password}"
            );
        }
    }

    // Requirements 25, 26.
    #[property_test]
    fn without_the_blocklist_only_length_and_nul_matter_and_nothing_is_cut(
        #[strategy = 8..=128_usize] min_length: usize,
        #[strategy = r"(?s)(.\p{Mn}?){0,150}|[é\x00]{0,20}"] text: String,
    ) {
        let rules = PasswordRules { min_length, blocklist: false };
        let normalised: String = text.nfc().collect();
        let expected = match normalised.chars().count() {
            length if length < min_length => Err(Rule::PasswordTooShort { min_length }),
            129.. => Err(Rule::PasswordTooLong { max_length: 128 }),
            _ if text.contains('\0') => Err(Rule::PasswordHasNul),
            _ => Ok(normalised),
        };
        for form in [text.clone(), text.nfc().collect(), text.nfd().collect()] {
            let accepted = rules.accept(&form, "Ada Lovelace", "ada@example.com");
            assert_eq!(accepted.map(|password| password.expose_secret().to_owned()), expected);
        }
    }

    // Requirement 27.
    #[property_test]
    fn a_common_password_is_refused_in_every_mixture_of_case(line: Index, #[strategy = bits::u128::ANY] upper: u128) {
        let list: Vec<_> = COMMON_PASSWORDS.iter().filter(|line| line.len() >= 15).collect();
        let recased = line.get(&list).chars().enumerate();
        let recased: String =
            recased.map(|(n, c)| if upper >> (n % 128) & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect();
        assert_eq!(refusal(&recased), Some(Rule::PasswordTooCommon));
    }

    /// Includes letters with an unusual case conversion.
    const NAME: &str = "[A-Za-z .'éÉßẞςσΣΑΒıİiIǅŉſﬁΐ]{4,12}";

    // Requirement 27.
    #[property_test]
    fn four_characters_of_the_account_are_refused_anywhere(
        #[strategy = NAME] name: String,
        at: Index,
        #[strategy = "[0-9A-Za-zΑ-Ω]{12,40}"] around: String,
        split: Index,
    ) {
        let characters: Vec<char> = name.nfc().collect();
        let part: String = characters.windows(4).nth(at.index(characters.len() - 3)).unwrap().iter().collect();
        let around: Vec<char> = around.chars().collect();
        let (before, after) = around.split_at(split.index(around.len() + 1));
        let password: String = before.iter().copied().chain(part.chars()).chain(after.iter().copied()).collect();
        let upper = password.to_uppercase();
        for password in [password, upper] {
            let refusal = RULES.accept(&password, &name, "q@w.io").err();
            assert!(
                matches!(refusal, Some(Rule::PasswordContainsAccount { .. } | Rule::PasswordTooCommon)),
                "{password}"
            );
        }
    }

    #[property_test]
    fn three_characters_of_the_account_are_accepted(
        #[strategy = "[a-j]{3}"] name: String,
        #[strategy = "[k-z]{12,60}"] rest: String,
    ) {
        prop_assume!(!COMMON_PASSWORDS.contains(&*format!("{name}{rest}")));
        assert!(RULES.accept(&format!("{name}{rest}"), &format!("{name}A"), &format!("{name}@{name}.A")).is_ok());
    }

    #[test]
    fn the_name_of_a_public_mail_service_is_accepted() {
        for email in ["kate@gmail.com", "kate@Outlook.com", "kate@hotmail.co.uk", "kate@mail.ru", "kate@web.de"] {
            for password in [
                "my gmail holds no secrets",
                "an outlook over the bay",
                "hotmail was long ago",
                "the mail came at noon",
            ] {
                assert!(RULES.accept(password, "Ada", email).is_ok(), "{password} for {email}");
            }
            assert_eq!(
                refusal_for("what does kate know", email),
                Some(Rule::PasswordContainsAccount { run_length: 4 }),
                "{email}"
            );
        }
        for own in ["kate@lovelace.dev", "kate@mail.lovelace.dev"] {
            assert_eq!(
                refusal_for("at lovelace in the morning", own),
                Some(Rule::PasswordContainsAccount { run_length: 4 }),
                "{own}"
            );
        }
    }

    fn refusal_for(password: &str, email: &str) -> Option<Rule> {
        RULES.accept(password, "Ada", email).err()
    }

    #[test]
    fn without_the_list_only_length_counts() {
        let rules = PasswordRules { min_length: 8, blocklist: false };
        assert!(rules.accept("password123", "password", "password@example.com").is_ok());
    }

    // Requirement 27.
    #[test]
    fn the_list_is_in_lower_case_and_normalised() {
        for line in COMMON_PASSWORDS.iter() {
            assert!(line.chars().count() >= policy::PASSWORD_MIN_LENGTH_LOWEST, "{line}");
            assert_eq!(*line, folded(line));
        }
        let long = COMMON_PASSWORDS.iter().filter(|line| line.chars().count() >= policy::PASSWORD_MIN_LENGTH).count();
        assert!(long >= 3000, "the list has only {long} passwords that are long enough by default");
    }
}
