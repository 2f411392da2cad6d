//! The transaction of an invocation.

use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::error::DatabaseError;

/// A transaction. A migration that fails half-way leaves nothing behind, not even the history table.
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
