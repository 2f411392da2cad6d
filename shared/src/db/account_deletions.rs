//! The table `account_deletions`: accounts that their users have deleted. Nobody can sign in to such an account. Its user can keep it until
//! `erase_at`, and then `sweep` erases it.

use std::time::Duration;

use tokio_postgres::{Row, types::Type};

use super::{
    AnyStatement, Database, DbError,
    rules::{count_account_mail, session_is_presented, user_columns},
    seconds,
    session_endings::owe_session_ending,
    statement::Statement,
    users::user,
};
use crate::{
    domain::{MailId, PresentedSession, UnixTime, User, UserId},
    security::{LinkTokenHash, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 4] = [&REQUEST, &KEEP, &DUE, &ERASE];

/// The higher credential version ends every session of the user, including a session that a sign-in opens at the same time. The links, the code and
/// the pending change of the address become void.
///
/// If the answer of an earlier run was lost, the `SELECT` after `UNION ALL` finds the deletion by its token. If the earlier request could not end the
/// sessions in DynamoDB, a repetition in the same session also finds the deletion, because the deletion has raised the version of this session by one.
static REQUEST: Statement<11> = Statement {
    sql: concat!(
        "
    WITH changed AS (
        UPDATE users u SET credential_version = credential_version + 1 WHERE ",
        session_is_presented!(),
        "
        RETURNING ",
        user_columns!(),
        "
    ), ",
        owe_session_ending!("changed"),
        ", voided AS (
        DELETE FROM password_resets r USING changed WHERE r.user_id = changed.id
    ), ",
        count_account_mail!("deletion", "changed", limit: "$10", window: "$11"),
        ", deletion AS (
        INSERT INTO account_deletions (user_id, token_hash, erase_at)
        SELECT id, $4, now() + $5 * interval '1 second' FROM changed
        RETURNING erase_at
    ), mail AS (
        INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at)
        SELECT id, 'account_deleted', $6, $7, now() + $8 * interval '1 second', now() + $9 * interval '1 second' FROM notified
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, page = excluded.page, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
    )
    SELECT changed.*, erase_at, true AS is_new, EXISTS (SELECT FROM notified) AS mail_is_owed
    FROM changed, deletion
    UNION ALL
    SELECT ",
        user_columns!(),
        ", erase_at, token_hash = $4,
        EXISTS (SELECT FROM outbox o WHERE o.user_id = u.id AND o.id = $6)
    FROM users u JOIN account_deletions d ON d.user_id = u.id
    WHERE u.id = $1 AND (token_hash = $4 OR credential_version = $3 + 1)"
    ),
    types: [
        Type::INT8,
        Type::UUID,
        Type::INT4,
        Type::BYTEA,
        Type::FLOAT8,
        Type::UUID,
        Type::TEXT,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
    ],
};

/// A request to delete an account.
pub struct DeletionRequest<'a> {
    /// The session that the request presents.
    pub session: PresentedSession,
    /// After this time, `sweep` may erase the account.
    pub erase_after: Duration,
    /// The hash of the token that keeps the account.
    pub token: &'a LinkTokenHash,
    /// The id of the first attempt to send the mail.
    pub mail: MailId,
    /// The URL of the page that the mail's link leads to, without the token.
    pub page: &'a str,
}

/// A deletion that waits to be carried out.
pub struct Deletion {
    /// The user, with the new credential version.
    pub user: User,
    /// When `sweep` may erase the account.
    pub erase_at: UnixTime,
    /// Whether this request has deleted the account. If an earlier one has, the token and the mail of this one were not stored.
    pub is_new: bool,
    /// Whether the mail of this request is in the outbox. `false` if nobody has proved the mailbox, and the limit of these mails is reached. The
    /// user can then request the link with forgot-password.
    pub mail_is_owed: bool,
}

/// Deletes the account of the presented session: ends every session in PostgreSQL, voids links and codes, and writes the mail into the outbox. Also
/// writes that the sessions in DynamoDB must end. `None` if the session is not live (if sessions are in DynamoDB: if the credentials have changed
/// since it was found live, except by an earlier run of this request).
pub async fn request(db: &Database, request: DeletionRequest<'_>) -> Result<Option<Deletion>, DbError> {
    let DeletionRequest { session, erase_after, token, mail, page } = request;
    let of_mailbox = policy::ACCOUNT_MAILS_TO_UNPROVED_MAILBOX;
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &token.as_bytes() as _,
        &seconds(erase_after) as _,
        &mail.0 as _,
        &page as _,
        &seconds(policy::MAIL_FIRST_RETRY) as _,
        &seconds(policy::NOTICE_LIFETIME) as _,
        &of_mailbox.attempts as _,
        &seconds(of_mailbox.window) as _,
    ];
    let row = db.query_in_session(&REQUEST, values).await?;
    Ok(row.map(|row| Deletion {
        user: user(&row),
        erase_at: row.get("erase_at"),
        is_new: row.get("is_new"),
        mail_is_owed: row.get("mail_is_owed"),
    }))
}

/// Of many requests with one token, only the first one succeeds. The statement writes the mark `$2`, which only this request has, into `throttle`,
/// where rows expire by themselves. A second run after a lost answer finds it. The mark is not in `account_deletions`, because every other statement
/// would have to ignore it there.
static KEEP: Statement<3> = Statement {
    sql: "
    WITH kept AS (
        DELETE FROM account_deletions WHERE token_hash = $1 AND erase_at > now() RETURNING user_id
    ), marked AS (
        INSERT INTO throttle (key, attempts, expires_at) SELECT $2, 1, now() + $3 * interval '1 second' FROM kept
    )
    SELECT user_id FROM kept UNION ALL SELECT NULL FROM throttle WHERE key = $2",
    types: [Type::BYTEA, Type::BYTEA, Type::FLOAT8],
};

/// An account that is not deleted any more.
pub struct Kept {
    /// Its user. `None` if an earlier run of the statement has kept the account, and its answer was lost.
    pub user: Option<UserId>,
}

/// Takes a deletion back, and uses up its token. `mark` is the hash of a random token that belongs to this request alone. `None` if the token is not
/// valid.
pub async fn keep(db: &Database, token: &LinkTokenHash, mark: &LinkTokenHash) -> Result<Option<Kept>, DbError> {
    let row = db.query_opt(&KEEP, [&token.as_bytes(), &mark.as_bytes(), &seconds(policy::KEPT_MARK_LIFETIME)]).await?;
    Ok(row.map(|row| Kept { user: row.get::<_, Option<i64>>("user_id").map(UserId) }))
}

/// The condition that the account of the deletion `d` may be erased now. It waits while a change of its address can be undone, because the undo also
/// takes the deletion back. It also waits for the mail, but only for `$patience` seconds.
macro_rules! erasure_is_due {
    (patience: $patience:literal) => {
        concat!(
            "d.erase_at <= now()
        AND NOT EXISTS (SELECT FROM email_undos e WHERE e.user_id = d.user_id AND e.expires_at > now())
        AND (
            d.erase_at <= now() - ",
            $patience,
            " * interval '1 second'
            OR NOT EXISTS (SELECT FROM outbox o WHERE o.user_id = d.user_id AND o.kind = 'account_deleted' AND o.expires_at > now())
        )"
        )
    };
}

static DUE: Statement<2> = Statement {
    sql: concat!(
        "
    SELECT d.user_id, u.credential_version, now() AS now
    FROM account_deletions d JOIN users u ON u.id = d.user_id
    WHERE ",
        erasure_is_due!(patience: "$2"),
        " ORDER BY random() LIMIT $1"
    ),
    types: [Type::INT8, Type::FLOAT8],
};

/// An account that may be erased.
#[derive(Debug, Clone, Copy)]
pub struct DueErasure {
    /// Its user.
    pub user: UserId,
    /// The user's credential version.
    pub version: i32,
    /// The time of PostgreSQL's clock.
    pub now: UnixTime,
}

/// The accounts that may be erased now, at most [`policy::SWEEP_BATCH`]. They are in random order, so accounts that cannot be erased do not
/// always come first.
pub async fn due(db: &Database) -> Result<Vec<DueErasure>, DbError> {
    let rows = db.query(&DUE, [&policy::SWEEP_BATCH, &seconds(policy::ERASURE_WAITS_FOR_MAIL)]).await?;
    let due = |row: &Row| DueErasure {
        user: UserId(row.get("user_id")),
        version: row.get("credential_version"),
        now: row.get("now"),
    };
    Ok(rows.iter().map(due).collect())
}

/// PostgreSQL deletes the rows of the other tables with the row of `users`, except the row of `session_endings` and the claim of the sign-up, which
/// name no user by a foreign key. The sessions in DynamoDB up to the version `$2` have ended before, so the debt is settled.
///
/// The second half recognises that an earlier run has erased the account.
static ERASE: Statement<3> = Statement {
    sql: concat!(
        "
    WITH due AS (
        SELECT d.user_id, lower(u.email COLLATE \"C\") AS address FROM account_deletions d JOIN users u ON u.id = d.user_id
        WHERE d.user_id = $1 AND u.credential_version = $2 AND ",
        erasure_is_due!(patience: "$3"),
        "
        FOR UPDATE OF d
    ), erased AS (
        DELETE FROM users USING due WHERE users.id = due.user_id RETURNING users.id
    ), settled AS (
        DELETE FROM session_endings e USING erased WHERE e.user_id = erased.id
    ), unclaimed AS (
        DELETE FROM reserved_addresses r USING due WHERE r.address = due.address AND r.user_id IS NULL
    )
    SELECT id::bigint AS id FROM erased
    UNION ALL
    SELECT $1 WHERE NOT EXISTS (SELECT FROM users WHERE id = $1)"
    ),
    types: [Type::INT8, Type::INT4, Type::FLOAT8],
};

/// Deletes every row about a user whose deletion is due, and returns whether the user does not exist any more. Call it only after the user's sessions
/// in DynamoDB have ended. Deletes nothing if the credential version has changed since then, or if the account was kept.
pub async fn erase(db: &Database, DueErasure { user, version, .. }: DueErasure) -> Result<bool, DbError> {
    let row = db.query_opt(&ERASE, [&user.0, &version, &seconds(policy::ERASURE_WAITS_FOR_MAIL)]).await?;
    Ok(row.is_some())
}
