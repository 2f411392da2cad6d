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

/// The page of the links that reset a password. An application may have a page of its own for them.
pub struct ResetPage {
    own: Option<String>,
    pages: LinkPages,
}

impl ResetPage {
    /// Reads `RESET_PASSWORD_URL` and `LINKS_URL`.
    ///
    /// # Errors
    /// If one of them is not a URL with `http` or `https`.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let own = env.http_url("RESET_PASSWORD_URL")?.map(str::to_owned);
        Ok(Self { own, pages: LinkPages::from_env(env)? })
    }

    /// Its URL, without the token: `RESET_PASSWORD_URL`, or if it is not set, one of the pages of all links.
    ///
    /// # Errors
    /// As [`LinkPages::page`].
    pub fn url(&self, request: &Request) -> Result<String, ApiError> {
        self.own.clone().map_or_else(|| self.pages.page(request, "reset-password"), Ok)
    }
}
