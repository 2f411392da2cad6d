//! The table `password_resets`: the reset token of a user. A user has one row, so a newer token replaces the older one.

use tokio_postgres::types::Type;

use super::{
    AnyStatement, Database, DbError,
    rules::{count_within_window, counter_key, has_address, user_columns},
    seconds,
    statement::Statement,
    users::user,
};
use crate::{
    domain::{EmailLookup, MailId, User, UserId},
    security::{PasswordHash, ResetTokenHash, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 3] = [&REQUEST, &FIND, &REDEEM];

/// For most mail services, `kate+anything@example.com` is the same mailbox as `kate@example.com`, and an attacker could sign up with any number of
/// such addresses. So all addresses with a `+` that lead to one mailbox share one counter. The address without a `+` has a counter of its own.
/// So an attacker who requests mails for `kate+1@example.com` does not use up the limit of `kate@example.com`.
static REQUEST: Statement<8> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT ",
        user_columns!(),
        ", CASE
            WHEN position('+' IN split_part(email, '@', 1)) = 0 THEN 'account ' || id
            ELSE 'tags ' || lower(split_part(email, '+', 1) || '@' || split_part(email, '@', 2) COLLATE \"C\")
        END AS counter
        FROM users WHERE ",
        has_address!("$1"),
        "
    ), counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT ",
        counter_key!("'reset mail ' || counter"),
        ", 1, now() + $5 * interval '1 second' FROM account",
        count_within_window!(up to "$4"),
        "
    ), mail AS (
        INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at)
        SELECT id, 'password_reset', $6, $7, now() + $8 * interval '1 second', now() + $3 * interval '1 second'
        FROM account, counted
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, page = excluded.page, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
        RETURNING user_id
    ), reset AS (
        INSERT INTO password_resets (user_id, token_hash, created_at, expires_at)
        SELECT user_id, $2, now(), now() + $3 * interval '1 second' FROM mail
        ON CONFLICT (user_id) DO UPDATE
        SET token_hash = excluded.token_hash, created_at = excluded.created_at, expires_at = excluded.expires_at
    )
    SELECT account.* FROM account, counted"
    ),
    types: [Type::TEXT, Type::BYTEA, Type::FLOAT8, Type::INT4, Type::FLOAT8, Type::UUID, Type::TEXT, Type::FLOAT8],
};

/// A request to reset a password.
pub struct ResetRequest<'a> {
    /// The address of the account.
    pub email: &'a EmailLookup,
    /// The hash of the new reset token.
    pub token: &'a ResetTokenHash,
    /// The id of the first attempt to send the mail.
    pub mail: MailId,
    /// The URL of the page that the mail's link leads to, without the token.
    pub page: &'a str,
}

/// Replaces the account's reset token, writes the reset mail into the outbox, and returns the account. `None` if the address has no account, or if
/// its mailbox has already got as many reset mails as the limit allows. In the second case, the older token stays valid.
pub async fn request(db: &Database, reset: ResetRequest<'_>) -> Result<Option<User>, DbError> {
    let limit = policy::RESET_MAILS_OF_MAILBOX;
    let row = db
        .query_opt(
            &REQUEST,
            [
                &reset.email.as_sql(),
                &reset.token.as_bytes(),
                &seconds(policy::RESET_TOKEN_LIFETIME),
                &limit.attempts,
                &seconds(limit.window),
                &reset.mail.0,
                &reset.page,
                &seconds(policy::MAIL_FIRST_RETRY),
            ],
        )
        .await;
    match row {
        Err(error) if error.is_foreign_key_violation() => Ok(None),
        row => Ok(row?.as_ref().map(user)),
    }
}

static FIND: Statement<1> = Statement {
    sql: concat!(
        "
    SELECT ",
        user_columns!(),
        " FROM users
    WHERE id = (SELECT user_id FROM password_resets WHERE token_hash = $1 AND expires_at > now())"
    ),
    types: [Type::BYTEA],
};

/// The account whose password this token can reset. The token stays valid.
pub async fn find(db: &Database, token: &ResetTokenHash) -> Result<Option<User>, DbError> {
    Ok(db.query_opt(&FIND, [&token.as_bytes()]).await?.as_ref().map(user))
}

/// Of many requests with one token, only the request that deletes the token succeeds. Increasing the credential version ends every session of the
/// user, including a session that a sign-in with the old password opens at the same time.
///
/// If the connection breaks before the result arrives, the statement runs again. The second run does not find the token. So the `SELECT` after `UNION
/// ALL` asks whether the user has the new hash already. Hashes have random salts, so only the first run of the same request can have stored it.
static REDEEM: Statement<6> = Statement {
    sql: "
    WITH redeemed AS (
        DELETE FROM password_resets WHERE token_hash = $1 AND user_id = $2 AND expires_at > now() RETURNING user_id
    ), changed AS (
        UPDATE users SET password = $3, credential_version = credential_version + 1
        FROM redeemed WHERE users.id = redeemed.user_id
        RETURNING users.id
    ), mail AS (
        INSERT INTO outbox (user_id, kind, id, due_at, expires_at)
        SELECT id, 'password_changed', $4, now() + $5 * interval '1 second', now() + $6 * interval '1 second' FROM changed
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
    )
    SELECT id FROM changed
    UNION ALL
    SELECT id FROM users WHERE id = $2 AND password = $3",
    types: [Type::BYTEA, Type::INT8, Type::TEXT, Type::UUID, Type::FLOAT8, Type::FLOAT8],
};

/// Deletes the token, sets the password, ends every session of the user, and writes the notice of the change into the outbox. False if the token is
/// not valid any more.
pub async fn redeem(
    db: &Database,
    token: &ResetTokenHash,
    user: UserId,
    hash: &PasswordHash,
    notice: MailId,
) -> Result<bool, DbError> {
    let row = db
        .query_opt(
            &REDEEM,
            [
                &token.as_bytes(),
                &user.0,
                &hash.as_stored(),
                &notice.0,
                &seconds(policy::MAIL_FIRST_RETRY),
                &seconds(policy::NOTICE_LIFETIME),
            ],
        )
        .await?;
    Ok(row.is_some())
}
