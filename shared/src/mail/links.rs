//! Where the links in mails lead.

use crate::{
    environment::{ConfigError, Environment},
    error::ApiError,
    http::Request,
};

/// The pages that the links in mails lead to.
pub struct LinkPages {
    base: Option<String>,
}

impl LinkPages {
    /// Reads `LINKS_URL`.
    ///
    /// # Errors
    /// If it is not a URL with `http` or `https`.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        Ok(Self { base: env.http_url("LINKS_URL")?.map(str::to_owned) })
    }

    /// The URL of a page, such as `verify-email`, without the token: below `LINKS_URL`, or if it is not set, below the API that received the request.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if `LINKS_URL` is not set and the request names no API.
    pub fn page(&self, request: &Request, name: &str) -> Result<String, ApiError> {
        let own = || request.domain_name().map(|host| format!("https://{host}"));
        let base = self.base.clone().or_else(own);
        let base =
            base.ok_or_else(|| ApiError::Internal("LINKS_URL is not set, and the event has no domainName".into()))?;
        Ok(format!("{base}/{name}"))
    }
}
