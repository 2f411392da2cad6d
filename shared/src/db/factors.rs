//! The tables `totp`, `passkeys`, `recovery_codes`, `mfa_tokens`, `factor_undos` and `factor_changes`: second factors.

pub mod attempts;
pub mod passkeys;
pub mod recovery_codes;
pub mod removals;
pub mod totp;

use tokio_postgres::{Row, types::Type};

use super::{
    AnyStatement, Database, DbError,
    password_resets::replace_reset_token,
    rules::{is_deleted, user_columns},
    seconds,
    session_endings::owe_session_ending,
    statement::Statement,
    users::user,
};
use crate::{
    domain::{CounterKey, FactorChangeId, FactorCounters, MailId, User},
    security::{LinkTokenHash, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 2] = [&UNDO, &LOCK_ACCOUNT_OF_UNDO];

/// The condition that the row `t` of `totp` is a factor, and not a pending enrolment.
macro_rules! is_confirmed {
    () => {
        "t.confirmed_at IS NOT NULL"
    };
}

/// The condition that the user `$user` has a second factor. With `$except`, one besides the factor with this id.
/// `$and_totp` and `$and_passkey` are further conditions on the rows `t` and `p`.
macro_rules! has_factor {
    ($user:literal) => {
        $crate::db::factors::has_factor!($user, "", "")
    };
    ($user:literal, except: $except:literal) => {
        $crate::db::factors::has_factor!(
            $user,
            concat!(" AND t.factor_id <> ", $except),
            concat!(" AND p.factor_id <> ", $except)
        )
    };
    ($user:literal, $and_totp:expr, $and_passkey:expr) => {
        concat!(
            "(EXISTS (SELECT FROM totp t WHERE t.user_id = ",
            $user,
            " AND ",
            $crate::db::factors::is_confirmed!(),
            $and_totp,
            ") OR EXISTS (SELECT FROM passkeys p WHERE p.user_id = ",
            $user,
            $and_passkey,
            "))"
        )
    };
}

/// The keys of the counters of wrong codes ([`FactorCounters`]) for the account in a row with its `id`, and the source `$source`.
macro_rules! factor_counter_keys {
    (source: $source:literal) => {
        concat!(
            $crate::db::rules::counter_key!(concat!("'second factor both ' || ", $source, " || ' ' || id")),
            " AS both_key, ",
            $crate::db::rules::counter_key!("'second factor account ' || id"),
            " AS account_key"
        )
    };
}

/// The part of a `WITH` that remembers that the request `$id` has made its change, for `$lifetime` seconds. `$done` has the `id` of a user.
macro_rules! remember_change {
    ($done:literal, id: $id:literal, lifetime: $lifetime:literal) => {
        concat!(
            "remembered AS (
        INSERT INTO factor_changes (id, user_id, expires_at) SELECT ",
            $id,
            ", id, now() + ",
            $lifetime,
            " * interval '1 second' FROM ",
            $done,
            "
    )"
        )
    };
}

/// The condition that the request `$id` has made its change already: an earlier run of the statement did it, and its answer was lost.
macro_rules! is_remembered {
    ($id:literal) => {
        concat!("EXISTS (SELECT FROM factor_changes f WHERE f.id = ", $id, ")")
    };
}

/// The number of recovery codes of the user `$user`.
macro_rules! recovery_codes_of {
    ($user:literal) => {
        concat!("(SELECT count(*) FROM recovery_codes r WHERE r.user_id = ", $user, ")")
    };
}

pub(super) use recovery_codes_of;
use {factor_counter_keys, has_factor, is_confirmed, is_remembered, remember_change};

/// Of many requests with one token, only the first one changes the account. The statement deletes the factor, and whatever was added since: other factors,
/// their links, and recovery codes. So a thief who adds several factors, or replaces one by another, does not keep the owner out. If no factor is left, it
/// deletes all recovery codes.
///
/// The statement does not see a factor, recovery codes or an address that another request has added or changed after it began. Each such request writes
/// the row of `users`. Then `changed` is empty, because `xmin`, the id of the transaction that wrote the row, is another one, and the statement must run
/// again.
///
/// If the address was changed after the factor was added, no reset mail is sent, because the new address may be that of whoever added the factor. The
/// owner of the earlier address can undo the change, and then gets a reset mail. If the account was deleted, no reset mail is sent either, because its
/// password cannot be reset. The owner has got the link that keeps the account.
///
/// If the answer of an earlier run was lost, the `SELECT` after `UNION ALL` finds what it did.
static UNDO: Statement<7> = Statement {
    sql: concat!(
        "
    WITH due AS (
        SELECT f.user_id, f.factor_id, f.created_at AS added_at, u.xmin AS row_version
        FROM factor_undos f JOIN users u ON u.id = f.user_id WHERE f.token_hash = $1 AND f.expires_at > now()
    ), changed AS (
        UPDATE users u SET credential_version = u.credential_version + 1 FROM due
        WHERE u.id = due.user_id AND u.xmin = due.row_version
        RETURNING ",
        user_columns!(),
        "
    ), ",
        owe_session_ending!("changed"),
        ", removed AS (
        DELETE FROM totp t USING changed, due WHERE t.user_id = changed.id AND (t.factor_id = due.factor_id OR t.confirmed_at >= due.added_at)
    ), passkeys_removed AS (
        DELETE FROM passkeys p USING changed, due WHERE p.user_id = changed.id AND (p.factor_id = due.factor_id OR p.created_at >= due.added_at)
    ), links_removed AS (
        DELETE FROM factor_undos f USING changed, due
        WHERE f.user_id = changed.id AND f.created_at >= due.added_at
    ), codes_removed AS (
        DELETE FROM recovery_codes r USING changed, due
        WHERE r.user_id = changed.id AND (r.created_at >= due.added_at OR NOT ",
        has_factor!("changed.id", " AND t.confirmed_at < due.added_at", " AND p.created_at < due.added_at"),
        ")
    ), ",
        remember_change!("changed", id: "$6", lifetime: "$7"),
        ", to_reset AS (
        SELECT changed.* FROM changed, due
        WHERE NOT EXISTS (SELECT FROM email_undos e WHERE e.user_id = changed.id AND e.changed_at >= due.added_at AND e.expires_at > now())
            AND NOT ",
        is_deleted!("changed.id"),
        "
    ), ",
        replace_reset_token!("to_reset", token: "$2", lifetime: "$5"),
        ", mail AS (
        INSERT INTO outbox (user_id, kind, id, page, attempts, due_at, expires_at)
        SELECT id, 'password_reset', $3, $4, 0, now(), now() + $5 * interval '1 second' FROM to_reset
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, page = excluded.page, recipient = excluded.recipient, attempts = 0, due_at = excluded.due_at,
            expires_at = excluded.expires_at
    )
    SELECT changed.* FROM due LEFT JOIN changed ON true
    UNION ALL
    SELECT ",
        user_columns!(),
        " FROM users WHERE id = (SELECT f.user_id FROM factor_changes f WHERE f.id = $6)"
    ),
    types: [Type::BYTEA, Type::BYTEA, Type::UUID, Type::TEXT, Type::FLOAT8, Type::UUID, Type::FLOAT8],
};

static LOCK_ACCOUNT_OF_UNDO: Statement<1> = Statement {
    sql: "
    SELECT u.id FROM users u WHERE u.id = (SELECT f.user_id FROM factor_undos f WHERE f.token_hash = $1) FOR NO KEY UPDATE",
    types: [Type::BYTEA],
};

/// The removal of a new factor by the mailbox that got the notice about it.
pub struct FactorUndo<'a> {
    /// The hash of the token in the notice.
    pub token: &'a LinkTokenHash,
    /// The hash of the token that resets the password.
    pub reset: &'a LinkTokenHash,
    /// The URL of the page of the link that resets the password, without the token.
    pub reset_page: &'a str,
    /// The id of the mail with this link.
    pub mail: MailId,
    /// The id of this request.
    pub change: FactorChangeId,
}

/// Removes the factor of a notice and what was added since, ends every session of the user, and writes a reset mail into the outbox. Also writes that the
/// sessions in DynamoDB must end. Returns the account with its new credential version. `None` if the token is unknown, used or expired.
pub async fn undo(db: &Database, undo: FactorUndo<'_>) -> Result<Option<User>, DbError> {
    let values = [
        &undo.token.as_bytes() as _,
        &undo.reset.as_bytes() as _,
        &undo.mail.0 as _,
        &undo.reset_page as _,
        &seconds(policy::RESET_TOKEN_LIFETIME) as _,
        &undo.change.0 as _,
        &seconds(policy::USED_PROOF_KEPT) as _,
    ];
    Ok(db.query_unless_account_changes(&UNDO, values, &LOCK_ACCOUNT_OF_UNDO).await?.as_ref().map(user))
}

/// The counters of a row that has [`factor_counter_keys!`].
fn factor_counters(row: &Row) -> FactorCounters {
    let key = |name| CounterKey::from_stored(row.get(name));
    FactorCounters { both: key("both_key"), account: key("account_key") }
}
