//! Counters in PostgreSQL.

use async_trait::async_trait;

use super::Counters;
use crate::{
    db::{
        Database, DbError,
        throttle::{self, CountedSignIn, NotCounted},
    },
    domain::{EmailLookup, UnixTime},
    security::{
        Source,
        throttle::{Attempt, SignInCounters},
    },
};

#[async_trait]
impl Counters for Database {
    async fn count(&self, attempt: Attempt, source: &Source, _: UnixTime) -> Result<(), NotCounted> {
        throttle::count(self, attempt, source).await
    }

    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        _: UnixTime,
    ) -> Result<CountedSignIn, NotCounted> {
        throttle::sign_in(self, email, source).await
    }

    /// The statement that opens the session does it.
    async fn forgive_sign_in(&self, _: &SignInCounters) -> Result<(), DbError> {
        Ok(())
    }
}
