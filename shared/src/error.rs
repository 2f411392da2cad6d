//! The refusals and failures that an endpoint can answer, in one table: status, code, message and challenge.

use std::{borrow::Cow, error::Error, fmt};

use lambda_http::http::StatusCode;

use crate::{
    db::{DbError, throttle::NotCounted},
    domain::{Rule, TooMany},
    security::{NotDecrypted, TokenError, password_hash::HashingFailed},
};

/// Why a request is not served. The client gets the status, code and message in the table below. The runtime logs the cause of a failure. The client
/// never gets the cause.
#[derive(Debug)]
pub enum ApiError {
    /// The endpoint reads a body, and the request does not declare its body as JSON.
    UnsupportedMediaType,
    /// A header is not a valid HTTP header (RFC 9110 §5). API Gateway does not forward such headers.
    InvalidHeaders,
    /// The body is not exactly one JSON object.
    InvalidJson,
    /// The body is longer than [`crate::security::policy::BODY_MAX_BYTES`].
    PayloadTooLarge,
    /// Sign-up without a name, an address or a password.
    MissingRequiredFields,
    /// Sign-up with the address of an account.
    UserAlreadyExists,
    /// A new name, address or password that breaks a rule.
    Rule(Rule),
    /// Sign-in without an address or a password.
    MissingEmailOrPassword,
    /// A wrong password, or an address without an account. The answer is the same.
    InvalidCredentials,
    /// A wrong password in a request that has a valid access token.
    WrongPassword,
    /// An action that requires that the user has proved the password or a second factor within [`crate::security::policy::AUTHENTICATION_AGE`].
    ReauthenticationRequired {
        /// Whether the account has a second factor, so that the proof must include one.
        with_second_factor: bool,
    },
    /// The id of a session that does not exist, has ended, or belongs to another user. The answer is the same.
    SessionNotFound,
    /// Forgot-password without an address.
    EmailRequired,
    /// A change of the address to the one that the account has already, in whatever case.
    EmailUnchanged,
    /// Reset-password without a password.
    NewPasswordRequired,
    /// A link that is unknown, used, replaced or expired.
    InvalidOrExpiredToken,
    /// A code that is wrong, used, void or expired.
    InvalidCode,
    /// A code of an authenticator that was used before.
    CodeAlreadyUsed,
    /// A request without a factor, or with several.
    MissingFactor,
    /// An account that requires a second factor, which was not shown.
    SecondFactorRequired,
    /// A token of a sign-in that is unknown, used or expired, or with which too many factors were tried.
    InvalidMfaToken,
    /// An account that has an authenticator already.
    TotpExists,
    /// An account without an authenticator, or a session without an enrolment.
    TotpNotFound,
    /// A passkey that is wrong in any way. The answer is the same for all of them. The log has the reason.
    PasskeyRejected,
    /// A new passkey with the credential id of another one.
    PasskeyExists,
    /// A new passkey of an account that has as many as it may have.
    TooManyPasskeys,
    /// The id of a passkey that does not exist or belongs to another user, or options for an account without passkeys.
    PasskeyNotFound,
    /// Passkeys, where the service does not offer them.
    PasskeysNotConfigured,
    /// Recovery codes for an account without a second factor.
    NoSecondFactor,
    /// A session of an account whose address is not verified, where the service requires it.
    EmailNotVerified,
    /// A request without credentials, where a bearer token is required.
    MissingAuthorization,
    /// A request with other credentials, where a bearer token is required.
    NoBearerToken,
    /// An access token that has expired.
    TokenExpired,
    /// A valid access token whose session has ended.
    TokenRevoked,
    /// A bearer token that is invalid for any other reason.
    InvalidToken,
    /// A refresh token that has expired, was used, or whose session has ended.
    InvalidRefreshToken,
    /// A valid access token whose user does not exist any more.
    UserNotFound,
    /// Too many attempts.
    TooManyAttempts(TooMany),
    /// Something that the function depends on is not available. The client should try again.
    ServiceUnavailable(Box<dyn Error + Send + Sync>),
    /// A defect of this service.
    Internal(Box<dyn Error + Send + Sync>),
}

/// What the client gets.
struct Row {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    challenge: Option<&'static str>,
}

/// The challenges of a bearer endpoint (RFC 6750 §3). An error is named only if the request had a bearer token.
const BEARER: Option<&str> = Some("Bearer");
/// RFC 9470 §3. A test compares `max_age` with [`crate::security::policy::AUTHENTICATION_AGE`].
const INSUFFICIENT_AUTHENTICATION: Option<&str> =
    Some(r#"Bearer error="insufficient_user_authentication", max_age=600"#);
/// The same, with the level that a second factor gives ([`crate::domain::Methods::level`]).
const INSUFFICIENT_FACTORS: Option<&str> =
    Some(r#"Bearer error="insufficient_user_authentication", max_age=600, acr_values="aal2""#);
const INVALID_TOKEN: Option<&str> = Some(r#"Bearer error="invalid_token""#);

impl ApiError {
    /// The table. A failed sign-in has no challenge, because the sign-in endpoint does not expect a bearer token.
    #[rustfmt::skip]
    fn row(&self) -> Row {
        let row = |status, code, message: &'static str, challenge| Row {
            status,
            code,
            message: Cow::Borrowed(message),
            challenge,
        };
        match self {
            Self::UnsupportedMediaType => row(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Content-Type must be application/json", None),
            Self::InvalidHeaders => row(StatusCode::BAD_REQUEST, "invalid_headers", "Invalid headers", None),
            Self::InvalidJson => row(StatusCode::BAD_REQUEST, "invalid_json", "Invalid JSON payload", None),
            Self::PayloadTooLarge => row(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "Request body too large", None),
            Self::MissingRequiredFields => row(StatusCode::BAD_REQUEST, "missing_required_fields", "Missing required fields", None),
            Self::UserAlreadyExists => row(StatusCode::BAD_REQUEST, "user_already_exists", "User already exists", None),
            Self::Rule(rule) => Row { status: StatusCode::BAD_REQUEST, code: rule.code(), message: rule.to_string().into(), challenge: None },
            Self::MissingEmailOrPassword => row(StatusCode::BAD_REQUEST, "missing_email_or_password", "Missing email or password", None),
            Self::InvalidCredentials => row(StatusCode::UNAUTHORIZED, "invalid_credentials", "Invalid credentials", None),
            Self::WrongPassword => row(StatusCode::UNAUTHORIZED, "invalid_credentials", "Invalid credentials", BEARER),
            Self::ReauthenticationRequired { with_second_factor } => row(StatusCode::UNAUTHORIZED, "reauthentication_required", "Sign in again to do this", if *with_second_factor { INSUFFICIENT_FACTORS } else { INSUFFICIENT_AUTHENTICATION }),
            Self::SessionNotFound => row(StatusCode::NOT_FOUND, "session_not_found", "Session not found", None),
            Self::EmailRequired => row(StatusCode::BAD_REQUEST, "email_required", "Email is required", None),
            Self::EmailUnchanged => row(StatusCode::BAD_REQUEST, "email_unchanged", "The account already has this email address", None),
            Self::NewPasswordRequired => row(StatusCode::BAD_REQUEST, "new_password_required", "New password is required", None),
            Self::InvalidOrExpiredToken => row(StatusCode::BAD_REQUEST, "invalid_or_expired_token", "Invalid or expired token", None),
            Self::InvalidCode => row(StatusCode::BAD_REQUEST, "invalid_code", "Invalid or expired code", None),
            Self::CodeAlreadyUsed => row(StatusCode::BAD_REQUEST, "code_already_used", "This code was already used", None),
            Self::MissingFactor => row(StatusCode::BAD_REQUEST, "missing_factor", "Send exactly one factor", None),
            Self::SecondFactorRequired => row(StatusCode::UNAUTHORIZED, "second_factor_required", "Second factor required", INSUFFICIENT_FACTORS),
            Self::InvalidMfaToken => row(StatusCode::UNAUTHORIZED, "invalid_mfa_token", "Sign in again", None),
            Self::TotpExists => row(StatusCode::CONFLICT, "totp_exists", "The account already has an authenticator", None),
            Self::TotpNotFound => row(StatusCode::NOT_FOUND, "totp_not_found", "Authenticator not found", None),
            Self::PasskeyRejected => row(StatusCode::BAD_REQUEST, "passkey_rejected", "Passkey rejected", None),
            Self::PasskeyExists => row(StatusCode::CONFLICT, "passkey_exists", "This passkey was already added", None),
            Self::TooManyPasskeys => row(StatusCode::CONFLICT, "too_many_passkeys", "The account has as many passkeys as it may have", None),
            Self::PasskeyNotFound => row(StatusCode::NOT_FOUND, "passkey_not_found", "Passkey not found", None),
            Self::PasskeysNotConfigured => row(StatusCode::NOT_FOUND, "passkeys_not_configured", "This service does not offer passkeys", None),
            Self::NoSecondFactor => row(StatusCode::CONFLICT, "no_second_factor", "The account has no second factor", None),
            Self::EmailNotVerified => row(StatusCode::FORBIDDEN, "email_not_verified", "Verify your email address first", None),
            Self::MissingAuthorization => row(StatusCode::UNAUTHORIZED, "missing_authorization", "Missing Authorization Header", BEARER),
            Self::NoBearerToken => row(StatusCode::UNAUTHORIZED, "invalid_token", "Invalid token", BEARER),
            Self::TokenExpired => row(StatusCode::UNAUTHORIZED, "token_expired", "Token has expired", INVALID_TOKEN),
            Self::TokenRevoked => row(StatusCode::UNAUTHORIZED, "token_revoked", "Token has been revoked", INVALID_TOKEN),
            Self::InvalidToken => row(StatusCode::UNAUTHORIZED, "invalid_token", "Invalid token", INVALID_TOKEN),
            Self::InvalidRefreshToken => row(StatusCode::UNAUTHORIZED, "invalid_refresh_token", "Invalid or expired refresh token", INVALID_TOKEN),
            Self::UserNotFound => row(StatusCode::NOT_FOUND, "user_not_found", "User not found", None),
            Self::TooManyAttempts(_) => row(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", "Too many attempts. Try again later.", None),
            Self::ServiceUnavailable(_) => row(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", "Service temporarily unavailable", None),
            Self::Internal(_) => row(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Internal server error", None),
        }
    }

    /// The failure of a function that API Gateway calls for a route that the function does not have.
    #[must_use]
    pub fn unknown_route() -> Self {
        Self::Internal("the function has no such route".into())
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.row().status
    }

    /// The stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// The `WWW-Authenticate` header, if there is one.
    #[must_use]
    pub fn challenge(&self) -> Option<&'static str> {
        self.row().challenge
    }

    /// The `Retry-After` header in seconds, if there is one.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyAttempts(TooMany { retry_after, .. }) => Some(*retry_after),
            // PostgreSQL restarts within this time.
            Self::ServiceUnavailable(_) => Some(5),
            _ => None,
        }
    }

    /// What the person can do instead of waiting, if there is something.
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

impl fmt::Display for ApiError {
    /// Writes the message for the client, without the cause.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.row().message)
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::ServiceUnavailable(cause) | Self::Internal(cause) => Some(cause.as_ref()),
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
            DbError::Unavailable(cause) => Self::ServiceUnavailable(cause),
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

impl From<NotDecrypted> for ApiError {
    fn from(error: NotDecrypted) -> Self {
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
    use crate::security::policy;

    // Requirement 23.
    #[test]
    fn the_cause_of_a_failure_is_not_in_its_message() {
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
        assert_eq!(ApiError::WrongPassword.challenge(), Some("Bearer"));
        assert_eq!(ApiError::UserNotFound.challenge(), None);
    }

    // Requirement 54.
    #[test]
    fn the_challenge_to_reauthenticate_names_the_age_of_the_policy() {
        let age = policy::AUTHENTICATION_AGE.as_secs();
        let challenge = format!("Bearer error=\"insufficient_user_authentication\", max_age={age}");
        for (with_second_factor, level) in [(false, ""), (true, ", acr_values=\"aal2\"")] {
            let required = ApiError::ReauthenticationRequired { with_second_factor };
            assert_eq!(required.challenge(), Some(&*format!("{challenge}{level}")));
        }
    }
}
