//! An answer, already held against `openapi.yaml`.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::Value;

use crate::documents::{self, Route};

/// What a client received.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// How long it took to come.
    pub took: Duration,
}

impl Reply {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// A text of the body.
    #[must_use]
    pub fn text_at(&self, field: &str) -> String {
        self.json()[field].as_str().unwrap_or_else(|| panic!("no text {field} in {}", self.text)).to_owned()
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header is text"))
    }

    /// Asserts a success with that body.
    #[track_caller]
    pub fn assert_ok(&self, body: &Value) {
        assert_eq!((self.status, &self.json()), (200, body));
    }

    /// Asserts a refusal: status, message, code, and that nobody may cache it.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str, message: &str) {
        let body = serde_json::json!({ "message": message, "code": code });
        assert_eq!((self.status, self.json()), (status, body));
        assert_eq!(self.header("cache-control"), Some("no-store"));
    }

    /// Holds the answer against what every answer of a function carries, whatever it says: it is kept by nobody (but for the
    /// public keys), taken for nothing but the type it names, and neither asked for in the clear nor told onward by a referrer.
    #[track_caller]
    pub(crate) fn assert_guarded(&self, route: &Route) {
        let place = format!("{} {}, {}", route.method, route.path, self.status);
        let for_everybody = self.status == 200 && route.path.starts_with("/.well-known/");
        let page = self.status == 200 && route.function == "reset-password-page";
        for (name, value) in [
            ("cache-control", if for_everybody { "public, max-age=300" } else { "no-store" }),
            ("content-type", if page { "text/html; charset=utf-8" } else { "application/json" }),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(self.header(name), Some(value), "{name} of {place}");
        }
        let transport = self.header("strict-transport-security").unwrap_or_default();
        let max_age = transport.split("; ").find_map(|part| part.strip_prefix("max-age=")?.parse().ok());
        assert!(max_age >= Some(365 * 24 * 60 * 60), "strict-transport-security of {place}: {transport}");
    }

    /// Holds the answer against `openapi.yaml`: its status, its media type, its body and its headers must be documented for the route, and a
    /// refusal must equal one of the examples.
    #[track_caller]
    pub(crate) fn assert_documented(&self, route: &Route) {
        let place = format!("openapi.yaml, {} {}, {}", route.method, route.path, self.status);
        let documented =
            documents::documented_answer(route, self.status).unwrap_or_else(|| panic!("{place}: not there"));
        for (name, schema) in &documented.headers {
            let value = self.header(name).unwrap_or_else(|| panic!("{place}: no header {name}"));
            // The headers' schemas know texts and whole numbers.
            let value = value.parse::<u64>().map_or_else(|_| value.into(), Value::from);
            assert!(schema.is_valid(&value), "{place}: {name} is {value}");
        }

        let media_type = self.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
        let is_json = media_type == "application/json";
        let body = if is_json { self.json() } else { self.text.as_str().into() };
        let schema = documented.bodies.get(media_type).unwrap_or_else(|| panic!("{place}: no body of {media_type}"));
        if let Err(error) = schema.validate(&body) {
            panic!("{place}: {body} is not as its schema says: {error}");
        }
        // The least length of a password is the operator's to set.
        let configurable = body["code"] == "password_too_short";
        if self.status >= 400 && !configurable {
            assert!(documented.examples.contains(&body), "{place}: no example like {body}");
        }
    }
}
