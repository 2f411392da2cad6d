//! The table `session_endings`: users whose sessions in DynamoDB must still end. While sessions are in PostgreSQL, it has the users whose
//! credentials have changed in the last day. If a user is deleted, the row stays.

use tokio_postgres::types::Type;

use super::{AnyStatement, Database, DbError, expired::delete_rows, seconds, statement::Statement};
use crate::{
    domain::{SessionId, User, UserId},
    security::policy,
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 5] = [&NEXT, &SETTLE, &COUNT, &DELETE_OLD, &PASSWORD_WAS_CHANGED_IN];

/// The part of a `WITH` that writes the debt for the rows of `$changed`, which have the `id` and the new `credential_version` of a user. It is also
/// written while sessions are in PostgreSQL, because during a move to a table, another function may already have opened a session in the table.
///
/// `$session` is the session in which the user has changed the password. If the sessions in DynamoDB could not be ended, a repetition of the request in
/// this session completes the change, and no other session may do so ([`password_was_changed_in`]).
macro_rules! owe_session_ending {
    ($changed:literal) => {
        $crate::db::session_endings::owe_session_ending!($changed, in_session: "NULL::uuid")
    };
    ($changed:literal, in_session: $session:literal) => {
        concat!(
            "owed AS (
        INSERT INTO session_endings AS e (user_id, minimum_version, changed_in)
        SELECT id, credential_version, ",
            $session,
            " FROM ",
            $changed,
            "
        ON CONFLICT (user_id) DO UPDATE SET
            minimum_version = greatest(e.minimum_version, excluded.minimum_version), owed_since = excluded.owed_since,
            changed_in = excluded.changed_in
    )"
        )
    };
}
pub(super) use owe_session_ending;

static NEXT: Statement<1> = Statement {
    sql: "SELECT user_id, minimum_version FROM session_endings WHERE user_id > $1 ORDER BY user_id LIMIT 1",
    types: [Type::INT8],
};

/// The first user after this one whose sessions must end, and the lowest credential version whose sessions stay. `None` if there is none.
pub async fn next(db: &Database, after: UserId) -> Result<Option<(UserId, i32)>, DbError> {
    let row = db.query_opt(&NEXT, [&after.0]).await?;
    Ok(row.map(|row| (UserId(row.get("user_id")), row.get("minimum_version"))))
}

/// Deletes the debt and the used reset token of a user. The token is kept until the debt is settled, so that the user can repeat the request. See
/// [`super::password_resets`].
static SETTLE: Statement<2> = Statement {
    sql: "
    WITH settled AS (
        DELETE FROM session_endings WHERE user_id = $1 AND minimum_version <= $2 RETURNING user_id
    ), forgotten AS (
        DELETE FROM password_resets r USING settled WHERE r.user_id = settled.user_id AND r.redeemed_at IS NOT NULL RETURNING r.user_id
    )
    SELECT count(*) AS settled FROM settled",
    types: [Type::INT8, Type::INT4],
};

/// Deletes the debt of a user, unless its minimum version has become higher than `version` in the meantime.
pub async fn settle(db: &Database, user: UserId, version: i32) -> Result<(), DbError> {
    db.query_one(&SETTLE, [&user.0, &version]).await.map(drop)
}

static PASSWORD_WAS_CHANGED_IN: Statement<3> = Statement {
    sql: "SELECT FROM session_endings WHERE user_id = $1 AND minimum_version = $2 AND changed_in = $3",
    types: [Type::INT8, Type::INT4, Type::UUID],
};

/// Whether the last change of the credentials, which led to this version, was a change of the password in this session, and the user's sessions have
/// still to end.
pub async fn password_was_changed_in(db: &Database, user: &User, session: SessionId) -> Result<bool, DbError> {
    Ok(db.query_opt(&PASSWORD_WAS_CHANGED_IN, [&user.id.0, &user.credential_version, &session.0]).await?.is_some())
}

static DELETE_OLD: Statement<2> = Statement {
    sql: delete_rows!("session_endings" where "owed_since <= now() - $2 * interval '1 second'"),
    types: [Type::INT8, Type::FLOAT8],
};

/// Deletes at most [`policy::SWEEP_BATCH`] debts that are older than [`policy::MOVE_OF_SESSIONS`]. Call it only while sessions are in PostgreSQL. The
/// newer debts are kept, because sessions may be moving to a table.
pub async fn delete_old(db: &Database) -> Result<(), DbError> {
    db.query_one(&DELETE_OLD, [&policy::SWEEP_BATCH, &seconds(policy::MOVE_OF_SESSIONS)]).await.map(drop)
}

static COUNT: Statement<0> = Statement { sql: "SELECT count(*) AS owed FROM session_endings", types: [] };

/// The number of users whose sessions must still end.
pub async fn count(db: &Database) -> Result<i64, DbError> {
    Ok(db.query_one(&COUNT, []).await?.get("owed"))
}
