//! The transaction of an invocation, with the traits that refinery needs.

use refinery_core::{
    Migration,
    traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::error::DatabaseError;

/// A transaction in which refinery runs without committing. Refinery's own driver commits after each step. With this type, a
/// migration that fails half-way leaves nothing behind, not even the history table.
pub struct Transaction<'a>(tokio_postgres::Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Wraps a new transaction. Dropping the value rolls the transaction back.
    pub fn new(transaction: tokio_postgres::Transaction<'a>) -> Self {
        Self(transaction)
    }

    /// Commits the transaction.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        Ok(self.0.commit().await?)
    }

    /// Runs statements that return nothing.
    pub async fn execute(&self, sql: &str) -> Result<(), DatabaseError> {
        Ok(self.0.batch_execute(sql).await?)
    }

    /// Runs a query and returns its rows.
    pub async fn query(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, DatabaseError> {
        Ok(self.0.query_typed(sql, params).await?)
    }

    /// Runs a query that always returns one row.
    pub async fn query_one(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Row, DatabaseError> {
        Ok(self.0.query_typed_one(sql, params).await?)
    }
}

impl AsyncTransaction for Transaction<'_> {
    type Error = DatabaseError;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, DatabaseError> {
        let mut count = 0;
        for query in queries {
            self.0.batch_execute(query).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Transaction<'_> {
    /// Reads refinery's history: version, name, time and checksum of each applied migration.
    async fn query(&mut self, query: &str) -> Result<Vec<Migration>, DatabaseError> {
        self.0.query_typed(query, &[]).await?.iter().map(applied).collect()
    }
}

impl AsyncMigrate for Transaction<'_> {}

fn applied(row: &Row) -> Result<Migration, DatabaseError> {
    let applied_on =
        OffsetDateTime::parse(row.try_get("applied_on")?, &Rfc3339).map_err(|_| DatabaseError::invalid_history())?;
    let checksum = row.try_get::<_, &str>("checksum")?.parse().map_err(|_| DatabaseError::invalid_history())?;
    Ok(Migration::applied(row.try_get("version")?, row.try_get("name")?, applied_on, checksum))
}
