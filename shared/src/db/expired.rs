//! Deleting expired rows, in every table that has them. Each statement deletes a limited number of rows, so that no statement takes long, and skips
//! rows that a request has locked.

use tokio_postgres::types::Type;

use super::{AnyStatement, Database, DbError, statement::Statement};
use crate::security::policy;

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 4] = [&SESSIONS, &PASSWORD_RESETS, &THROTTLE, &OUTBOX];

/// Deletes at most `$1` rows that fulfil the condition. Rows are deleted by their place in the table (`ctid`), which works for every primary key. The rows
/// are locked, so their places do not change.
macro_rules! delete_rows {
    ($table:literal where $condition:literal) => {
        concat!(
            "
    WITH deleted AS (
        DELETE FROM ",
            $table,
            " WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM ",
            $table,
            " WHERE ",
            $condition,
            " LIMIT $1 FOR UPDATE SKIP LOCKED
        )) RETURNING 1
    )
    SELECT count(*) AS deleted FROM deleted"
        )
    };
}
pub(super) use delete_rows;

macro_rules! delete_expired_from {
    ($table:literal) => {
        Statement { sql: delete_rows!($table where "expires_at <= now()"), types: [Type::INT8] }
    };
}

static SESSIONS: Statement<1> = delete_expired_from!("sessions");
static PASSWORD_RESETS: Statement<1> = delete_expired_from!("password_resets");
static THROTTLE: Statement<1> = delete_expired_from!("throttle");
static OUTBOX: Statement<1> = delete_expired_from!("outbox");

/// A table whose rows expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiringTable {
    /// Sessions. A session that was ended is kept until it expires or a sign-in deletes it.
    Sessions,
    /// Reset tokens.
    PasswordResets,
    /// Counters of attempts.
    Throttle,
    /// Mails that could not be sent in time.
    Outbox,
}

/// Deletes at most [`policy::SWEEP_BATCH`] expired rows, and returns how many it deleted.
pub async fn delete_batch(db: &Database, table: ExpiringTable) -> Result<i64, DbError> {
    let statement = match table {
        ExpiringTable::Sessions => &SESSIONS,
        ExpiringTable::PasswordResets => &PASSWORD_RESETS,
        ExpiringTable::Throttle => &THROTTLE,
        ExpiringTable::Outbox => &OUTBOX,
    };
    Ok(db.query_one(statement, [&policy::SWEEP_BATCH]).await?.get("deleted"))
}
