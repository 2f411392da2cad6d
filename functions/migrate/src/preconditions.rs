//! Conditions that a database must meet before `migrate` changes it.

use tokio_postgres::types::Type;

use crate::{error::Error, finish, history, takeover, transaction::Transaction};

const ENCODING: &str = "SELECT current_setting('server_encoding') AS encoding";

/// Refuses a database whose encoding cannot hold every name and address.
pub async fn refuse_other_encodings(transaction: &Transaction<'_>) -> Result<(), Error> {
    let encoding: String = transaction.query_one(ENCODING, &[]).await?.get("encoding");
    if encoding == "UTF8" { Ok(()) } else { Err(Error::NotUtf8(encoding)) }
}

const INVALID_INDEXES: &str = "
    SELECT ARRAY(
        SELECT indexrelid::regclass::text FROM pg_index
        WHERE NOT indisvalid AND indrelid = ANY (SELECT to_regclass(name) FROM unnest($1) AS name)
        ORDER BY 1
    ) AS invalid";

/// Refuses to migrate a database with an index that PostgreSQL does not use, because `CREATE INDEX CONCURRENTLY` has failed or has not ended.
/// A migration may drop another index that this one replaces.
pub async fn refuse_invalid_indexes(transaction: &Transaction<'_>) -> Result<(), Error> {
    let names: Vec<&str> = takeover::tables().collect();
    let row = transaction.query_one(INVALID_INDEXES, &[(&names, Type::TEXT_ARRAY)]).await?;
    let invalid: Vec<String> = row.get("invalid");
    if invalid.is_empty() { Ok(()) } else { Err(Error::InvalidIndexes(invalid)) }
}

const SCHEMAS: &str = "
    SELECT current_schema()::text AS current,
        ARRAY(
            SELECT c.oid::regclass::text
            FROM unnest($1) AS name JOIN pg_class c ON c.oid = to_regclass(name)
            WHERE c.relnamespace <> current_schema()::regnamespace
            ORDER BY name
        ) AS elsewhere";

/// Refuses a connection that would create new tables in one schema although existing tables are in another.
pub async fn refuse_two_schemas(transaction: &Transaction<'_>) -> Result<(), Error> {
    let names: Vec<&str> = takeover::tables().chain([history::TABLE]).chain(finish::old_tables()).collect();
    let row = transaction.query_one(SCHEMAS, &[(&names, Type::TEXT_ARRAY)]).await?;
    let current: Option<String> = row.get("current");
    let elsewhere: Vec<String> = row.get("elsewhere");
    match current {
        None => Err(Error::NoSchema),
        Some(current) if !elsewhere.is_empty() => Err(Error::TwoSchemas { current, elsewhere }),
        Some(_) => Ok(()),
    }
}
