//! The answer to a request, and its comparison with `openapi.yaml`.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::Value;

use crate::documents::{self, Route};

/// An answer as the client received it.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// The time from sending the request to receiving the whole answer.
    pub took: Duration,
}

impl Reply {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// A string field of the JSON body.
    #[must_use]
    pub fn text_at(&self, field: &str) -> String {
        self.json()[field].as_str().unwrap_or_else(|| panic!("no text {field} in {}", self.text)).to_owned()
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header is text"))
    }

    /// Asserts status 200 and this body.
    #[track_caller]
    pub fn assert_ok(&self, body: &Value) {
        assert_eq!((self.status, &self.json()), (200, body));
    }

    /// Asserts a refusal with this status, code and message, which must not be cached.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str, message: &str) {
        let body = serde_json::json!({ "message": message, "code": code });
        assert_eq!((self.status, self.json()), (status, body));
        assert_eq!(self.header("cache-control"), Some("no-store"));
    }

    /// Asserts the security headers of every answer: caching (only documents in `/.well-known/` are cacheable), `nosniff`, no referrer, and
    /// HSTS of at least a year.
    #[track_caller]
    pub(crate) fn assert_security_headers(&self, route: &Route) {
        let place = format!("{} {}, {}", route.method, route.path, self.status);
        let cacheable = self.status == 200 && route.path.starts_with("/.well-known/");
        let page = self.status == 200 && ["reset-password-page", "link-pages"].contains(&route.function.as_str());
        for (name, value) in [
            ("cache-control", if cacheable { "public, max-age=300" } else { "no-store" }),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(self.header(name), Some(value), "{name} of {place}");
        }
        let media_type = match self.status {
            204 => None,
            _ if page => Some("text/html; charset=utf-8"),
            _ => Some("application/json"),
        };
        assert_eq!(self.header("content-type"), media_type, "content-type of {place}");
        let transport = self.header("strict-transport-security").unwrap_or_default();
        let max_age = transport.split("; ").find_map(|part| part.strip_prefix("max-age=")?.parse().ok());
        assert!(max_age >= Some(365 * 24 * 60 * 60), "strict-transport-security of {place}: {transport}");
    }

    /// Asserts that `openapi.yaml` documents the answer for this route: status, media type, body and headers. A refusal must equal one of
    /// the examples.
    #[track_caller]
    pub(crate) fn assert_documented(&self, route: &Route) {
        let place = format!("openapi.yaml, {} {}, {}", route.method, route.path, self.status);
        let documented =
            documents::documented_answer(route, self.status).unwrap_or_else(|| panic!("{place}: not documented"));
        for (name, schema) in &documented.headers {
            let value = self.header(name).unwrap_or_else(|| panic!("{place}: the header {name} is missing"));
            // The schemas of headers describe strings and integers.
            let value = value.parse::<u64>().map_or_else(|_| value.into(), Value::from);
            assert!(schema.is_valid(&value), "{place}: {name} is {value}");
        }

        if self.status == 204 {
            assert!(self.text.is_empty() && documented.bodies.is_empty(), "{place}: an answer with 204 has no body");
            return;
        }
        let media_type = self.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
        let is_json = media_type == "application/json";
        let body = if is_json { self.json() } else { self.text.as_str().into() };
        let schema = documented
            .bodies
            .get(media_type)
            .unwrap_or_else(|| panic!("{place}: no body of type {media_type} is documented"));
        if let Err(error) = schema.validate(&body) {
            panic!("{place}: {body} does not match the schema: {error}");
        }
        // An operator may configure the minimum length of passwords, which one message contains, and another answer has a random token.
        let varies = body["code"] == "password_too_short" || body.get("mfa_token").is_some();
        if self.status >= 400 && !varies {
            assert!(documented.examples.contains(&body), "{place}: no example equals {body}");
        }
    }
}
