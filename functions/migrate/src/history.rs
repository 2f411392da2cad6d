//! The history of applied migrations.

use crate::{catalog, error::DatabaseError, transaction::Transaction};

/// The table in which refinery records applied migrations.
pub const TABLE: &str = "refinery_schema_history";

const VERSION: &str = "SELECT max(version) AS version FROM refinery_schema_history";

/// The version of the schema. `None` if no migration was ever applied.
pub async fn version(transaction: &Transaction<'_>) -> Result<Option<i32>, DatabaseError> {
    if catalog::kind(transaction, TABLE).await?.is_none() {
        return Ok(None);
    }
    Ok(transaction.query_one(VERSION, &[]).await?.try_get("version")?)
}
