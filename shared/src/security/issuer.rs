//! The issuer of tokens, their claim `iss`.

use crate::environment::Environment;

/// The issuer: a name, or an https URL where other services look for the public keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// The default of `JWT_ISSUER`.
    pub const DEFAULT: &str = "jwt-auth";

    /// Reads `JWT_ISSUER`.
    #[must_use]
    pub fn from_env(env: &Environment) -> Self {
        Self(env.optional("JWT_ISSUER").unwrap_or(Self::DEFAULT).to_owned())
    }

    /// The claim `iss`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The issuer as a URL without a slash at its end. `None` if it is not an https URL.
    #[must_use]
    pub fn https_url(&self) -> Option<&str> {
        self.0.starts_with("https://").then(|| self.0.trim_end_matches('/'))
    }

    /// The `aud` of refresh tokens. No other service accepts it, so no other service accepts a refresh token as an access token.
    #[must_use]
    pub fn refresh_audience(&self) -> String {
        format!("{}/refresh", self.0)
    }
}
