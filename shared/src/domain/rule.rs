use thiserror::Error;

/// A rule that a name, an address or a password breaks where it is set. The text says which, so that a person can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rule {
    /// More than 100 characters.
    #[error("Name must be at most 100 characters")]
    NameTooLong,
    /// A control character, which would have a meaning in a terminal, a log or a mail.
    #[error("Name must not contain control characters")]
    NameHasControlCharacters,
    /// More than 254 characters, the longest address SMTP can carry (RFC 5321 §4.5.3.1.3, erratum 1690).
    #[error("Email must be at most 254 characters")]
    EmailTooLong,
    /// Not an address.
    #[error("Email must be an address such as kate@example.com, in ASCII and without spaces, quotes or comments")]
    EmailInvalid,
    /// Fewer characters than the policy wants.
    #[error("Password must be at least {min_length} characters")]
    PasswordTooShort {
        /// The policy's least number of characters.
        min_length: usize,
    },
    /// More than 128 characters. Longer ones are refused, because cutting one would be worse.
    #[error("Password must be at most 128 characters")]
    PasswordTooLong,
    /// NUL, the one character that programs cut a text at.
    #[error("Password must not contain the NUL character")]
    PasswordHasNul,
    /// On the list of passwords that attackers try first.
    #[error("Password is too common")]
    PasswordTooCommon,
    /// What everybody who knows the account would guess.
    #[error("Password must not contain four or more characters in a row of your name or email address")]
    PasswordContainsAccount,
}

impl Rule {
    /// The stable name a program may rely on.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NameTooLong => "name_too_long",
            Self::NameHasControlCharacters => "name_has_control_characters",
            Self::EmailTooLong => "email_too_long",
            Self::EmailInvalid => "email_invalid",
            Self::PasswordTooShort { .. } => "password_too_short",
            Self::PasswordTooLong => "password_too_long",
            Self::PasswordHasNul => "password_has_nul",
            Self::PasswordTooCommon => "password_too_common",
            Self::PasswordContainsAccount => "password_contains_account",
        }
    }
}
