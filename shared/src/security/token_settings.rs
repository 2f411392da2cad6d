//! The settings of tokens.

use std::time::Duration;

use secrecy::SecretString;

use super::{Issuer, keys::KeyPairs, policy};
use crate::environment::{ConfigError, Environment};

/// The keys that sign and verify tokens, and the claims that are the same in all of them.
pub struct TokenSettings {
    /// The secret of HS256.
    pub secret: SecretString,
    /// Other secrets whose tokens are accepted, for example the previous or the next one.
    pub additional_secrets: Vec<SecretString>,
    /// The key pairs. If there is a private key, it signs access tokens in place of the secret.
    pub key_pairs: KeyPairs,
    /// The claim `iss`.
    pub issuer: Issuer,
    /// The claim `aud` of access tokens.
    pub audience: String,
    /// The longest time that an access token is valid.
    pub access_lifetime: Duration,
}

impl TokenSettings {
    /// The default of `JWT_AUDIENCE`.
    pub const DEFAULT_AUDIENCE: &str = "jwt-auth";

    /// Reads `JWT_SECRET_KEY`, `JWT_ADDITIONAL_SECRET_KEYS`, `JWT_PRIVATE_KEY`, `JWT_ADDITIONAL_PUBLIC_KEYS`, `JWT_ISSUER`, `JWT_AUDIENCE` and
    /// `JWT_ACCESS_TOKEN_EXPIRES`.
    ///
    /// # Errors
    /// If the secret is missing, if a secret is shorter than 32 bytes (RFC 7518 §3.2), or if another value is malformed. A secret with a
    /// comma or with white space around it is refused, because it could not be listed in `JWT_ADDITIONAL_SECRET_KEYS` later.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let additional = "JWT_ADDITIONAL_SECRET_KEYS";
        let others = env.optional(additional).into_iter().flat_map(|secrets| secrets.split(','));
        let issuer = Issuer::from_env(env);
        let audience = env.optional("JWT_AUDIENCE").unwrap_or(Self::DEFAULT_AUDIENCE).to_owned();
        if audience == issuer.refresh_audience() {
            let expected = "another audience than that of refresh tokens";
            return Err(ConfigError::Malformed { name: "JWT_AUDIENCE", expected });
        }
        Ok(Self {
            secret: signing_secret(env)?,
            additional_secrets: others.map(|text| secret(additional, text.trim())).collect::<Result<_, _>>()?,
            key_pairs: KeyPairs::from_env(env)?,
            issuer,
            audience,
            access_lifetime: env.positive_seconds("JWT_ACCESS_TOKEN_EXPIRES", policy::ACCESS_TOKEN_LIFETIME)?,
        })
    }
}

/// Reads `JWT_SECRET_KEY`.
///
/// # Errors
/// If the secret is missing, or not as [`TokenSettings::from_env`] requires.
pub(super) fn signing_secret(env: &Environment) -> Result<SecretString, ConfigError> {
    let name = "JWT_SECRET_KEY";
    secret(name, env.required(name, "the secret that signs tokens, at least 32 random bytes")?)
}

fn secret(name: &'static str, text: &str) -> Result<SecretString, ConfigError> {
    let expected = "at least 32 bytes long, with no comma in it and no white space around it";
    let can_be_listed = !text.contains(',') && text.trim() == text;
    let is_good = can_be_listed && text.len() >= policy::MIN_SECRET_BYTES;
    is_good.then(|| SecretString::from(text)).ok_or(ConfigError::Malformed { name, expected })
}
