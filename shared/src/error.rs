//! The one table of refusals: status, code and message of everything an endpoint can answer but success.

use std::error::Error;

use lambda_http::http::StatusCode;
use thiserror::Error;

use crate::{
    db::{DbError, throttle::NotCounted},
    domain::Rule,
    security::{TokenError, password_hash::HashingFailed, throttle::TooMany},
};

/// Why a request is refused. The client sees status, code and message; a cause is for the log alone (the runtime writes it).
#[derive(Debug, Error)]
pub enum ApiError {
    /// The endpoint takes a body and the request does not say it is JSON.
    #[error("Content-Type must be application/json")]
    UnsupportedMediaType,
    /// A header that no HTTP request can have (RFC 9110 §5). API Gateway passes none on.
    #[error("Invalid headers")]
    InvalidHeaders,
    /// The body is not exactly one JSON object.
    #[error("Invalid JSON payload")]
    InvalidJson,
    /// The body is longer than any endpoint needs.
    #[error("Request body too large")]
    PayloadTooLarge,
    /// Sign-up without a name, an address or a password.
    #[error("Missing required fields")]
    MissingRequiredFields,
    /// Sign-up with an address that has an account.
    #[error("User already exists")]
    UserAlreadyExists,
    /// A name, address or password that breaks a rule where it is set.
    #[error("{0}")]
    Rule(Rule),
    /// Sign-in without an address or a password.
    #[error("Missing email or password")]
    MissingEmailOrPassword,
    /// Wrong password or no such account, told apart by nobody.
    #[error("Invalid credentials")]
    InvalidCredentials,
    /// Forgot-password without an address.
    #[error("Email is required")]
    EmailRequired,
    /// Reset-password without a password.
    #[error("New password is required")]
    NewPasswordRequired,
    /// A reset token that is unknown, used, superseded or expired.
    #[error("Invalid or expired token")]
    InvalidOrExpiredToken,
    /// A bearer endpoint without credentials.
    #[error("Missing Authorization Header")]
    MissingAuthorization,
    /// A bearer endpoint with credentials of another kind.
    #[error("Invalid token")]
    NoBearerToken,
    /// A genuine access token past its time.
    #[error("Token has expired")]
    TokenExpired,
    /// A genuine access token whose session has ended.
    #[error("Token has been revoked")]
    TokenRevoked,
    /// Anything else presented as a token.
    #[error("Invalid token")]
    InvalidToken,
    /// A genuine refresh token that no longer serves.
    #[error("Invalid or expired refresh token")]
    InvalidRefreshToken,
    /// The user of a genuine access token is gone.
    #[error("User not found")]
    UserNotFound,
    /// More attempts than are let through.
    #[error("Too many attempts. Try again later.")]
    TooManyAttempts(TooMany),
    /// Something this function depends on is away. Worth trying again.
    #[error("Service temporarily unavailable")]
    ServiceUnavailable(#[source] Box<dyn Error + Send + Sync>),
    /// A defect of ours.
    #[error("Internal server error")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl ApiError {
    /// The HTTP status, and the stable name a program may rely on.
    #[must_use]
    pub fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::InvalidHeaders => (StatusCode::BAD_REQUEST, "invalid_headers"),
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "invalid_json"),
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Self::MissingRequiredFields => (StatusCode::BAD_REQUEST, "missing_required_fields"),
            Self::UserAlreadyExists => (StatusCode::BAD_REQUEST, "user_already_exists"),
            Self::Rule(rule) => (StatusCode::BAD_REQUEST, rule.code()),
            Self::MissingEmailOrPassword => (StatusCode::BAD_REQUEST, "missing_email_or_password"),
            Self::InvalidCredentials => (StatusCode::UNAUTHORIZED, "invalid_credentials"),
            Self::EmailRequired => (StatusCode::BAD_REQUEST, "email_required"),
            Self::NewPasswordRequired => (StatusCode::BAD_REQUEST, "new_password_required"),
            Self::InvalidOrExpiredToken => (StatusCode::BAD_REQUEST, "invalid_or_expired_token"),
            Self::MissingAuthorization => (StatusCode::UNAUTHORIZED, "missing_authorization"),
            Self::TokenExpired => (StatusCode::UNAUTHORIZED, "token_expired"),
            Self::TokenRevoked => (StatusCode::UNAUTHORIZED, "token_revoked"),
            Self::NoBearerToken | Self::InvalidToken => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Self::InvalidRefreshToken => (StatusCode::UNAUTHORIZED, "invalid_refresh_token"),
            Self::UserNotFound => (StatusCode::NOT_FOUND, "user_not_found"),
            Self::TooManyAttempts(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::ServiceUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        }
    }

    /// The `WWW-Authenticate` challenge of a 401 at a bearer endpoint (RFC 6750 §3): it names an error only where a token
    /// was sent. `None` for everything else, a failed sign-in included, which is no bearer endpoint.
    #[must_use]
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::MissingAuthorization | Self::NoBearerToken => Some("Bearer"),
            Self::TokenExpired | Self::TokenRevoked | Self::InvalidToken | Self::InvalidRefreshToken => {
                Some(r#"Bearer error="invalid_token""#)
            }
            _ => None,
        }
    }

    /// Seconds after which it is worth trying again, where time is what is wanting.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyAttempts(TooMany { retry_after, .. }) => Some(*retry_after),
            // The time a database takes to restart.
            Self::ServiceUnavailable(_) => Some(5),
            _ => None,
        }
    }
}

impl ApiError {
    /// What else the person can do, where waiting is not the only way.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::TooManyAttempts(TooMany { reset_helps: true, .. }) => {
                Some("Reset your password to sign in without waiting.")
            }
            _ => None,
        }
    }
}

impl From<TooMany> for ApiError {
    fn from(too_many: TooMany) -> Self {
        Self::TooManyAttempts(too_many)
    }
}

impl From<NotCounted> for ApiError {
    fn from(refusal: NotCounted) -> Self {
        match refusal {
            NotCounted::TooMany(too_many) => too_many.into(),
            NotCounted::Failed(error) => error.into(),
        }
    }
}

impl From<Rule> for ApiError {
    fn from(rule: Rule) -> Self {
        Self::Rule(rule)
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Away(cause) => Self::ServiceUnavailable(cause),
            DbError::Failed(cause) => Self::Internal(cause),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::TokenExpired,
            TokenError::Invalid => Self::InvalidToken,
        }
    }
}

impl From<HashingFailed> for ApiError {
    fn from(error: HashingFailed) -> Self {
        Self::Internal(error.into())
    }
}

impl From<jsonwebtoken::errors::Error> for ApiError {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        Self::Internal(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Requirement 23.
    #[test]
    fn the_cause_of_a_failure_stays_out_of_its_message() {
        for error in [ApiError::Internal("users_pkey".into()), ApiError::ServiceUnavailable("10.0.0.7:5432".into())] {
            assert!(!error.to_string().contains("users_pkey") && !error.to_string().contains("10.0.0.7"));
            assert!(error.source().is_some());
        }
    }

    // Requirement 40.
    #[test]
    fn a_challenge_names_an_error_only_where_a_token_was_sent() {
        assert_eq!(ApiError::MissingAuthorization.challenge(), Some("Bearer"));
        assert_eq!(ApiError::TokenExpired.challenge(), Some(r#"Bearer error="invalid_token""#));
        assert_eq!(ApiError::InvalidCredentials.challenge(), None);
        assert_eq!(ApiError::UserNotFound.challenge(), None);
    }
}
