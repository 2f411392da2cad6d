//! The table `password_resets`: the reset token of a user. A user has at most one row, so a newer token replaces the older one.

use tokio_postgres::types::Type;

use super::{
    AnyStatement, Database, DbError,
    outbox::owe_password_notice,
    rules::{
        count_within_window, counter_key, factor_columns, has_address, is_deleted, mailbox_of_account, user_columns,
    },
    seconds,
    session_endings::owe_session_ending,
    statement::Statement,
    users::{Account, account, user},
};
use crate::{
    domain::{EmailLookup, MailId, UnixTime, User, UserId},
    security::{LinkTokenHash, PasswordHash, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 3] = [&REQUEST, &FIND, &REDEEM];

/// For a deleted account, the mail has the link that keeps the account, within the same limits. When the erasure is due, no mail is sent.
///
/// An undo that commits after this statement began may have made a token for newer credentials than this statement sees. That token stays, and this
/// statement sends no mail.
///
/// If the answer of an earlier run was lost and the limit is reached now, the last condition finds the mail of that run. It is not an
/// `EXISTS`, for which PostgreSQL may read the whole outbox.
static REQUEST: Statement<10> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT ",
        user_columns!(),
        ", ",
        mailbox_of_account!(),
        " AS counter, erase_at
        FROM users LEFT JOIN account_deletions ON user_id = id WHERE ",
        has_address!("$1"),
        " AND (erase_at IS NULL OR erase_at > now())
    ), counted AS (
        ",
        count_within_window!(counter_key!("'reset mail ' || counter"), for "account", up to "$4" within "$5"),
        "
    ), reset AS (
        INSERT INTO password_resets AS r (user_id, email, credential_version, token_hash, created_at, expires_at)
        SELECT id, email, credential_version, $2, now(), now() + $3 * interval '1 second' FROM account, counted WHERE erase_at IS NULL
        ON CONFLICT (user_id) DO UPDATE
        SET email = excluded.email, credential_version = excluded.credential_version, token_hash = excluded.token_hash,
            created_at = excluded.created_at, expires_at = excluded.expires_at, redeemed_at = NULL
        WHERE r.credential_version IS NULL OR r.credential_version <= excluded.credential_version
        RETURNING r.user_id
    ), mail AS (
        INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at)
        SELECT id, CASE WHEN erase_at IS NULL THEN 'password_reset' ELSE 'account_deleted' END, $6,
            CASE WHEN erase_at IS NULL THEN $7 ELSE $9 END, now() + $8 * interval '1 second',
            now() + CASE WHEN erase_at IS NULL THEN $3 ELSE $10 END * interval '1 second'
        FROM account, counted WHERE erase_at IS NOT NULL OR EXISTS (SELECT FROM reset)
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, page = excluded.page, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
        RETURNING user_id, kind
    ), deletion AS (
        UPDATE account_deletions d SET token_hash = $2 FROM mail WHERE kind = 'account_deleted' AND d.user_id = mail.user_id
    )
    SELECT account.* FROM account WHERE EXISTS (SELECT FROM mail) OR (SELECT o.id FROM outbox o WHERE o.user_id = account.id AND o.id = $6) IS NOT NULL"
    ),
    types: [
        Type::TEXT,
        Type::BYTEA,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
        Type::UUID,
        Type::TEXT,
        Type::FLOAT8,
        Type::TEXT,
        Type::FLOAT8,
    ],
};

/// A request to reset a password.
pub struct ResetRequest<'a> {
    /// The address of the account.
    pub email: &'a EmailLookup,
    /// The hash of the new token.
    pub token: &'a LinkTokenHash,
    /// The id of the first attempt to send the mail.
    pub mail: MailId,
    /// The URL of the page that the link of a reset mail leads to, without the token.
    pub page: &'a str,
    /// The URL of the page that the link leads to if the account is deleted, without the token.
    pub keep_page: &'a str,
}

/// A mail that was requested.
pub struct RequestedMail {
    /// The account.
    pub user: User,
    /// If the account is deleted: when `sweep` may erase it. The mail then has the link that keeps the account, instead of the one that resets the
    /// password.
    pub erase_at: Option<UnixTime>,
}

/// Replaces the account's reset token and writes the reset mail into the outbox. If the account is deleted, replaces the token that keeps it, and
/// writes that mail. `None` if the address has no account, if its mailbox has already got as many mails as the limit allows, or if the
/// account has a token for newer credentials than the statement has seen. In the last two cases, the token that the account has stays valid.
pub async fn request(db: &Database, reset: ResetRequest<'_>) -> Result<Option<RequestedMail>, DbError> {
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
                &reset.keep_page,
                &seconds(policy::NOTICE_LIFETIME),
            ],
        )
        .await;
    match row {
        Err(error) if error.is_foreign_key_violation() => Ok(None),
        row => Ok(row?.map(|row| RequestedMail { user: user(&row), erase_at: row.get("erase_at") })),
    }
}

/// The condition that a reset token still belongs to the user: the user has the address that it was sent to and the credential version of that time.
/// Both are NULL in a row from before the migration V9. Code from before V9 checks neither, so the statements that change them also delete the token.
macro_rules! token_belongs_to {
    ($email:literal, $version:literal, user: $user:literal) => {
        concat!(
            $user,
            ".email = coalesce(",
            $email,
            ", ",
            $user,
            ".email) AND ",
            $user,
            ".credential_version = coalesce(",
            $version,
            ", ",
            $user,
            ".credential_version)"
        )
    };
}
pub(super) use token_belongs_to;

/// The part of a `WITH` that replaces the reset token of the user in the row of `$due`, which has `id`, `email` and `credential_version`.
macro_rules! replace_reset_token {
    ($due:literal, token: $token:literal, lifetime: $lifetime:literal) => {
        concat!(
            "reset AS (
        INSERT INTO password_resets (user_id, email, credential_version, token_hash, expires_at)
        SELECT id, email, credential_version, ",
            $token,
            ", now() + ",
            $lifetime,
            " * interval '1 second' FROM ",
            $due,
            "
        ON CONFLICT (user_id) DO UPDATE
        SET email = excluded.email, credential_version = excluded.credential_version, token_hash = excluded.token_hash,
            created_at = excluded.created_at, expires_at = excluded.expires_at, redeemed_at = NULL
    )"
        )
    };
}
pub(super) use replace_reset_token;

static FIND: Statement<1> = Statement {
    sql: concat!(
        "
    SELECT ",
        user_columns!(),
        ", ",
        factor_columns!(),
        ", password, r.redeemed_at IS NOT NULL AS is_redeemed
    FROM users u JOIN (
        SELECT user_id, email AS sent_to, credential_version AS version, redeemed_at FROM password_resets
        WHERE token_hash = $1 AND expires_at > now()
    ) r ON r.user_id = u.id
    WHERE CASE
            WHEN r.redeemed_at IS NULL THEN ",
        token_belongs_to!("r.sent_to", "r.version", user: "u"),
        "
            ELSE EXISTS (SELECT FROM session_endings e WHERE e.user_id = u.id)
        END AND NOT ",
        is_deleted!("u.id")
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

/// Finds the account of a reset token. `None` if the token is not valid, or if the account is deleted.
pub async fn find(db: &Database, token: &LinkTokenHash) -> Result<Option<ResetToken>, DbError> {
    let row = db.query_opt(&FIND, [&token.as_bytes()]).await?;
    Ok(row.map(|row| {
        if row.get("is_redeemed") { ResetToken::Redeemed(account(&row)) } else { ResetToken::Valid(user(&row)) }
    }))
}

/// Of many requests with one token, only the first one succeeds. It deletes the token, or marks it as redeemed if sessions in DynamoDB must end. The
/// higher credential version ends every session of the user, including a session that a sign-in with the old password opens at the same time. The
/// token was in a mail, so the user has proved that the mailbox is theirs. A token does not work after a change of the credentials or the
/// address, or after a deletion.
///
/// If the connection breaks before the result arrives, the statement runs again. The second run does not find the token. So the `SELECT` after `UNION
/// ALL` asks whether the user has the new hash already. Hashes have random salts, so only the first run of the same request can have stored it.
static REDEEM: Statement<7> = Statement {
    sql: concat!(
        "
    WITH deleted AS (
        DELETE FROM password_resets
        WHERE token_hash = $1 AND user_id = $2 AND expires_at > now() AND redeemed_at IS NULL AND NOT $7
        RETURNING user_id, email AS sent_to, credential_version AS version
    ), marked AS (
        UPDATE password_resets SET redeemed_at = now()
        WHERE token_hash = $1 AND user_id = $2 AND expires_at > now() AND redeemed_at IS NULL AND $7
        RETURNING user_id, email AS sent_to, credential_version AS version
    ), changed AS (
        UPDATE users SET password = $3, credential_version = credential_version + 1,
            email_verified_at = coalesce(email_verified_at, now())
        FROM (SELECT * FROM deleted UNION ALL SELECT * FROM marked) AS redeemed WHERE users.id = redeemed.user_id AND ",
        token_belongs_to!("redeemed.sent_to", "redeemed.version", user: "users"),
        " AND NOT ",
        is_deleted!("users.id"),
        "
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
