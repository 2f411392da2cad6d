//! Reading environment variables. Each type with settings has a function `from_env`, which reads its settings with these methods. This module does not know
//! what a variable means.
//!
//! An empty value counts as unset, because `sam local` passes an empty value for a reference that it cannot resolve.

use std::{collections::HashMap, str::FromStr, time::Duration};

use lambda_http::http::Uri;
use thiserror::Error;

/// The environment variables of a process.
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads the variables of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// A variable's value. `None` where it is unset or empty.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable's value.
    ///
    /// # Errors
    /// If it is unset or empty. The error says what the variable must hold (`meaning`).
    pub fn required(&self, name: &'static str, meaning: &'static str) -> Result<&str, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing { name, meaning })
    }

    /// A variable's value, parsed, or the default.
    ///
    /// # Errors
    /// If it cannot be parsed. The error says what was expected.
    pub fn parsed<T: FromStr>(&self, name: &'static str, expected: &'static str, default: T) -> Result<T, ConfigError> {
        self.optional(name)
            .map_or(Ok(default), |value| value.parse().map_err(|_| ConfigError::Malformed { name, expected }))
    }

    /// A duration in whole seconds, or the default.
    ///
    /// # Errors
    /// If it is not a whole number of 32 bits.
    pub fn seconds(&self, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        let seconds = self.optional(name).map(str::parse::<u32>).transpose();
        let seconds = seconds.map_err(|_| ConfigError::Malformed { name, expected: "a whole number of seconds" })?;
        Ok(seconds.map_or(default, |seconds| Duration::from_secs(seconds.into())))
    }

    /// A duration of at least one second, or the default.
    ///
    /// # Errors
    /// If it is not a whole number of 32 bits, or zero.
    pub fn positive_seconds(&self, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        match self.seconds(name, default)? {
            Duration::ZERO => Err(ConfigError::Malformed { name, expected: "one second or more" }),
            duration => Ok(duration),
        }
    }

    /// A duration of at most ten seconds, in milliseconds, or the default.
    ///
    /// # Errors
    /// If it is not a whole number, or is larger than 10000.
    pub fn milliseconds(&self, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        let malformed = ConfigError::Malformed { name, expected: "a whole number of milliseconds, at most 10000" };
        match self.optional(name).map(str::parse::<u64>) {
            None => Ok(default),
            Some(Ok(milliseconds @ 0..=10_000)) => Ok(Duration::from_millis(milliseconds)),
            Some(_) => Err(malformed),
        }
    }

    /// A switch, or the default.
    ///
    /// # Errors
    /// If it is neither `on` nor `off`.
    pub fn switch(&self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        match self.optional(name) {
            None => Ok(default),
            Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(_) => Err(ConfigError::Malformed { name, expected: "`on` or `off`" }),
        }
    }

    /// An absolute `http` or `https` URL of visible ASCII characters, without a query. Slashes at its end are removed.
    ///
    /// # Errors
    /// If it is set to anything else.
    pub fn http_url(&self, name: &'static str) -> Result<Option<&str>, ConfigError> {
        let expected = "an http(s) URL of visible ASCII characters, without a query";
        match self.optional(name) {
            Some(url) if !is_http_url(url) => Err(ConfigError::Malformed { name, expected }),
            url => Ok(url.map(|url| url.trim_end_matches('/'))),
        }
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// The parser of URLs accepts non-ASCII characters in a path, so this function checks every character itself.
fn is_http_url(text: &str) -> bool {
    let url = text.parse::<Uri>();
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && url.is_ok_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
                && url.query().is_none()
        })
}

/// Why a function cannot start. It names the variable and never its value.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A variable without a default is unset or empty.
    #[error("{name} is not set: it must hold {meaning}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it must hold.
        meaning: &'static str,
    },
    /// A variable has a value that is not allowed.
    #[error("{name} is malformed: it must be {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

#[cfg(test)]
impl Environment {
    /// An environment of these variables.
    #[must_use]
    pub fn with(variables: &[(&str, &str)]) -> Self {
        variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::property_test;

    use super::*;

    fn http_url(url: &str) -> Option<String> {
        Environment::with(&[("PAGE", url)]).http_url("PAGE").ok().flatten().map(str::to_owned)
    }

    #[test]
    fn only_an_absolute_http_url_is_accepted() {
        for url in ["http://", "http:// bad", "https://x/reset?a=b", "example.com", "ftp://x"] {
            assert_eq!(http_url(url), None, "{url}");
        }
    }

    #[property_test]
    fn a_url_is_visible_ascii_and_a_path_can_be_appended_to_it(
        #[strategy = r"https?://[a-z0-9-]{1,8}([.][a-z0-9-]{1,8}){0,3}(:[0-9]{1,4})?(/[a-zA-Z0-9._~%-]{1,8}){0,3}"] url: String,
        #[strategy = "(?s)/.{0,10}|[/#?].{1,5}|[#/?a-z]{0,5}"] more: String,
    ) {
        assert_eq!(http_url(&url).as_ref(), Some(&url));
        assert_eq!(http_url(&format!("{url}//")).as_ref(), Some(&url));
        if let Some(page) = http_url(&format!("{url}{more}")) {
            assert!(page.bytes().all(|byte| byte.is_ascii_graphic()) && !page.ends_with('/'), "{page}");
            assert!(!page.split('#').next().unwrap().contains('?'), "{page}");
        }
    }
}
