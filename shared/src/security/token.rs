//! Access and refresh tokens: JSON Web Tokens (RFC 7519) that name a session.
//!
//! The crate `jsonwebtoken` checks the algorithm and the signature. It accepts an unknown `crit`, any `typ`, a missing `iss` or `aud`, arrays in
//! place of strings, and a leeway of a minute. [`Tokens`] is stricter: the header must be exactly the one that this service writes, every claim
//! must be there with its type, and times are compared with the caller's `now`.

use std::{collections::HashMap, fmt::Display, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use super::{
    TokenSettings,
    keys::{self, Signer, Verifier},
    policy,
};
use crate::domain::{Methods, Session, SessionId, TokenId, UnixTime, User, UserId, VerifiedToken};

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// This service issued it, it is of the right type, and it has expired.
    #[error("the token has expired")]
    Expired,
    /// It is invalid for any other reason.
    #[error("the token is invalid")]
    Invalid,
}

/// The claim `type`. Its values are those of Flask-JWT-Extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenType {
    Access,
    Refresh,
}

impl TokenType {
    fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// The claims of both types. Only access tokens have `auth_time`, `acr` (OpenID Connect Core §2), `amr` (RFC 8176) and `email_verified` (OpenID Connect
/// Core §5.1).
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: UnixTime,
    nbf: UnixTime,
    exp: UnixTime,
    jti: TokenId,
    sid: SessionId,
    r#type: &'a str,
    fresh: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<UnixTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amr: Option<Methods>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

/// The claims of a received token that are checked. Each is required and has its type, except `auth_time`: refresh tokens do not have it, nor do access
/// tokens that were issued before it existed. With the field `_others`, serde accepts only an object. Without it, serde
/// would also accept an array of the right length. `type` is a text, because serde would also read an enum from `{"access":null}`.
#[derive(Deserialize)]
struct ReceivedClaims {
    iss: String,
    aud: String,
    #[serde(deserialize_with = "canonical")]
    sub: i64,
    iat: UnixTime,
    nbf: UnixTime,
    exp: UnixTime,
    #[serde(deserialize_with = "canonical")]
    jti: Uuid,
    #[serde(deserialize_with = "canonical")]
    sid: Uuid,
    r#type: String,
    #[serde(rename = "fresh")]
    _fresh: bool,
    auth_time: Option<UnixTime>,
    #[serde(flatten)]
    _others: HashMap<String, Value>,
}

/// A value in the spelling that this service writes. Other services compare ids as text (RFC 7519 §4.1.2), so other spellings, such as `+7`,
/// `urn:uuid:…` or capitals, are refused.
fn canonical<'de, T: FromStr + Display, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let value = text.parse().ok().filter(|value: &T| value.to_string() == text);
    value.ok_or_else(|| D::Error::custom("not in canonical form"))
}

/// The part of a reply that carries tokens (RFC 6749 §5.1).
#[derive(Serialize)]
pub struct TokenReply {
    /// The access token, for protected routes.
    pub access_token: String,
    /// The refresh token, for `POST /api/refresh`.
    pub refresh_token: String,
    /// Always "Bearer" (RFC 6750).
    pub token_type: &'static str,
    /// Seconds until the access token expires.
    pub expires_in: u64,
}

/// A reply with a message and tokens.
#[derive(Serialize)]
pub struct TokensWithMessage {
    /// For a person.
    pub message: &'static str,
    /// The tokens.
    #[serde(flatten)]
    pub tokens: TokenReply,
}

/// A reply to a successful sign-in.
#[derive(Serialize)]
pub struct SignedIn {
    message: &'static str,
    #[serde(flatten)]
    tokens: TokenReply,
    user: Profile,
}

#[derive(Serialize)]
struct Profile {
    name: String,
    email: String,
}

impl SignedIn {
    /// The reply with the tokens of this user's new session.
    #[must_use]
    pub fn of(user: User, tokens: TokenReply) -> Self {
        Self { message: "Sign-in successful", tokens, user: Profile { name: user.name, email: user.email } }
    }
}

/// The claim `fresh` of Flask-JWT-Extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The tokens are minted after the user has authenticated or changed the credentials.
    Fresh,
    /// The tokens are minted at a refresh, or after a code has verified the address.
    Refreshed,
}

/// Mints and verifies tokens.
pub struct Tokens {
    access_signer: Signer,
    refresh_signer: Signer,
    /// By `kid`.
    verifiers: HashMap<String, Verifier>,
    issuer: String,
    audience: String,
    refresh_audience: String,
    access_lifetime: Duration,
}

impl Tokens {
    /// Mints and verifies tokens with these settings.
    #[must_use]
    pub fn new(settings: &TokenSettings) -> Self {
        let secrets = [&settings.secret].into_iter().chain(&settings.additional_secrets).map(keys::secret_verifier);
        let verifiers = secrets.chain(settings.key_pairs.public().map(keys::PublicKey::verifier));
        let secret_signer = || keys::secret_signer(&settings.secret);
        Self {
            access_signer: settings.key_pairs.private().map_or_else(secret_signer, keys::PrivateKey::signer),
            refresh_signer: secret_signer(),
            verifiers: verifiers.map(|verifier| (verifier.kid(), verifier)).collect(),
            issuer: settings.issuer.as_str().to_owned(),
            audience: settings.audience.clone(),
            refresh_audience: settings.issuer.refresh_audience(),
            access_lifetime: settings.access_lifetime,
        }
    }

    /// Mints the tokens of a session: a new access token with the id `access_id`, which expires with the session at the latest, and the session's
    /// current refresh token. Minting the refresh token again gives the same bytes, because its claims depend only on the stored session.
    ///
    /// # Errors
    /// If signing fails. Signing with a secret never fails.
    pub fn mint(
        &self,
        session: &Session,
        access_id: TokenId,
        freshness: Freshness,
    ) -> Result<TokenReply, jsonwebtoken::errors::Error> {
        let expires_at = session.now.plus(self.access_lifetime).min(session.expires_at);
        let sub = session.user_id.to_string();
        let access = Claims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: &sub,
            iat: session.now,
            nbf: session.now,
            exp: expires_at,
            jti: access_id,
            sid: session.id,
            r#type: TokenType::Access.name(),
            fresh: freshness == Freshness::Fresh,
            auth_time: Some(session.auth_time),
            amr: Some(session.methods),
            acr: Some(session.methods.level()),
            email_verified: Some(session.email_verified),
        };
        let refresh = Claims {
            aud: &self.refresh_audience,
            iat: session.refreshed_at,
            nbf: session.refreshed_at,
            exp: session.expires_at,
            jti: session.refresh_id,
            r#type: TokenType::Refresh.name(),
            fresh: false,
            auth_time: None,
            amr: None,
            acr: None,
            email_verified: None,
            ..access
        };
        Ok(TokenReply {
            access_token: self.access_signer.sign(&access)?,
            refresh_token: self.refresh_signer.sign(&refresh)?,
            token_type: "Bearer",
            expires_in: expires_at.seconds_since(session.now),
        })
    }

    /// The ids in an access token that is valid at `now`. The caller must still check whether the token's session is live.
    ///
    /// # Errors
    /// [`TokenError::Expired`] if it is valid but has expired, else [`TokenError::Invalid`].
    pub fn verify_access(&self, token: &str, now: UnixTime) -> Result<VerifiedToken, TokenError> {
        self.verify(token, TokenType::Access, &self.audience, now)
    }

    /// The ids in an access token that is valid at `now` or has expired. Use it only to end the token's session.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] if it was never valid.
    pub fn verify_access_of_any_age(&self, token: &str, now: UnixTime) -> Result<VerifiedToken, TokenError> {
        self.verify_all_but_expiry(token, TokenType::Access, &self.audience, now).map(|(verified, _)| verified)
    }

    /// The ids in a refresh token that is valid at `now`. The caller must still check whether the token's session is live.
    ///
    /// # Errors
    /// As [`Self::verify_access`].
    pub fn verify_refresh(&self, token: &str, now: UnixTime) -> Result<VerifiedToken, TokenError> {
        self.verify(token, TokenType::Refresh, &self.refresh_audience, now)
    }

    fn verify(&self, token: &str, kind: TokenType, audience: &str, now: UnixTime) -> Result<VerifiedToken, TokenError> {
        let (verified, expires_at) = self.verify_all_but_expiry(token, kind, audience, now)?;
        // A token is expired "on or after" its `exp` (RFC 7519 §4.1.4).
        if expires_at <= now { Err(TokenError::Expired) } else { Ok(verified) }
    }

    /// The ids in a token, and when it expires.
    fn verify_all_but_expiry(
        &self,
        token: &str,
        kind: TokenType,
        audience: &str,
        now: UnixTime,
    ) -> Result<(VerifiedToken, UnixTime), TokenError> {
        let header = header_of(token).ok_or(TokenError::Invalid)?;
        let key = header["kid"].as_str().and_then(|kid| self.verifiers.get(kid)).ok_or(TokenError::Invalid)?;
        // The header must be the one that this service writes with that key (RFC 8725 §3.1, §3.11). So it has no other algorithm or type, no
        // URL of a key, no critical extension, and no unknown field.
        if header != key.header {
            return Err(TokenError::Invalid);
        }
        // Only this service verifies refresh tokens, so only the secret signs them.
        if kind == TokenType::Refresh && key.algorithm != Algorithm::HS256 {
            return Err(TokenError::Invalid);
        }
        let decoded = jsonwebtoken::decode::<ReceivedClaims>(token, &key.key, &key.validation);
        let claims = decoded.map_err(|_| TokenError::Invalid)?.claims;
        let latest_issue = now.plus(policy::CLOCK_SKEW);
        let is_ours = claims.iss == self.issuer
            && claims.aud == audience
            && claims.r#type == kind.name()
            && claims.iat <= latest_issue
            && claims.nbf <= latest_issue;
        if !is_ours {
            return Err(TokenError::Invalid);
        }
        let verified = VerifiedToken {
            user_id: UserId(claims.sub),
            session_id: SessionId(claims.sid),
            token_id: TokenId(claims.jti),
            auth_time: claims.auth_time,
        };
        Ok((verified, claims.exp))
    }
}

/// The header of a token, if it is JSON.
fn header_of(token: &str) -> Option<Value> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    serde_json::from_slice(&header).ok()
}

#[cfg(test)]
mod tests;
