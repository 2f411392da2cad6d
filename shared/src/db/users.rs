//! `users`: accounts.

use tokio_postgres::types::Type;

use super::{Database, DbError};
use crate::{
    domain::{Email, Name, SessionId, UserId},
    security::PasswordHash,
};

/// What a person may be shown of an account.
pub struct Profile {
    /// As its owner wrote it.
    pub name: String,
    /// As its owner wrote it.
    pub email: String,
}

/// Who is behind an access token, as far as the database knows.
pub enum Bearer {
    /// The user, whose session lives.
    Live(Profile),
    /// The user is there, but the session has ended.
    SessionEnded,
    /// The user is gone.
    UserGone,
}

/// Every unique index of `users` decides, the taken-over one on `email` too, which is why `ON CONFLICT` names none: a
/// violation would put the address into PostgreSQL's log. The second half finds the account this very request made on
/// an earlier attempt whose answer was lost: no other has its salted hash.
const CREATE: &str = "
    WITH created AS (
        INSERT INTO users (name, email, password, created_at)
        VALUES ($1, $2, $3, now() AT TIME ZONE 'utc')
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT id FROM created
    UNION ALL
    SELECT id FROM users WHERE lower(email) = lower($2) AND password = $3";

/// Makes an account. `None` where its address has one already, in whatever case.
pub async fn create(db: &Database, name: &Name, email: &Email, hash: &PasswordHash) -> Result<Option<UserId>, DbError> {
    let params =
        [(&name.as_str() as _, Type::TEXT), (&email.as_str() as _, Type::TEXT), (&hash.as_stored() as _, Type::TEXT)];
    Ok(db.query_opt(CREATE, &params).await?.map(|row| UserId(row.get("id"))))
}

const FIND_BEARER: &str = "
    SELECT u.name, u.email, s.id IS NOT NULL AS live
    FROM users u
    LEFT JOIN sessions s ON s.id = $2 AND s.user_id = u.id AND s.credential_version = u.credential_version
        AND s.revoked_at IS NULL AND s.expires_at > now()
    WHERE u.id = $1";

/// The user of an access token, and whether its session lives.
pub async fn find_bearer(db: &Database, user: UserId, session: SessionId) -> Result<Bearer, DbError> {
    let row = db.query_opt(FIND_BEARER, &[(&user.0, Type::INT4), (&session.0, Type::UUID)]).await?;
    Ok(match row {
        None => Bearer::UserGone,
        Some(row) if row.get("live") => Bearer::Live(Profile { name: row.get("name"), email: row.get("email") }),
        Some(_) => Bearer::SessionEnded,
    })
}

/// Nothing happens where the hash is not the one that was read: somebody has changed the password since.
const REPLACE_HASH: &str = "
    UPDATE users SET password = $3 WHERE id = $1 AND password = $2 RETURNING id";

/// Replaces a hash of the same password; sessions live on.
pub async fn replace_hash(db: &Database, user: UserId, read: &PasswordHash, new: &PasswordHash) -> Result<(), DbError> {
    let params =
        [(&user.0 as _, Type::INT4), (&read.as_stored() as _, Type::TEXT), (&new.as_stored() as _, Type::TEXT)];
    db.query_opt(REPLACE_HASH, &params).await.map(drop)
}
