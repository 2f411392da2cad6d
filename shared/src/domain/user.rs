use super::{Locale, UnixTime, UserId};

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
    /// When the account was created. `None` if the old service did not record it.
    pub created_at: Option<UnixTime>,
    /// Each change of the password increases it by one. A session that was opened under a lower version has ended.
    pub credential_version: i32,
}
