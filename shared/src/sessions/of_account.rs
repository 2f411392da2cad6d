//! What a user does with the sessions of the account: list them, and end one or all others.

use super::{Authenticated, Sessions, Store};
use crate::{
    audit::{self, Event},
    db::sessions,
    domain::{Ended, ListedSession, SessionId, TokenId, UserId, VerifiedToken},
    error::ApiError,
    http::Request,
};

impl Sessions {
    /// The session of the request, and all live sessions of its user. The one that was used last comes first.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn list(&self, request: &Request) -> Result<(SessionId, Vec<ListedSession>), ApiError> {
        let VerifiedToken { user_id, session_id, .. } = self.verify(request)?;
        self.refuse_unverified(request).await?;
        let listed = match &self.store {
            Store::PostgreSql(database) => sessions::list(database, user_id).await?,
            Store::DynamoDb(table) => table.list(user_id, request.arrived_at()).await?,
        };
        // The list contains every live session, so the request needs no other check.
        if !listed.iter().any(|session| session.id == session_id) {
            self.authenticate(request).await?;
            return Err(ApiError::TokenRevoked);
        }
        Ok((session_id, listed))
    }

    /// Ends a session of the user of an authenticated request.
    ///
    /// # Errors
    /// [`ApiError::SessionNotFound`] if the user has no such live session.
    pub async fn end_one(&self, request: &Request, user: UserId, session: SessionId) -> Result<(), ApiError> {
        match self.end_session(request, user, session).await? {
            Ended::Now => {
                audit::record(Event::SessionEnded, Some(user));
                Ok(())
            }
            Ended::Before | Ended::UserGone => Err(ApiError::SessionNotFound),
        }
    }

    /// Ends the live sessions of the user except the one of the authenticated request, and returns their number.
    ///
    /// # Errors
    /// [`ApiError::TokenRevoked`] if the session of the request has ended. If the store fails, some sessions may have ended.
    pub async fn end_others(&self, request: &Request, caller: Authenticated) -> Result<i64, ApiError> {
        let (user, kept) = (caller.user_id, caller.session_id);
        let ended = match &self.store {
            Store::PostgreSql(database) => {
                sessions::end_others(database, user, kept, TokenId::random(&mut request.rng())).await?
            }
            Store::DynamoDb(table) => table.end_others(user, kept, request.arrived_at()).await?,
        };
        let ended = ended.ok_or(ApiError::TokenRevoked)?;
        audit::record(Event::OtherSessionsEnded, Some(user));
        Ok(ended)
    }
}
