//! Second factors in sessions: a session that has shown one again, a new authenticator, and the removal of one.

use tracing::warn;

use super::{Authenticated, Sessions, Store};
use crate::{
    audit::{self, Event},
    db::{
        Database, DbError,
        factors::{
            recovery_codes,
            totp::{self, Confirmation},
        },
    },
    domain::{FactorChangeId, MailId, Methods, PresentedSession, Source, User, UserId},
    error::ApiError,
    http::Request,
    security::token::TokenReply,
};

impl Sessions {
    /// Records that the user of the request's session has shown a second factor, and returns a new access token and the current refresh token.
    ///
    /// # Errors
    /// [`ApiError::TokenRevoked`] if the session has ended.
    pub async fn renew_with_factor(
        &self,
        request: &Request,
        session: PresentedSession,
        user: &User,
    ) -> Result<TokenReply, ApiError> {
        self.renew_with(request, session, user, Methods::ONE_TIME_CODE, None).await
    }

    /// Makes an enrolment a factor, and ends all sessions of the user. Opens a session that inherits the `auth_time` of the presented one, and returns its
    /// tokens. `user` is the account, as it was when the enrolment was read.
    ///
    /// # Errors
    /// [`ApiError::TokenRevoked`] if the presented session has ended, or if the enrolment was replaced or confirmed in the meantime. If DynamoDB fails, the
    /// authenticator is a factor without recovery codes, and the user signs in with it.
    pub async fn confirm_totp(
        &self,
        request: &Request,
        database: &Database,
        confirmation: Confirmation<'_>,
        user: &User,
    ) -> Result<TokenReply, ApiError> {
        let (presented, source) = (confirmation.session, request.source());
        let replacement = self.replacement(request, &source);
        let confirmed = totp::confirm(database, confirmation, replacement).await?.ok_or(ApiError::TokenRevoked)?;
        audit::record(Event::TotpAdded, Some(user.id));
        if let Some(session) = confirmed.session {
            return self.mint_fresh(request, &session);
        }
        let user = User { credential_version: confirmed.version, ..user.clone() };
        let replaced = self.replace_in_table(request, database, presented, &user, Methods::ONE_TIME_CODE).await;
        // The user will never see the recovery codes, so they must not count as codes that the user has.
        if replaced.is_err()
            && let Err(problem) = recovery_codes::delete(database, user.id).await
        {
            warn!(user_id = user.id.0, %problem, "an account has recovery codes that its user has not seen");
        }
        replaced
    }

    /// Removes the authenticator of the user of an authenticated request, and ends the user's other sessions. Sessions in DynamoDB end first. So if a store
    /// fails, the authenticator may still be there, and the user can repeat the request.
    ///
    /// # Errors
    /// [`ApiError::TotpNotFound`] if the account has no authenticator. [`ApiError::TokenRevoked`] if the session of the request has ended.
    pub async fn remove_totp(
        &self,
        request: &Request,
        database: &Database,
        caller: Authenticated,
    ) -> Result<(), ApiError> {
        let mut rng = request.rng();
        let (change, notice) = (FactorChangeId::random(&mut rng), MailId::random(&mut rng));
        if let Store::DynamoDb(table) = &self.store {
            let ended = table.end_others(caller.user_id, caller.session_id, request.arrived_at()).await?;
            ended.ok_or(ApiError::TokenRevoked)?;
        }
        let is_removed = totp::remove(database, caller.presented(), change, notice).await?;
        if !is_removed.ok_or(ApiError::TokenRevoked)? {
            return Err(ApiError::TotpNotFound);
        }
        audit::record(Event::TotpRemoved, Some(caller.user_id));
        Ok(())
    }

    /// Whether a user has a live session in DynamoDB that was opened from this source. `None` if sessions are in PostgreSQL.
    pub(crate) async fn is_signed_in_from(
        &self,
        user: UserId,
        source: &Source,
        request: &Request,
    ) -> Result<Option<bool>, DbError> {
        match &self.store {
            Store::PostgreSql(_) => Ok(None),
            Store::DynamoDb(table) => {
                table.is_signed_in_from(user, source.as_str(), request.arrived_at()).await.map(Some)
            }
        }
    }
}
