//! Ending all sessions of a user, because the credentials have changed.
//!
//! PostgreSQL alone assigns credential versions. If the sessions are in PostgreSQL, a higher version in `users` ends the sessions of lower versions
//! in the same statement. If they are in DynamoDB, the account's minimum version there must be raised, too. The statement that assigns the version
//! also writes a row into the table `session_endings`, which says that the minimum version must still be raised. Here it is called a debt. The request
//! raises the minimum version and deletes the debt. If it cannot, it is answered with 503, and `sweep`, or a repetition of the request, does both.
//!
//! The debt is also written if the sessions are in PostgreSQL. During a move to a table, some functions already use the table and others do not. So
//! one may open a session in the table while another changes the credentials. If the sessions have not moved after a day, `sweep` deletes the debt.

use tracing::warn;

use super::dynamodb::SessionTable;
use crate::{
    audit::{self, Event},
    db::{Database, DbError, session_endings, users},
    domain::{User, UserId},
    environment::{ConfigError, Environment},
    error::ApiError,
    state_table::StateTable,
};

/// Ends all sessions of a user.
pub struct SessionEndings {
    database: Database,
    table: Option<SessionTable>,
}

impl SessionEndings {
    /// Reads `STATE_TABLE`, and `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    /// If the endpoint is malformed.
    pub fn from_env(env: &Environment, database: &Database) -> Result<Self, ConfigError> {
        let table = StateTable::from_env(env)?.map(SessionTable::new);
        Ok(Self { database: database.clone(), table })
    }

    /// Whether [`Self::settle`] must follow a change of credentials, because the sessions are in DynamoDB.
    #[must_use]
    pub fn are_in_table(&self) -> bool {
        self.table.is_some()
    }

    /// Ends every session that was opened under a lower credential version than this one. Deletes the debt. Does nothing if the sessions
    /// are in PostgreSQL, where the version in `users` has ended them.
    ///
    /// # Errors
    /// If a store fails. The debt stays, and `sweep` tries again.
    pub async fn settle(&self, user: UserId, version: i32) -> Result<(), DbError> {
        let Some(table) = &self.table else { return Ok(()) };
        table.raise_minimum_version(user, version).await?;
        session_endings::settle(&self.database, user, version).await
    }

    /// Ends every session of a user, the request's own included.
    ///
    /// # Errors
    /// If a store fails. Then the caller does not know whether the version was increased. If it was, `sweep` ends the sessions in DynamoDB.
    pub async fn end_all(&self, user: &User) -> Result<(), ApiError> {
        if let Some(version) = users::end_all_sessions(&self.database, user).await? {
            self.settle(user.id, version).await?;
        }
        audit::record(Event::AllSessionsEnded, Some(user.id));
        Ok(())
    }

    /// The first user after this one whose sessions must still end, and the version for [`Self::settle`]. `None` if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn next_owed(&self, after: UserId) -> Result<Option<(UserId, i32)>, DbError> {
        if self.are_in_table() { session_endings::next(&self.database, after).await } else { Ok(None) }
    }

    /// The number of users whose sessions must still end.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count_owed(&self) -> Result<i64, DbError> {
        if self.are_in_table() { session_endings::count(&self.database).await } else { Ok(0) }
    }

    /// Deletes old debts if the sessions are in PostgreSQL, where the credential version has already ended them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_old(&self) -> Result<(), DbError> {
        if self.are_in_table() { Ok(()) } else { session_endings::delete_old(&self.database).await }
    }
}

/// Deletes the debt of a user whose sessions of lower versions have ended in DynamoDB. The change is done, so a failure must not lose the answer: it is
/// logged, and `sweep` deletes the debt.
pub(super) async fn record_settled(database: &Database, user: UserId, version: i32) {
    if let Err(problem) = session_endings::settle(database, user, version).await {
        warn!(user_id = user.0, %problem, "sessions were ended in DynamoDB, but this was not recorded in PostgreSQL");
    }
}
