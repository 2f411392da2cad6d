//! Recording in the sessions that an address is verified.

use super::{Sessions, Store};
use crate::{
    audit::{self, Event},
    db::{
        Database,
        email_verifications::{self, TriedCode},
    },
    domain::{Session, TokenId, User, UserId},
    error::ApiError,
    http::Request,
    security::{
        EmailCodeHash, LinkToken,
        token::{Freshness, TokenReply},
    },
};

impl Sessions {
    /// Tries a code in the session of the request. The right code verifies the address of the session's user. Returns a new access token and the
    /// current refresh token. The session's `auth_time` stays as it is, because a code proves the mailbox and not the password.
    ///
    /// # Errors
    /// As [`Self::presented`]. [`ApiError::InvalidCode`] if the code is wrong, used, void or expired. If DynamoDB fails, the address is verified,
    /// but the sessions do not show it until [`Self::tell_verified`] has recorded it.
    pub async fn verify_email(
        &self,
        request: &Request,
        database: &Database,
        code: &EmailCodeHash,
    ) -> Result<TokenReply, ApiError> {
        let presented = self.presented(request).await?;
        let (user, id) = (presented.user_id, presented.session_id);
        let mut rng = request.rng();
        let mark = LinkToken::random(&mut rng).hash();
        let tried = email_verifications::verify_by_code(database, presented, code, &mark).await?;
        let tried = self.or_refuse(database, user, tried).await?;
        let TriedCode::Right { version, session } = tried else {
            audit::record(Event::VerificationFailed, Some(user));
            return Err(ApiError::InvalidCode);
        };
        audit::record(Event::EmailVerified, Some(user));
        let session = match &self.store {
            Store::PostgreSql(_) => session,
            Store::DynamoDb(table) => {
                self.set_verified(user, version).await?;
                table.current(user, id, request.arrived_at()).await?
            }
        };
        // The statement has read the session as it was before the address was verified.
        let session = Session { email_verified: true, ..session.ok_or(ApiError::TokenRevoked)? };
        Ok(self.tokens.mint(&session, TokenId::random(&mut rng), Freshness::Refreshed)?)
    }

    /// Records for all sessions of an account that its address is verified. Sessions in PostgreSQL need no record, because their statements read
    /// `users`.
    ///
    /// # Errors
    /// If DynamoDB fails.
    pub async fn tell_verified(&self, user: &User) -> Result<(), ApiError> {
        self.set_verified(user.id, user.credential_version).await
    }

    async fn set_verified(&self, user: UserId, version: i32) -> Result<(), ApiError> {
        match &self.store {
            Store::PostgreSql(_) => Ok(()),
            Store::DynamoDb(table) => Ok(table.set_verified(user, version).await?),
        }
    }
}
