//! Counters of attempts. Each counter expires by itself.
//!
//! There are two stores behind one trait. **PostgreSQL** counts an attempt in the statement that reads the account. If `STATE_TABLE`
//! names a table, attempts are counted in that **DynamoDB** table, which then also contains the sessions.
//!
//! Other attempts are counted elsewhere, by a write that is necessary anyway: refreshes, in the row or item of the session; and mails, second factors
//! and the codes of mails, always in PostgreSQL.

mod dynamodb;
mod postgres;

use async_trait::async_trait;
use tracing::error;

use self::dynamodb::DynamoDbCounters;
use crate::{
    db::{
        Database, DbError,
        throttle::{NotCounted, SignInAccount},
    },
    domain::{SignInCounters, Source, UnixMillis, UserId},
    environment::{ConfigError, Environment},
    security::{Attempt, PasswordLink, ProofAttempt, SignInAttempt},
    state_table::StateTable,
};

/// Counts attempts. An attempt is counted before the request is processed, so fifty attempts at the same time count as fifty. A refused attempt is
/// not counted. An attempt to sign in is counted by [`Self::count_sign_in`] or [`Self::count_link`], and by
/// [`Self::complete_sign_in_count`]. In DynamoDB, if
/// `complete_sign_in_count` refuses an attempt, what was already counted stays counted.
///
/// `now` is the time of the function's clock. Only the counters in DynamoDB use it. PostgreSQL uses its own clock.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Counts an attempt of a source, or refuses it.
    async fn count(&self, attempt: Attempt, source: &Source, now: UnixMillis) -> Result<(), NotCounted>;

    /// Finds the account of an address, whatever the case of its letters. Counts an attempt to sign in to it, or refuses the attempt. An attempt with
    /// an address that has no account is counted in the same way.
    async fn count_sign_in(&self, attempt: SignInAttempt<'_>, now: UnixMillis) -> Result<SignInAccount, NotCounted>;

    /// Finds the account of a link, and counts an attempt to prove its password as an attempt to sign in, or refuses the attempt. `None` if the link
    /// is not valid. Then nothing is counted.
    async fn count_link(
        &self,
        link: PasswordLink<'_>,
        source: &Source,
        now: UnixMillis,
    ) -> Result<Option<SignInAccount>, NotCounted>;

    /// Completes the counting of an attempt to sign in, whatever its password, or refuses the attempt. May run while the password is verified.
    /// Returns the counters for [`Self::record_success`].
    async fn complete_sign_in_count(
        &self,
        counted: &SignInAccount,
        source: &Source,
        now: UnixMillis,
    ) -> Result<SignInCounters, NotCounted>;

    /// Finds the account of a session's user, and the counters of its attempts to prove the password. If the counters are in PostgreSQL, it also
    /// counts the attempt, or refuses it. [`Self::count_proof`] must follow, then [`Self::complete_sign_in_count`]. `None` if the user does not exist
    /// any more or has deleted the account or, if the counters are in PostgreSQL, if the session is not live. Then nothing is counted.
    async fn begin_proof(&self, attempt: ProofAttempt, source: &Source) -> Result<Option<SignInAccount>, NotCounted>;

    /// If the counters are in DynamoDB, counts an attempt of a signed-in user to prove the password, as an attempt to sign in and as one of its
    /// session, or refuses it. The limit of the account from all sources does not apply, so nobody at another source can stop a signed-in user. An
    /// attempt to set a password is also refused if the account has too many new passwords.
    async fn count_proof(
        &self,
        counted: &SignInAccount,
        attempt: ProofAttempt,
        source: &Source,
        now: UnixMillis,
    ) -> Result<(), NotCounted>;

    /// Counts a new password of the account, or refuses it. If the counters are in PostgreSQL, the statement that sets the password counts it.
    async fn count_new_password(&self, attempt: ProofAttempt, now: UnixMillis) -> Result<(), NotCounted>;

    /// Whether the counters are in PostgreSQL. Then [`crate::sessions::Sessions::open`] can undo the counting of a sign-in in the statement that
    /// opens the session.
    fn are_in_database(&self) -> bool;

    /// Undoes the counting of an attempt to sign in that succeeded, and clears the earlier failures of the account.
    async fn record_success(&self, counters: &SignInCounters) -> Result<(), DbError>;

    /// Undoes the counting of an attempt to sign in with the right password that needs a second factor. Earlier failures stay counted.
    async fn uncount_sign_in(&self, counters: &SignInCounters) -> Result<(), DbError>;

    /// Clears the earlier failures of the account after the second factor, which follows [`Self::uncount_sign_in`].
    async fn clear_failures(&self, counters: &SignInCounters) -> Result<(), DbError>;
}

/// Logs if the counters could not be cleared after a success. The session is open or renewed, so the client must get its tokens. The attempt and
/// the failures before it stay counted. So if this lasts, for example because a permission is missing, right passwords lock the user out.
pub fn log_uncleared(user: UserId, cleared: Result<(), DbError>) {
    if let Err(problem) = cleared {
        error!(user_id = user.0, %problem, "the counters of failed sign-ins could not be cleared after a success");
    }
}

/// Reads `STATE_TABLE`, and `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`. The counters are in that table if there is one, else in the
/// database.
///
/// # Errors
/// If the endpoint is malformed.
pub fn from_env(env: &Environment, database: &Database) -> Result<Box<dyn Counters>, ConfigError> {
    Ok(match StateTable::from_env(env)? {
        Some(table) => Box::new(DynamoDbCounters::new(table, database.clone())),
        None => Box::new(database.clone()),
    })
}
