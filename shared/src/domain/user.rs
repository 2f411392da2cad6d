use super::UserId;

/// An account, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name, as its owner wrote it.
    pub name: String,
    /// The email address, as its owner wrote it. Mail goes there.
    pub email: String,
    /// Each password reset increases it by one. A session that was opened under a lower version has ended.
    pub credential_version: i32,
}
