//! Queries of PostgreSQL's system catalogue: which relations exist, and which columns a table has.

use tokio_postgres::types::Type;

use crate::{error::DatabaseError, transaction::Transaction};

/// The properties of a column by which `migrate` recognises a table of the old service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as PostgreSQL writes it, with the length: `character varying(120)`.
    pub data_type: String,
    /// Whether it is NOT NULL.
    pub not_null: bool,
    /// Whether an INSERT may omit it because the database supplies a value: a default, an identity or a generated value.
    pub has_default: bool,
    /// Whether the primary key consists of this column only.
    pub is_primary_key: bool,
}

const KIND: &str = "SELECT relkind::text AS kind FROM pg_class WHERE oid = to_regclass($1)";

/// The `relkind` of the relation with this name: `r` for a table, `v` for a view, and so on. `None` if there is no such relation.
pub async fn kind(transaction: &Transaction<'_>, name: &str) -> Result<Option<String>, DatabaseError> {
    let rows = transaction.query(KIND, &[(&name, Type::TEXT)]).await?;
    Ok(rows.first().map(|row| row.get("kind")))
}

const COLUMNS: &str = "
    SELECT a.attname::text AS name,
        format_type(a.atttypid, a.atttypmod) AS data_type,
        a.attnotnull AS not_null,
        a.atthasdef OR a.attidentity <> '' AS has_default,
        EXISTS (
            SELECT FROM pg_index i
            WHERE i.indrelid = a.attrelid AND i.indisprimary AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
        ) AS is_primary_key
    FROM pg_attribute a
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

/// The columns of a table, in the order of the table.
pub async fn columns(transaction: &Transaction<'_>, table: &str) -> Result<Vec<Column>, DatabaseError> {
    let rows = transaction.query(COLUMNS, &[(&table, Type::TEXT)]).await?;
    Ok(rows
        .iter()
        .map(|row| Column {
            name: row.get("name"),
            data_type: row.get("data_type"),
            not_null: row.get("not_null"),
            has_default: row.get("has_default"),
            is_primary_key: row.get("is_primary_key"),
        })
        .collect())
}

/// The name of a `relkind` for error messages.
pub fn kind_in_words(kind: &str) -> &'static str {
    match kind {
        "r" => "a table",
        "p" => "a partitioned table",
        "v" => "a view",
        "m" => "a materialized view",
        "f" => "a foreign table",
        "S" => "a sequence",
        "i" | "I" => "an index",
        "c" => "a composite type",
        _ => "something else",
    }
}

/// The largest number of characters that a column of this type can hold. [`u32::MAX`] for a type without a limit, `None` for a
/// type that is not text.
pub fn text_width(data_type: &str) -> Option<u32> {
    match data_type {
        "text" | "character varying" => Some(u32::MAX),
        limited => limited.strip_prefix("character varying(")?.strip_suffix(')')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_of_a_text_is_read_from_its_type() {
        assert_eq!(text_width("character varying(120)"), Some(120));
        assert_eq!(text_width("character varying"), Some(u32::MAX));
        assert_eq!(text_width("text"), Some(u32::MAX));
        // PostgreSQL pads `character(n)` with blanks, so a value would not be stored as it is.
        assert_eq!(text_width("character(120)"), None);
        assert_eq!(text_width("citext"), None);
        assert_eq!(text_width("integer"), None);
    }
}
