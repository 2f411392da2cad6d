//! `password_resets`: the one live reset token of a user. One row a user: a newer token replaces the older one by itself.

use tokio_postgres::{Row, types::Type};

use super::{Database, DbError, seconds};
use crate::{
    domain::{EmailLookup, MailId, UserId},
    security::{PasswordHash, ResetTokenHash, policy},
};

/// The account a reset is about.
pub struct ResetAccount {
    /// Its id.
    pub id: UserId,
    /// As its owner wrote it.
    pub name: String,
    /// As its owner wrote it: where mail goes, whatever the request said.
    pub email: String,
    /// The version of its credentials, which a reset raises by one.
    pub credential_version: i32,
}

/// To most mail services, `kate+anything@example.com` is the mailbox of `kate@example.com`, and a stranger could sign up with any number of
/// such addresses. So all addresses with a `+` that lead to one mailbox share one counter. The address without a `+` has its own: otherwise
/// whoever has `kate+1@…` could use up the mails of `kate@…`, who would get no link.
const REQUEST: &str = "
    WITH account AS (
        SELECT id, name, email, credential_version, CASE
            WHEN position('+' IN split_part(email, '@', 1)) = 0 THEN 'account ' || id
            ELSE 'tags ' || lower(split_part(email, '+', 1) || '@' || split_part(email, '@', 2) COLLATE \"C\")
        END AS counter
        FROM users WHERE lower(email COLLATE \"C\") = lower($1 COLLATE \"C\")
    ), counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT sha256(convert_to('reset mail ' || counter, 'UTF8')), 1, now() + $5 * interval '1 second' FROM account
        ON CONFLICT (key) DO UPDATE SET
            attempts = CASE WHEN t.expires_at > now() THEN t.attempts + 1 ELSE 1 END,
            expires_at = CASE WHEN t.expires_at > now() THEN t.expires_at ELSE excluded.expires_at END
        WHERE t.attempts < $4 OR t.expires_at <= now()
        RETURNING key
    ), owed AS (
        INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at)
        SELECT id, 'password_reset', $6, $7, now() + $8 * interval '1 second', now() + $3 * interval '1 second'
        FROM account, counted
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, page = excluded.page, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
        RETURNING user_id
    ), reset AS (
        INSERT INTO password_resets (user_id, token_hash, created_at, expires_at)
        SELECT user_id, $2, now(), now() + $3 * interval '1 second' FROM owed
        ON CONFLICT (user_id) DO UPDATE
        SET token_hash = excluded.token_hash, created_at = excluded.created_at, expires_at = excluded.expires_at
    )
    SELECT id, name, email, credential_version FROM account, counted";

/// A reset that somebody asks for.
pub struct ResetRequest<'a> {
    /// Of the account with this address.
    pub email: &'a EmailLookup,
    /// What resets the password.
    pub token: &'a ResetTokenHash,
    /// The first attempt to mail it.
    pub mail: MailId,
    /// The page the mail's link leads to, without the token.
    pub page: &'a str,
}

/// Puts a new reset token in place of the account's older one, writes down the mail it is owed, and says whose it is. `None` where the
/// address has no account, or where enough mails were sent to its mailbox: then the older token stays good.
pub async fn request(db: &Database, reset: ResetRequest<'_>) -> Result<Option<ResetAccount>, DbError> {
    let limit = policy::RESET_MAILS_OF_MAILBOX;
    let params = [
        (&reset.email.as_sql() as _, Type::TEXT),
        (&reset.token.as_bytes() as _, Type::BYTEA),
        (&seconds(policy::RESET_TOKEN_LIFETIME) as _, Type::FLOAT8),
        (&limit.attempts as _, Type::INT4),
        (&seconds(limit.window) as _, Type::FLOAT8),
        (&reset.mail.0 as _, Type::UUID),
        (&reset.page as _, Type::TEXT),
        (&seconds(policy::MAIL_FIRST_RETRY) as _, Type::FLOAT8),
    ];
    match db.query_opt(REQUEST, &params).await {
        Err(error) if error.is_foreign_key_violation() => Ok(None),
        outcome => Ok(outcome?.as_ref().map(account)),
    }
}

const FIND: &str = "
    SELECT u.id, u.name, u.email, u.credential_version FROM password_resets r JOIN users u ON u.id = r.user_id
    WHERE r.token_hash = $1 AND r.expires_at > now()";

/// The account whose password this token may reset. Looking uses nothing up.
pub async fn find(db: &Database, token: &ResetTokenHash) -> Result<Option<ResetAccount>, DbError> {
    Ok(db.query_opt(FIND, &[(&token.as_bytes(), Type::BYTEA)]).await?.as_ref().map(account))
}

/// Deleting the token is what decides: of many at once, one finds it. Raising the version ends every session of the user, and
/// any that a sign-in with the old password is about to open. The last part finds what this very request did on an earlier
/// attempt whose answer was lost: no other has its salted hash.
const REDEEM: &str = "
    WITH redeemed AS (
        DELETE FROM password_resets WHERE token_hash = $1 AND user_id = $2 AND expires_at > now() RETURNING user_id
    ), changed AS (
        UPDATE users SET password = $3, credential_version = credential_version + 1
        FROM redeemed WHERE users.id = redeemed.user_id
        RETURNING users.id
    ), owed AS (
        INSERT INTO outbox (user_id, kind, id, due_at, expires_at)
        SELECT id, 'password_changed', $4, now() + $5 * interval '1 second', now() + $6 * interval '1 second' FROM changed
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
    )
    SELECT id FROM changed
    UNION ALL
    SELECT id FROM users WHERE id = $2 AND password = $3";

/// Uses the token up, sets the password, and writes down the notice that is owed, whose first attempt is `mail`. False where the token
/// no longer serves.
pub async fn redeem(
    db: &Database,
    token: &ResetTokenHash,
    user: UserId,
    hash: &PasswordHash,
    mail: MailId,
) -> Result<bool, DbError> {
    let params = [
        (&token.as_bytes() as _, Type::BYTEA),
        (&user.0 as _, Type::INT4),
        (&hash.as_stored() as _, Type::TEXT),
        (&mail.0 as _, Type::UUID),
        (&seconds(policy::MAIL_FIRST_RETRY) as _, Type::FLOAT8),
        (&seconds(policy::NOTICE_LIFETIME) as _, Type::FLOAT8),
    ];
    Ok(db.query_opt(REDEEM, &params).await?.is_some())
}

fn account(row: &Row) -> ResetAccount {
    ResetAccount {
        id: UserId(row.get("id")),
        name: row.get("name"),
        email: row.get("email"),
        credential_version: row.get("credential_version"),
    }
}
