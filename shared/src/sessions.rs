//! Sessions: opening, authenticating, refreshing, listing and ending them.
//!
//! A session is a row in PostgreSQL, and every token of the session names it. A token is valid only while its session is live, so ending a session
//! takes effect at once. Every endpoint that opens a session or authenticates a request does so with this module.

use std::time::Duration;

use crate::{
    audit::{self, Event},
    db::{
        Database,
        sessions::{self, Ended, ListedSession, NewSession, Refreshed},
        users::{self, SessionOwner},
    },
    domain::{SessionId, SignInCounters, TokenId, User},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::Request,
    security::{
        TokenError, TokenSettings, Tokens, policy,
        token::{Freshness, TokenReply},
    },
};

/// The sessions of all users.
pub struct Sessions {
    database: Database,
    tokens: Tokens,
    lifetime: Duration,
    refresh_grace: Duration,
}

/// The user and the session of a request. [`Sessions::authenticate`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// The user.
    pub user: User,
    /// The live session of the access token.
    pub session_id: SessionId,
    /// The `jti` of the access token.
    pub token_id: TokenId,
}

impl Sessions {
    /// Reads the settings of tokens ([`TokenSettings::from_env`]), `JWT_REFRESH_TOKEN_EXPIRES` and `REFRESH_GRACE`.
    ///
    /// # Errors
    /// If the secret is missing, or a value is malformed.
    pub fn from_env(env: &Environment, database: Database) -> Result<Self, ConfigError> {
        Ok(Self {
            database,
            tokens: Tokens::new(&TokenSettings::from_env(env)?),
            lifetime: env.positive_seconds("JWT_REFRESH_TOKEN_EXPIRES", policy::SESSION_LIFETIME)?,
            refresh_grace: env.seconds("REFRESH_GRACE", policy::REFRESH_GRACE)?,
        })
    }

    /// Opens a session for a user who has authenticated with every factor that the account requires, and returns its tokens. With `forgive`, it also
    /// clears these counters in PostgreSQL, in the same statement.
    ///
    /// # Errors
    /// [`ApiError::InvalidCredentials`] if the user's credentials have changed since they were read.
    pub async fn open(
        &self,
        request: &Request,
        user: &User,
        forgive: Option<&SignInCounters>,
    ) -> Result<TokenReply, ApiError> {
        let mut rng = request.rng();
        let new = NewSession {
            id: SessionId::random(&mut rng),
            refresh_id: TokenId::random(&mut rng),
            user,
            source: &request.source(),
            lifetime: self.lifetime,
            forgive,
        };
        let session = sessions::open(&self.database, new).await?.ok_or(ApiError::InvalidCredentials)?;
        audit::record(Event::SignedIn, Some(user.id));
        Ok(self.tokens.mint(&session, TokenId::random(&mut rng), Freshness::Fresh)?)
    }

    /// Returns the user and the session of the request. Verifies the access token, and asks the database whether the session is live.
    ///
    /// # Errors
    /// A refusal with status 401 if there is no valid token or the session has ended. [`ApiError::UserNotFound`] if the user does not exist any
    /// more.
    pub async fn authenticate(&self, request: &Request) -> Result<Authenticated, ApiError> {
        let token = self.tokens.verify_access(request.bearer_token()?, request.now())?;
        match users::find_by_session(&self.database, token).await? {
            SessionOwner::Live(user) => {
                Ok(Authenticated { user, session_id: token.session_id, token_id: token.token_id })
            }
            SessionOwner::SessionEnded => Err(ApiError::TokenRevoked),
            SessionOwner::UserGone => Err(ApiError::UserNotFound),
        }
    }

    /// Exchanges the request's refresh token for its successor and a new access token (RFC 6749 §6, RFC 9700 §4.14.2).
    ///
    /// A client may present the parent of an unused token again within the grace. It then gets the same successor again. Any older token revokes the
    /// session.
    ///
    /// # Errors
    /// A refusal with status 401 if the token is not valid, or 429 if the session is refreshed too often.
    pub async fn refresh(&self, request: &Request) -> Result<TokenReply, ApiError> {
        let verified = self.tokens.verify_refresh(request.bearer_token()?, request.now());
        let token = verified.map_err(|error| match error {
            TokenError::Expired => ApiError::InvalidRefreshToken,
            TokenError::Invalid => ApiError::InvalidToken,
        })?;
        let mut rng = request.rng();
        let successor = TokenId::random(&mut rng);
        let session = match sessions::refresh(&self.database, token, successor, self.refresh_grace).await? {
            Refreshed::Rotated(session) | Refreshed::Repeated(session) => session,
            // The revocation is already committed here, so it stays although the request is refused.
            Refreshed::Reused => {
                audit::record(Event::RefreshReused, Some(token.user_id));
                return Err(ApiError::InvalidRefreshToken);
            }
            Refreshed::TooMany(too_many) => return Err(too_many.into()),
            Refreshed::Gone => return Err(ApiError::InvalidRefreshToken),
        };
        audit::record(Event::Refreshed, Some(token.user_id));
        Ok(self.tokens.mint(&session, TokenId::random(&mut rng), Freshness::Refreshed)?)
    }

    /// The live sessions of a user. The one that was used last comes first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn list(&self, user: &User) -> Result<Vec<ListedSession>, ApiError> {
        Ok(sessions::list(&self.database, user.id).await?)
    }

    /// Ends the session of the request's access token. The token may have expired, because it still names the session.
    ///
    /// # Errors
    /// A refusal with status 401 if there is no valid token or the session has already ended. [`ApiError::UserNotFound`] if the user does not exist
    /// any more.
    pub async fn end(&self, request: &Request) -> Result<(), ApiError> {
        let token = self.tokens.verify_access_of_any_age(request.bearer_token()?, request.now())?;
        match sessions::end(&self.database, token).await? {
            Ended::Now => {
                audit::record(Event::SignedOut, Some(token.user_id));
                Ok(())
            }
            Ended::Before => Err(ApiError::TokenRevoked),
            Ended::UserGone => Err(ApiError::UserNotFound),
        }
    }

    /// Ends every session of a user, the request's own included.
    ///
    /// # Errors
    /// If the database fails. Then either all sessions have ended or none has.
    pub async fn end_all(&self, user: &User) -> Result<(), ApiError> {
        users::end_all_sessions(&self.database, user).await?;
        audit::record(Event::AllSessionsEnded, Some(user.id));
        Ok(())
    }
}
