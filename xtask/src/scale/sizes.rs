//! The sizes of the tables on disk.

use anyhow::Result;
use postgres::Client;
use serde::Serialize;

/// The tables that grow with the number of users.
const TABLES: [&str; 5] = ["users", "sessions", "throttle", "outbox", "password_resets"];

/// The size of one table, in bytes.
#[derive(Serialize)]
pub struct Size {
    pub table: &'static str,
    pub rows: i64,
    /// The rows themselves, with the free space in their pages.
    pub heap: i64,
    pub indexes: i64,
}

impl Size {
    /// These bytes, divided by the number of rows.
    #[expect(clippy::cast_precision_loss, reason = "no table is so large")]
    pub fn for_each_row(&self, bytes: i64) -> f64 {
        bytes as f64 / self.rows.max(1) as f64
    }
}

/// Measures the tables of a database.
pub fn measure(sql: &mut Client) -> Result<Vec<Size>> {
    let size = |table: &&'static str| {
        let query = format!("SELECT count(*), pg_table_size('{table}'), pg_indexes_size('{table}') FROM {table}");
        let row = sql.query_one(&query, &[])?;
        Ok(Size { table, rows: row.get(0), heap: row.get(1), indexes: row.get(2) })
    };
    TABLES.iter().map(size).collect()
}
