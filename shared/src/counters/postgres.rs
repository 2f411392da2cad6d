//! Counters in PostgreSQL.

use async_trait::async_trait;

use super::Counters;
use crate::{
    db::{
        Database, DbError,
        throttle::{self, NotCounted, SignInAccount},
    },
    domain::{SignInCounters, Source, UnixMillis},
    security::{Attempt, PasswordLink, ProofAttempt, SignInAttempt},
};

#[async_trait]
impl Counters for Database {
    async fn count(&self, attempt: Attempt, source: &Source, _: UnixMillis) -> Result<(), NotCounted> {
        throttle::count(self, attempt, source).await
    }

    async fn count_sign_in(&self, attempt: SignInAttempt<'_>, _: UnixMillis) -> Result<SignInAccount, NotCounted> {
        throttle::count_sign_in(self, attempt).await
    }

    async fn count_link(
        &self,
        link: PasswordLink<'_>,
        source: &Source,
        _: UnixMillis,
    ) -> Result<Option<SignInAccount>, NotCounted> {
        throttle::count_link(self, link, source).await
    }

    /// Does nothing, because `count_sign_in` has counted the attempt completely.
    async fn complete_sign_in_count(
        &self,
        counted: &SignInAccount,
        _: &Source,
        _: UnixMillis,
    ) -> Result<SignInCounters, NotCounted> {
        Ok(counted.counters)
    }

    async fn begin_proof(&self, attempt: ProofAttempt, source: &Source) -> Result<Option<SignInAccount>, NotCounted> {
        throttle::count_proof(self, attempt, source).await
    }

    /// Does nothing, because `begin_proof` has counted the attempt completely.
    async fn count_proof(
        &self,
        _: &SignInAccount,
        _: ProofAttempt,
        _: &Source,
        _: UnixMillis,
    ) -> Result<(), NotCounted> {
        Ok(())
    }

    async fn count_new_password(&self, _: ProofAttempt, _: UnixMillis) -> Result<(), NotCounted> {
        Ok(())
    }

    fn are_in_database(&self) -> bool {
        true
    }

    async fn record_success(&self, counters: &SignInCounters) -> Result<(), DbError> {
        throttle::record_success(self, counters).await
    }

    async fn uncount_sign_in(&self, counters: &SignInCounters) -> Result<(), DbError> {
        throttle::uncount(self, counters).await
    }

    async fn clear_failures(&self, counters: &SignInCounters) -> Result<(), DbError> {
        throttle::clear_failures(self, counters).await
    }
}
