use super::{Locale, UserId};

/// An account, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name, as its owner wrote it.
    pub name: String,
    /// The email address, as its owner wrote it. Mail goes there.
    pub email: String,
    /// Whether the owner has proved that the mailbox is theirs.
    pub email_verified: bool,
    /// The language of mails. `None` if the account was created before accounts had a language.
    pub locale: Option<Locale>,
    /// Each change of the password, a second factor that is added or removed, a deletion, and an undone change of the address increase
    /// it. A session with a lower version has ended.
    pub credential_version: i32,
}

impl AsRef<Self> for User {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The second factors of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factors {
    /// Whether it has an authenticator.
    pub totp: bool,
    /// Whether it has passkeys.
    pub passkeys: bool,
}

impl Factors {
    /// Whether it has any. Then every session of the account requires one.
    #[must_use]
    pub fn any(self) -> bool {
        self.totp || self.passkeys
    }
}
