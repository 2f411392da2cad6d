use std::{borrow::Cow, fmt};

use super::{Email, Locale, Name};

/// The rule that a new name, address or password breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The name has more than [`Name::MAX_LENGTH`] characters.
    NameTooLong,
    /// The name has a control character. Terminals, logs and mail programs interpret such characters.
    NameHasControlCharacters,
    /// The address has more than [`Email::MAX_LENGTH`] characters.
    EmailTooLong,
    /// The address does not have the form that [`Email::parse`] accepts.
    EmailInvalid,
    /// The language is not one of [`Locale::ALL`].
    LocaleUnknown,
    /// The password has fewer than `min_length` characters.
    PasswordTooShort {
        /// The configured minimum.
        min_length: usize,
    },
    /// The password has more than `max_length` characters. It is refused, because cutting it would weaken it silently.
    PasswordTooLong {
        /// The maximum.
        max_length: usize,
    },
    /// The password has a NUL. Many programs cut a text there.
    PasswordHasNul,
    /// The password is on the list of common passwords.
    PasswordTooCommon,
    /// The password has `run_length` characters in a row of the account's name or address.
    PasswordContainsAccount {
        /// The shortest run that is refused.
        run_length: usize,
    },
}

impl Rule {
    /// The stable code for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().0
    }

    /// The table: a code for programs, and a message for people that says what to change.
    fn row(self) -> (&'static str, Cow<'static, str>) {
        let at_most = |what: &str, length: usize| format!("{what} must be at most {length} characters").into();
        match self {
            Self::NameTooLong => ("name_too_long", at_most("Name", Name::MAX_LENGTH)),
            Self::NameHasControlCharacters => {
                ("name_has_control_characters", "Name must not contain control characters".into())
            }
            Self::EmailTooLong => ("email_too_long", at_most("Email", Email::MAX_LENGTH)),
            Self::EmailInvalid => (
                "email_invalid",
                "Email must be an address such as kate@example.com, in ASCII and without spaces, quotes or comments"
                    .into(),
            ),
            Self::LocaleUnknown => {
                ("invalid_locale", format!("Locale must be one of {}", Locale::ALL.map(Locale::tag).join(", ")).into())
            }
            Self::PasswordTooShort { min_length } => {
                ("password_too_short", format!("Password must be at least {min_length} characters").into())
            }
            Self::PasswordTooLong { max_length } => ("password_too_long", at_most("Password", max_length)),
            Self::PasswordHasNul => ("password_has_nul", "Password must not contain the NUL character".into()),
            Self::PasswordTooCommon => ("password_too_common", "Password is too common".into()),
            Self::PasswordContainsAccount { run_length } => (
                "password_contains_account",
                format!(
                    "Password must not contain {} or more characters in a row of your name or email address",
                    in_words(run_length)
                )
                .into(),
            ),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.row().1)
    }
}

fn in_words(number: usize) -> Cow<'static, str> {
    const WORDS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    WORDS.get(number).map_or_else(|| number.to_string().into(), |word| (*word).into())
}
