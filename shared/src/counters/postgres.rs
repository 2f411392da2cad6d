//! Counters in PostgreSQL.

use async_trait::async_trait;

use super::{Counted, Counters};
use crate::{
    db::{
        Database, DbError,
        throttle::{self, CountedSignIn, NotCounted},
    },
    domain::{EmailLookup, SignInCounters, Source, UnixMillis, VerifiedToken},
    security::Attempt,
};

#[async_trait]
impl Counters for Database {
    async fn count(&self, attempt: Attempt, source: &Source, _: UnixMillis) -> Result<(), NotCounted> {
        throttle::count(self, attempt, source).await
    }

    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        _: UnixMillis,
    ) -> Result<CountedSignIn, NotCounted> {
        throttle::count_sign_in(self, email, source).await
    }

    /// Does nothing, because `count_sign_in` has counted the attempt completely.
    async fn complete_sign_in_count(
        &self,
        counted: &CountedSignIn,
        _: &Source,
        _: UnixMillis,
    ) -> Result<SignInCounters, NotCounted> {
        Ok(counted.counters)
    }

    async fn begin_proof(
        &self,
        token: VerifiedToken,
        source: &Source,
        also: Option<Counted>,
    ) -> Result<Option<CountedSignIn>, NotCounted> {
        throttle::count_proof(self, token, source, also).await
    }

    /// Does nothing, because `begin_proof` has counted the attempt completely.
    async fn count_proof(
        &self,
        _: &CountedSignIn,
        _: &Source,
        _: Option<Counted>,
        _: UnixMillis,
    ) -> Result<(), NotCounted> {
        Ok(())
    }

    fn are_in_database(&self) -> bool {
        true
    }

    async fn forgive_sign_in(&self, counters: &SignInCounters) -> Result<(), DbError> {
        throttle::forgive(self, counters).await
    }
}
