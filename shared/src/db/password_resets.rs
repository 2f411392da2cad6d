//! The table `password_resets`: the reset token of a user. A user has at most one row, so a newer token replaces the older one.

use tokio_postgres::types::Type;

use super::{
    AnyStatement, Database, DbError,
    outbox::owe_password_notice,
    rules::{count_within_window, counter_key, has_address, user_columns},
    seconds,
    session_endings::owe_session_ending,
    statement::Statement,
    users::{Account, account, user},
};
use crate::{
    domain::{EmailLookup, MailId, User, UserId},
    security::{LinkTokenHash, PasswordHash, policy},
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
        SET token_hash = excluded.token_hash, created_at = excluded.created_at, expires_at = excluded.expires_at, redeemed_at = NULL
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
    pub token: &'a LinkTokenHash,
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
        ", password, r.redeemed_at IS NOT NULL AS is_redeemed
    FROM users u JOIN (SELECT user_id, redeemed_at FROM password_resets WHERE token_hash = $1 AND expires_at > now()) r ON r.user_id = u.id"
    ),
    types: [Type::BYTEA],
};

/// The account of a reset token.
pub enum ResetToken {
    /// The token can reset the password of this account. [`find`] does not use it up.
    Valid(User),
    /// The token has reset the password of this account, but the account's sessions in DynamoDB must still end.
    Redeemed(Account),
}

/// Finds the account of a reset token. `None` if the token is not valid.
pub async fn find(db: &Database, token: &LinkTokenHash) -> Result<Option<ResetToken>, DbError> {
    let row = db.query_opt(&FIND, [&token.as_bytes()]).await?;
    Ok(row.map(|row| {
        if row.get("is_redeemed") { ResetToken::Redeemed(account(&row)) } else { ResetToken::Valid(user(&row)) }
    }))
}

/// Of many requests with one token, only the first one succeeds. It deletes the token, or marks it as redeemed if sessions in DynamoDB must end. The
/// higher credential version ends every session of the user, including a session that a sign-in with the old password opens at the same time. The
/// token was in a mail, so the user has proved that the mailbox is theirs.
///
/// If the connection breaks before the result arrives, the statement runs again. The second run does not find the token. So the `SELECT` after `UNION
/// ALL` asks whether the user has the new hash already. Hashes have random salts, so only the first run of the same request can have stored it.
static REDEEM: Statement<7> = Statement {
    sql: concat!(
        "
    WITH deleted AS (
        DELETE FROM password_resets
        WHERE token_hash = $1 AND user_id = $2 AND expires_at > now() AND redeemed_at IS NULL AND NOT $7 RETURNING user_id
    ), marked AS (
        UPDATE password_resets SET redeemed_at = now()
        WHERE token_hash = $1 AND user_id = $2 AND expires_at > now() AND redeemed_at IS NULL AND $7 RETURNING user_id
    ), changed AS (
        UPDATE users SET password = $3, credential_version = credential_version + 1,
            email_verified_at = coalesce(email_verified_at, now())
        FROM (SELECT * FROM deleted UNION ALL SELECT * FROM marked) AS redeemed WHERE users.id = redeemed.user_id
        RETURNING users.id, users.credential_version
    ), ",
        owe_session_ending!("changed"),
        ", ",
        owe_password_notice!("changed", id: "$4", first_retry: "$5", lifetime: "$6"),
        "
    SELECT credential_version FROM changed
    UNION ALL
    SELECT credential_version FROM users WHERE id = $2 AND password = $3"
    ),
    types: [Type::BYTEA, Type::INT8, Type::TEXT, Type::UUID, Type::FLOAT8, Type::FLOAT8, Type::BOOL],
};

/// Uses the token up, sets the password, and writes the notice of the change into the outbox. Returns the user's new credential version, which ends
/// every session in PostgreSQL. Also writes that the sessions in DynamoDB must end. With `keep_token`, the token is kept until they have ended.
/// `None` if the token is not valid any more.
pub async fn redeem(
    db: &Database,
    token: &LinkTokenHash,
    user: UserId,
    hash: &PasswordHash,
    notice: MailId,
    keep_token: bool,
) -> Result<Option<i32>, DbError> {
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
                &keep_token,
            ],
        )
        .await?;
    Ok(row.map(|row| row.get("credential_version")))
}
