//! Counters of attempts. Each counter expires by itself.
//!
//! There are two stores behind one trait. **PostgreSQL** counts an attempt in the statement that reads the account. If `STATE_TABLE`
//! names a table, attempts are counted in **DynamoDB**, where sessions are then, too.
//!
//! Two numbers are not counted here, because a request that must be sent anyway can count them: the refreshes of a session, in its row or item, and the
//! reset mails of an account, in PostgreSQL.

mod dynamodb;
mod postgres;

use async_trait::async_trait;

use self::dynamodb::DynamoDbCounters;
use crate::{
    db::{
        Database,
        throttle::{CountedSignIn, NotCounted},
    },
    domain::{EmailLookup, Source, UnixMillis},
    environment::{ConfigError, Environment},
    security::Attempt,
    state_table::StateTable,
};

/// Counts attempts. An attempt is counted before the request is processed, so fifty attempts at the same time count as fifty. A refused attempt is
/// not counted. A sign-in may be counted in two steps, which [`Self::count_sign_in`] and [`Self::count_failure`] take.
///
/// `now` is the time of the function's clock. Only the counters in DynamoDB use it. PostgreSQL uses its own clock.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Counts an attempt of a source, or refuses it.
    async fn count(&self, attempt: Attempt, source: &Source, now: UnixMillis) -> Result<(), NotCounted>;

    /// Finds the account of an address, whatever the case of its letters. Counts an attempt to sign in to it, or refuses the attempt. An attempt with
    /// an address that has no account is counted in the same way.
    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        now: UnixMillis,
    ) -> Result<CountedSignIn, NotCounted>;

    /// Completes the counting of an attempt to sign in with a wrong password. Refuses the attempt if there were too many failures in the meantime: then
    /// the answer must not say that the password was wrong.
    async fn count_failure(&self, counted: &CountedSignIn, source: &Source, now: UnixMillis) -> Result<(), NotCounted>;

    /// Whether the counters are in PostgreSQL. Then [`crate::sessions::Sessions::open`] can undo the counting of a sign-in in the statement that
    /// opens the session.
    fn are_in_database(&self) -> bool;

    /// Undoes the counting of an attempt to sign in with the right password. Refuses the attempt if there were too many failures in the meantime: then
    /// the answer must not say that the password was right.
    async fn forgive_sign_in(
        &self,
        counted: &CountedSignIn,
        source: &Source,
        now: UnixMillis,
    ) -> Result<(), NotCounted>;
}

/// Reads `STATE_TABLE`, and `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`. The counters are in that table if there is one, else in the
/// database.
///
/// # Errors
/// If the endpoint is malformed.
pub async fn from_env(env: &Environment, database: &Database) -> Result<Box<dyn Counters>, ConfigError> {
    Ok(match StateTable::from_env(env).await? {
        Some(table) => Box::new(DynamoDbCounters::new(table, database.clone())),
        None => Box::new(database.clone()),
    })
}
