//! Erasing accounts that their users have deleted.
//!
//! The account is erased first in DynamoDB, if the sessions are there, and then in PostgreSQL. So an interrupted erasure is still due afterwards.

use std::time::Duration;

use super::dynamodb::SessionTable;
use crate::{
    audit::{self, Event},
    db::{
        Database, DbError,
        account_deletions::{self, DueErasure},
    },
    environment::{ConfigError, Environment},
    security::policy,
    state_table::StateTable,
};

/// Erases accounts.
pub struct Erasures {
    database: Database,
    table: Option<SessionTable>,
    /// How long a session lives.
    session_lifetime: Duration,
}

impl Erasures {
    /// Reads `STATE_TABLE`, `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`, and `JWT_REFRESH_TOKEN_EXPIRES`.
    ///
    /// # Errors
    /// If a value is malformed.
    pub fn from_env(env: &Environment, database: &Database) -> Result<Self, ConfigError> {
        Ok(Self {
            database: database.clone(),
            table: StateTable::from_env(env)?.map(SessionTable::new),
            session_lifetime: env.positive_seconds("JWT_REFRESH_TOKEN_EXPIRES", policy::SESSION_LIFETIME)?,
        })
    }

    /// The accounts that may be erased now, in random order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn due(&self) -> Result<Vec<DueErasure>, DbError> {
        account_deletions::due(&self.database).await
    }

    /// Erases an account, and returns whether it does not exist any more. In DynamoDB, only the user's id and the minimum version stay, for as long
    /// as a session lives.
    ///
    /// # Errors
    /// If a store fails. The account stays due.
    pub async fn erase(&self, account: DueErasure) -> Result<bool, DbError> {
        if let Some(table) = &self.table {
            table.erase(account.user, account.version, account.now.plus(self.session_lifetime)).await?;
        }
        let is_erased = account_deletions::erase(&self.database, account).await?;
        if is_erased {
            audit::record(Event::AccountErased, Some(account.user));
        }
        Ok(is_erased)
    }
}
