//! Writing a reply.

use std::time::Duration;

use lambda_http::{
    Body,
    aws_lambda_events::apigw::ApiGatewayV2httpResponse,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
};
use serde::Serialize;

use crate::error::ApiError;

/// The body of a reply that is only a message.
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

    /// 202 with a JSON body.
    ///
    /// # Panics
    /// As [`Reply::ok`].
    pub fn accepted(body: &impl Serialize) -> Self {
        Self::json(StatusCode::ACCEPTED, body)
    }

    /// 401 with a JSON body, for a sign-in that needs a second factor.
    ///
    /// # Panics
    /// As [`Reply::ok`].
    pub fn unauthorized(body: &impl Serialize) -> Self {
        Self::json(StatusCode::UNAUTHORIZED, body)
    }

    /// 204, without a body.
    #[must_use]
    pub fn no_content() -> Self {
        let mut reply = Self::new(StatusCode::NO_CONTENT, "application/json", String::new());
        reply.headers.remove(header::CONTENT_TYPE);
        reply
    }

    /// 200 with an HTML page in the language that the browser prefers, and its Content-Security-Policy.
    ///
    /// # Panics
    /// If the policy is not a valid header value, which is a defect.
    #[must_use]
    pub fn page(html: String, content_security_policy: &str) -> Self {
        let policy = HeaderValue::from_str(content_security_policy).expect("a policy of visible ASCII");
        Self::new(StatusCode::OK, "text/html; charset=utf-8", html)
            .with(header::CONTENT_SECURITY_POLICY, policy)
            .with(header::VARY, HeaderValue::from_static("accept-language"))
    }

    /// Lets every cache keep this reply for `max_age`. Caches keep one copy for each origin, because API Gateway adds the caller's origin
    /// (`Access-Control-Allow-Origin`).
    ///
    /// # Panics
    /// Never: a number is visible ASCII.
    #[must_use]
    pub fn cacheable(self, max_age: Duration) -> Self {
        let value = HeaderValue::try_from(format!("public, max-age={}", max_age.as_secs()));
        self.with(header::CACHE_CONTROL, value.expect("visible ASCII"))
            .with(header::VARY, HeaderValue::from_static("origin"))
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self::new(status, "application/json", serde_json::to_string(body).expect("a struct of strings and numbers"))
    }

    /// A reply with the default headers: it is not cached, its type is not guessed, and its URL is not sent as a referrer (OWASP REST Security and
    /// HTTP Headers cheat sheets). HSTS lasts two years.
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

impl From<&ApiError> for Reply {
    fn from(error: &ApiError) -> Self {
        #[derive(Serialize)]
        struct Refusal {
            message: String,
            code: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            help: Option<&'static str>,
        }
        let refusal = Refusal { message: error.to_string(), code: error.code(), help: error.help() };
        let mut reply = Self::json(error.status(), &refusal);
        if let Some(challenge) = error.challenge() {
            reply = reply.with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = error.retry_after() {
            reply = reply.with(header::RETRY_AFTER, seconds.into());
        }
        reply
    }
}

impl From<Reply> for ApiGatewayV2httpResponse {
    fn from(reply: Reply) -> Self {
        let mut response = Self::default();
        response.status_code = reply.status.as_u16().into();
        response.headers = reply.headers;
        response.body = Some(Body::from(reply.body));
        response
    }
}
