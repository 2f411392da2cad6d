//! What is hot and expires by itself: how often something was attempted lately, and which sessions have ended.
//!
//! Two small traits, and two stores behind each. **PostgreSQL** keeps both in the rows it has anyway: an attempt is counted by
//! the statement that reads its account, and a session that has ended is a row that says so. **DynamoDB**, where `STATE_TABLE` names a
//! table, takes the counting off the database, and tells the authorizer what has ended without one. PostgreSQL stays the truth
//! about sessions in either case; the table denies what it has been told of.
//!
//! What is counted by a statement that must run anyway stays in PostgreSQL: refreshes of a session, reset mails to an account.

mod dynamodb;
mod postgres;

use async_trait::async_trait;

pub use self::dynamodb::Table;
use crate::{
    db::{Database, DbError, users::Account},
    domain::{EmailLookup, SessionId, UnixTime, UserId},
    security::{
        Source,
        throttle::{Attempt, TooMany},
        token::Verified,
    },
};

/// How often something was attempted lately. An attempt is counted before the work it pays for, and so that fifty at once are fifty. What
/// is not let through is not counted. `now` is the function's clock; PostgreSQL uses its own instead.
#[async_trait]
pub trait Throttle: Send + Sync {
    /// Counts an attempt from a source, or says when the next one may be.
    async fn count(&self, attempt: Attempt, source: &Source, now: UnixTime) -> Result<Result<(), TooMany>, DbError>;

    /// The account of an address, in whatever case it is written, for an attempt to sign in that is counted three times: for
    /// account and source together, for the source, and for the account. An address without an account counts alike.
    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        now: UnixTime,
    ) -> Result<Result<Option<Account>, TooMany>, DbError>;

    /// Takes back what an attempt counted that turned out to be no failure. To be called once its session is open.
    async fn forgive_sign_in(&self, account: &Account, source: &Source) -> Result<(), DbError>;
}

/// Which sessions have ended. Each session is to be denied here before its row is changed, so that whatever fails in between leaves
/// nothing open that the caller was told is closed, and a retry completes it.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Denies a session.
    async fn deny_session(&self, session: SessionId, now: UnixTime) -> Result<(), DbError>;

    /// Denies every session of a user that was opened before the credentials got this version.
    async fn deny_sessions_before(&self, user: UserId, version: i32, now: UnixTime) -> Result<(), DbError>;

    /// Tells of a session that was opened under the account's current credentials, before anybody gets its tokens.
    async fn session_opened(&self, session: SessionId, account: &Account, now: UnixTime) -> Result<(), DbError>;

    /// Whether the session of a verified token lives.
    async fn is_live(&self, token: Verified, now: UnixTime) -> Result<bool, DbError>;
}

/// The counters: in the table if there is one, else in the database.
#[must_use]
pub fn throttle(table: Option<&Table>, database: &Database) -> Box<dyn Throttle> {
    match table {
        Some(table) => Box::new(dynamodb::Counters::new(table.clone(), database.clone())),
        None => Box::new(database.clone()),
    }
}

/// What has ended: in the table if there is one, else in the database.
#[must_use]
pub fn revocations(table: Option<&Table>, database: &Database) -> Box<dyn Revocations> {
    match table {
        Some(table) => Box::new(table.clone()),
        None => Box::new(database.clone()),
    }
}
