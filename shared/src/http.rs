//! Reading a request and writing a reply, at API Gateway's HTTP API (payload format 2.0).

use std::time::Duration;

use lambda_http::{
    Body, RequestExt, Response,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    request::RequestContext,
};
use rand::CryptoRng;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{domain::UnixTime, error::ApiError, system};

/// What a handler gets of the outside world: the event, the time it arrived, and randomness.
pub struct Request {
    event: lambda_http::Request,
    now: UnixTime,
}

impl Request {
    /// A request that arrived at `now`.
    #[must_use]
    pub fn new(event: lambda_http::Request, now: UnixTime) -> Self {
        Self { event, now }
    }

    /// When the request arrived, by the function's own clock. It checks the times in tokens and nothing else: what lasts is
    /// decided by PostgreSQL's clock.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.now
    }

    /// The system's random number generator.
    #[must_use]
    pub fn rng(&self) -> impl CryptoRng {
        system::rng()
    }

    /// The body, which must be one JSON object declared as JSON (parameters such as a charset allowed).
    ///
    /// An object is asked for before any field is read, because serde would take an array for a struct.
    pub fn json_object(&self) -> Result<JsonObject, ApiError> {
        let declared = self.header(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
        if !declared.trim().eq_ignore_ascii_case("application/json") {
            return Err(ApiError::UnsupportedMediaType);
        }
        serde_json::from_slice(self.event.body()).map(JsonObject).map_err(|_| ApiError::InvalidJson)
    }

    /// The bearer token of the Authorization header (RFC 6750 §2.1; the scheme's name is case-insensitive, RFC 9110 §11.1).
    pub fn bearer_token(&self) -> Result<&str, ApiError> {
        let credentials = self.event.headers().get(header::AUTHORIZATION).ok_or(ApiError::MissingAuthorization)?;
        let credentials = credentials.to_str().map_err(|_| ApiError::InvalidToken)?;
        match credentials.trim().split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => Ok(token.trim_start()),
            _ => Err(ApiError::InvalidToken),
        }
    }

    /// The `{token}` of the path, as API Gateway matched it.
    #[must_use]
    pub fn path_token(&self) -> Option<&str> {
        self.event.path_parameters_ref().and_then(|parameters| parameters.first("token"))
    }

    /// The host API Gateway received the request on, from its own `requestContext`: no header the client sent has a say.
    #[must_use]
    pub fn domain_name(&self) -> Option<&str> {
        match self.event.request_context_ref()? {
            RequestContext::ApiGatewayV2(context) => context.domain_name.as_deref(),
            _ => None,
        }
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.event.headers().get(name).and_then(|value| value.to_str().ok())
    }
}

/// A JSON object a client sent.
#[derive(Debug)]
pub struct JsonObject(Map<String, Value>);

impl JsonObject {
    /// The field of that name, if it is a string and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}

/// The body of an answer that says one thing.
#[derive(Debug, Serialize)]
pub struct Message {
    /// For a person.
    pub message: &'static str,
}

/// What a function answers.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    /// 200 with a JSON body.
    ///
    /// # Panics
    /// If `body` cannot be JSON, which is a defect: every body is a struct of strings and numbers.
    pub fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// 201 with a JSON body.
    ///
    /// # Panics
    /// As [`Reply::ok`].
    pub fn created(body: &impl Serialize) -> Self {
        Self::json(StatusCode::CREATED, body)
    }

    /// 200 with a page, under a Content-Security-Policy of its own.
    ///
    /// # Panics
    /// If the policy is no header value, which is a defect.
    #[must_use]
    pub fn page(html: String, content_security_policy: &str) -> Self {
        let policy = HeaderValue::from_str(content_security_policy).expect("a policy of visible ASCII");
        Self::new(StatusCode::OK, "text/html; charset=utf-8", html).with(header::CONTENT_SECURITY_POLICY, policy)
    }

    /// The same answer for everybody, good to keep for that long.
    ///
    /// # Panics
    /// Never: a number is visible ASCII.
    #[must_use]
    pub fn cacheable(self, max_age: Duration) -> Self {
        let value = HeaderValue::try_from(format!("public, max-age={}", max_age.as_secs()));
        self.with(header::CACHE_CONTROL, value.expect("visible ASCII"))
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self::new(status, "application/json", serde_json::to_string(body).expect("a struct of strings and numbers"))
    }

    /// Unless it says otherwise, an answer is for this caller, now, as the type it says: never cached, sniffed, framed or told onward by a referrer
    /// (OWASP REST Security and HTTP Headers cheat sheets). HSTS lasts two years.
    fn new(status: StatusCode, content_type: &'static str, body: String) -> Self {
        let headers = [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
        Self { status, headers, body }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// Seconds after which a client may try again when something was away: the time a database takes to restart.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

impl From<&ApiError> for Reply {
    fn from(error: &ApiError) -> Self {
        #[derive(Serialize)]
        struct Refusal {
            message: String,
            code: &'static str,
        }
        let (status, code) = error.status_and_code();
        let mut reply = Self::json(status, &Refusal { message: error.to_string(), code });
        if let Some(challenge) = error.challenge() {
            reply = reply.with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            reply = reply.with(header::RETRY_AFTER, RETRY_AFTER);
        }
        reply
    }
}

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        let mut response = Response::new(Body::from(reply.body));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(content_type: &str, body: impl Into<Body>) -> Request {
        let event = lambda_http::http::Request::builder().header("content-type", content_type).body(body.into());
        Request::new(event.unwrap(), UnixTime(0))
    }

    fn refusal(content_type: &str, body: impl Into<Body>) -> &'static str {
        request(content_type, body).json_object().unwrap_err().status_and_code().1
    }

    fn authorized(value: &str) -> Result<String, &'static str> {
        let event = lambda_http::http::Request::builder().header("authorization", value).body(Body::Empty).unwrap();
        let request = Request::new(event, UnixTime(0));
        request.bearer_token().map(str::to_owned).map_err(|error| error.status_and_code().1)
    }

    #[test]
    fn a_json_content_type_may_carry_parameters_and_any_case() {
        for content_type in
            ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json ;x=y"]
        {
            assert!(request(content_type, "{}").json_object().is_ok(), "{content_type}");
        }
    }

    #[test]
    fn another_content_type_is_refused_before_the_body_is_read() {
        for content_type in
            ["", "text/plain", "application/jsonp", "application/json, text/plain", "x application/json"]
        {
            assert_eq!(refusal(content_type, "not json"), "unsupported_media_type", "{content_type}");
        }
    }

    #[test]
    fn only_one_json_object_is_a_body() {
        for body in
            ["", "[]", "1", "null", "\"a\"", "{} {}", "{}x", "\u{feff}{}", r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#, "{"]
        {
            assert_eq!(refusal("application/json", body), "invalid_json", "{body}");
        }
        assert_eq!(refusal("application/json", b"{\"a\":\"\xff\"}".to_vec()), "invalid_json");
        assert_eq!(
            refusal("application/json", format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000))),
            "invalid_json"
        );
    }

    #[test]
    fn a_field_is_a_string_that_is_not_empty() {
        let body = request("application/json", r#"{"a":"x","b":"","c":1,"d":null,"e":["x"]}"#).json_object().unwrap();
        assert_eq!(body.text("a"), Some("x"));
        for absent in ["b", "c", "d", "e", "f"] {
            assert_eq!(body.text(absent), None, "{absent}");
        }
    }

    #[test]
    fn the_bearer_scheme_is_case_insensitive_and_nothing_else_is_a_token() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(authorized(value).as_deref(), Ok("a.b.c"), "{value}");
        }
        for value in ["", "Bearer", "a.b.c", "Basic dTpw", "Bearer\ta.b.c"] {
            assert_eq!(authorized(value), Err("invalid_token"), "{value}");
        }
    }
}
