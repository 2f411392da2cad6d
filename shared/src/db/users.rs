//! `users`: accounts.

use tokio_postgres::{Row, types::Type};

use super::{Database, DbError};
use crate::{
    domain::{Email, EmailLookup, Name, SessionId, UserId},
    security::{PasswordHash, Source},
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
    SELECT id FROM users WHERE lower(email COLLATE \"C\") = lower($2 COLLATE \"C\") AND password = $3";

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

/// What sign-in needs to know of an account.
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// As its owner wrote it.
    pub name: String,
    /// As its owner wrote it.
    pub email: String,
    /// What the password is held against.
    pub password_hash: PasswordHash,
    /// Rises at every reset; a session opened under an older one is dead.
    pub credential_version: i32,
}

/// What somebody tries to sign in to, where attempts are counted outside PostgreSQL.
pub struct Candidate {
    /// The account, if the address has one.
    pub account: Option<Account>,
    /// The address that was typed, in the case that addresses are compared in.
    pub address: String,
    /// Whether the account has a live session that was opened from the same source.
    pub is_signed_in_here: bool,
}

const FIND_CANDIDATE: &str = "
    WITH account AS (
        SELECT id, name, email, password, credential_version FROM users
        WHERE lower(email COLLATE \"C\") = lower($1 COLLATE \"C\")
    )
    SELECT account.*, coalesce(lower($1 COLLATE \"C\"), '') AS address, EXISTS (
        SELECT FROM sessions s
        WHERE s.user_id = account.id AND s.credential_version = account.credential_version AND s.source = $2
            AND s.revoked_at IS NULL AND s.expires_at > now()
    ) AS is_signed_in_here
    FROM (SELECT) AS one LEFT JOIN account ON true";

/// The account of an address, in whatever case it is written.
pub async fn find_candidate(db: &Database, email: &EmailLookup, source: &Source) -> Result<Candidate, DbError> {
    let row = db.query_one(FIND_CANDIDATE, &[(&email.as_sql(), Type::TEXT), (&source.as_str(), Type::TEXT)]).await?;
    Ok(Candidate {
        account: account(&row),
        address: row.get("address"),
        is_signed_in_here: row.get("is_signed_in_here"),
    })
}

/// The account of a row, where it has one.
pub(super) fn account(row: &Row) -> Option<Account> {
    row.get::<_, Option<i32>>("id").map(|id| Account {
        id: UserId(id),
        name: row.get("name"),
        email: row.get("email"),
        password_hash: PasswordHash::from_stored(row.get("password")),
        credential_version: row.get("credential_version"),
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
