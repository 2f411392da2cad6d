//! What has expired, in every table: rows that mean nothing any more. So many at a time that no statement is long, and never one that a
//! request has locked.

use tokio_postgres::types::Type;

use super::{Database, DbError};
use crate::security::policy;

/// A table whose rows expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Sessions past their end; those that were ended before wait until then.
    Sessions,
    /// Reset tokens past their time.
    PasswordResets,
    /// Counters past their time.
    Throttle,
    /// Mails that were given up.
    Outbox,
}

/// By their place in the table, whatever its key is: the rows are locked, so they stay there.
macro_rules! delete_from {
    ($table:literal) => {
        concat!(
            "WITH deleted AS (DELETE FROM ",
            $table,
            " WHERE ctid = ANY (ARRAY(SELECT ctid FROM ",
            $table,
            " WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING 1)
            SELECT count(*) AS deleted FROM deleted"
        )
    };
}

/// Deletes at most [`policy::SWEEP_BATCH`] expired rows, and says how many.
pub async fn delete_batch(db: &Database, table: Table) -> Result<i64, DbError> {
    let statement = match table {
        Table::Sessions => delete_from!("sessions"),
        Table::PasswordResets => delete_from!("password_resets"),
        Table::Throttle => delete_from!("throttle"),
        Table::Outbox => delete_from!("outbox"),
    };
    Ok(db.query_one(statement, &[(&policy::SWEEP_BATCH, Type::INT8)]).await?.get("deleted"))
}
