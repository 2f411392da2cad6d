//! Counters of attempts: who has tried something how often lately. Each counter expires by itself.
//!
//! One trait, and two stores behind it. **PostgreSQL** counts an attempt in the statement that reads its account. **DynamoDB**, where
//! `STATE_TABLE` names a table, takes these writes off the database. PostgreSQL keeps the sessions in either case.
//!
//! Two counts stay in PostgreSQL, because a statement that must run anyway makes them: the refreshes of a session, and the reset mails
//! of an account.

mod dynamodb;
mod postgres;

use async_trait::async_trait;

pub use self::dynamodb::Table;
use crate::{
    db::{
        Database, DbError,
        throttle::{CountedSignIn, NotCounted},
    },
    domain::{EmailLookup, UnixTime},
    security::{
        Source,
        throttle::{Attempt, SignInCounters},
    },
};

/// Counts attempts. An attempt is counted before the work it pays for, so fifty at once are fifty. An attempt that is refused when it begins
/// is not counted.
///
/// `now` is the function's clock. PostgreSQL uses its own clock instead.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Counts an attempt of a source, or refuses it.
    async fn count(&self, attempt: Attempt, source: &Source, now: UnixTime) -> Result<(), NotCounted>;

    /// Finds the account of an address, in whatever case it is written, and counts an attempt to sign in to it: for the account and
    /// the source together, for the source, and for the account. An address without an account is counted in the same way.
    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        now: UnixTime,
    ) -> Result<CountedSignIn, NotCounted>;

    /// Takes back what a successful attempt counted. To be called once its session is open.
    async fn forgive_sign_in(&self, counted: &SignInCounters) -> Result<(), DbError>;
}

/// The counters: in the table if there is one, else in the database.
#[must_use]
pub fn counters(table: Option<Table>, database: &Database) -> Box<dyn Counters> {
    match table {
        Some(table) => Box::new(dynamodb::TableCounters::new(table, database.clone())),
        None => Box::new(database.clone()),
    }
}
