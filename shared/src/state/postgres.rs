//! PostgreSQL as the store of both: its rows are the state, so there is nothing to write beside them.

use async_trait::async_trait;

use super::{Revocations, Throttle};
use crate::{
    db::{
        Database, DbError, throttle,
        users::{self, Account, Bearer},
    },
    domain::{EmailLookup, SessionId, UnixTime, UserId},
    security::{
        Source,
        throttle::{Attempt, TooMany},
        token::Verified,
    },
};

#[async_trait]
impl Throttle for Database {
    async fn count(&self, attempt: Attempt, source: &Source, _: UnixTime) -> Result<Result<(), TooMany>, DbError> {
        throttle::count(self, attempt, source).await
    }

    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        _: UnixTime,
    ) -> Result<Result<Option<Account>, TooMany>, DbError> {
        throttle::sign_in(self, email, source).await
    }

    /// The statement that opened the session has done it.
    async fn forgive_sign_in(&self, _: &Account, _: &Source) -> Result<(), DbError> {
        Ok(())
    }
}

#[async_trait]
impl Revocations for Database {
    async fn deny_session(&self, _: SessionId, _: UnixTime) -> Result<(), DbError> {
        Ok(())
    }

    async fn deny_sessions_before(&self, _: UserId, _: i32, _: UnixTime) -> Result<(), DbError> {
        Ok(())
    }

    async fn session_opened(&self, _: SessionId, _: &Account, _: UnixTime) -> Result<(), DbError> {
        Ok(())
    }

    async fn is_live(&self, token: Verified, _: UnixTime) -> Result<bool, DbError> {
        Ok(matches!(users::find_bearer(self, token.user_id, token.session_id).await?, Bearer::Live(_)))
    }
}
