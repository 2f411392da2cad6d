//! Reading a request and writing a reply, at API Gateway's HTTP API (payload format 2.0).

mod fields;

use std::{borrow::Cow, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_http::{
    Body,
    aws_lambda_events::apigw::{
        ApiGatewayV2CustomAuthorizerV2Request, ApiGatewayV2httpRequest, ApiGatewayV2httpResponse,
    },
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
};
use rand::CryptoRng;
use serde::Serialize;

use crate::{
    domain::{SessionId, UnixTime, UserId},
    error::ApiError,
    security::{Source, policy, token::Verified},
    system,
};

/// What a handler gets of the outside world: the event, the time it arrived, and randomness.
///
/// The event is read as it is. `lambda_http` would make a URL of it first, which nothing here needs, and panics where a query string
/// is none (1.3.2); see `docs/decisions/0005-events-are-read-as-they-are.md`.
pub struct Request {
    event: ApiGatewayV2httpRequest,
    now: UnixTime,
}

impl Request {
    /// A request that arrived at `now`.
    #[must_use]
    pub fn new(event: ApiGatewayV2httpRequest, now: UnixTime) -> Self {
        Self { event, now }
    }

    /// A request that an authorizer is to decide about. It has no body.
    #[must_use]
    pub fn to_authorize(question: ApiGatewayV2CustomAuthorizerV2Request, now: UnixTime) -> Self {
        let mut event = ApiGatewayV2httpRequest::default();
        event.headers = question.headers;
        event.request_context = question.request_context;
        Self::new(event, now)
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

    /// The texts of these names in the body, which must be one JSON object, declared as JSON (parameters such as a charset allowed), and at
    /// most [`policy::BODY_MAX_BYTES`] long. A field that is no string, or an empty one, is `None`. Other fields are skipped.
    pub fn texts<const N: usize>(&self, names: [&str; N]) -> Result<[Option<String>; N], ApiError> {
        let declared = self.header(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
        if !declared.trim().eq_ignore_ascii_case("application/json") {
            return Err(ApiError::UnsupportedMediaType);
        }
        fields::texts(&self.body()?, names).map_err(|_| ApiError::InvalidJson)
    }

    /// The body's bytes. Nothing longer than it may be is decoded.
    fn body(&self) -> Result<Cow<'_, [u8]>, ApiError> {
        const ENCODED_MAX_BYTES: usize = policy::BODY_MAX_BYTES.div_ceil(3) * 4;
        let text = self.event.body.as_deref().unwrap_or_default();
        let (max, body) = if self.event.is_base64_encoded {
            (ENCODED_MAX_BYTES, None)
        } else {
            (policy::BODY_MAX_BYTES, Some(Cow::Borrowed(text.as_bytes())))
        };
        if text.len() > max {
            return Err(ApiError::PayloadTooLarge);
        }
        let body = body.map_or_else(|| STANDARD.decode(text).map(Cow::Owned), Ok).map_err(|_| ApiError::InvalidJson)?;
        if body.len() > policy::BODY_MAX_BYTES { Err(ApiError::PayloadTooLarge) } else { Ok(body) }
    }

    /// The bearer token of the Authorization header (RFC 6750 §2.1; the scheme's name is case-insensitive, RFC 9110 §11.1).
    pub fn bearer_token(&self) -> Result<&str, ApiError> {
        let credentials = self.event.headers.get(header::AUTHORIZATION).ok_or(ApiError::MissingAuthorization)?;
        let text = std::str::from_utf8(credentials.as_bytes()).unwrap_or_default().trim_ascii();
        let (scheme, token) = text.split_once(' ').unwrap_or_default();
        if scheme.eq_ignore_ascii_case("Bearer") {
            Ok(token.trim_start_matches(' '))
        } else {
            Err(ApiError::NoBearerToken)
        }
    }

    /// The `{token}` of the path, as API Gateway matched it.
    #[must_use]
    pub fn path_token(&self) -> Option<&str> {
        self.event.path_parameters.get("token").map(String::as_str)
    }

    /// The host API Gateway received the request on, from its own `requestContext`: no header the client sent has a say.
    #[must_use]
    pub fn domain_name(&self) -> Option<&str> {
        self.event.request_context.domain_name.as_deref()
    }

    /// The Host header; `None` if it is missing or is not ASCII text.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.header(header::HOST)
    }

    /// Where the request comes from, as API Gateway saw it. `X-Forwarded-For` and its kin are the client's own words.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::of(self.event.request_context.http.source_ip.as_deref())
    }

    /// Whom the authorizer in front of this route let through, as API Gateway hands it on.
    ///
    /// # Errors
    /// Where the route has no such authorizer, which is a defect, and must let nobody through.
    pub fn caller(&self) -> Result<Caller, ApiError> {
        let passed_on = self.event.request_context.authorizer.as_ref().map(|authorizer| &authorizer.fields);
        let text = |name: &str| passed_on?.get(name)?.as_str();
        let caller =
            || Some(Caller { sub: UserId(text("sub")?.parse().ok()?), sid: SessionId(text("sid")?.parse().ok()?) });
        caller().ok_or_else(|| ApiError::Internal("no authorizer stands in front of this route".into()))
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.event.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Who makes a request that an authorizer let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub sub: UserId,
    /// The session they are signed in with.
    pub sid: SessionId,
}

/// What an authorizer answers API Gateway: payload format 2.0, simple response. The context is what the route's function gets to see.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    is_authorized: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<AuthorizationContext>,
}

#[derive(Debug, Serialize)]
struct AuthorizationContext {
    sub: String,
    sid: SessionId,
}

impl Authorization {
    /// Lets the bearer of a token through.
    #[must_use]
    pub fn of(token: Verified) -> Self {
        let context = AuthorizationContext { sub: token.user_id.to_string(), sid: token.session_id };
        Self { is_authorized: true, context: Some(context) }
    }

    /// Lets nobody through.
    #[must_use]
    pub fn denied() -> Self {
        Self { is_authorized: false, context: None }
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

    /// The same answer for everybody, good to keep for that long: for each origin of its own, because the gateway names the
    /// caller's in it (`Access-Control-Allow-Origin`).
    ///
    /// # Panics
    /// Never: a number is visible ASCII.
    #[must_use]
    pub fn cacheable(self, max_age: Duration) -> Self {
        let value = HeaderValue::try_from(format!("public, max-age={}", max_age.as_secs()));
        self.with(header::CACHE_CONTROL, value.expect("visible ASCII"))
            .with(header::VARY, HeaderValue::from_static("origin"))
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self::new(status, "application/json", serde_json::to_string(body).expect("a struct of strings and numbers"))
    }

    /// Unless it says otherwise, an answer is for this caller, now, as the type it says: never cached, sniffed or told onward by a referrer
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

impl From<&ApiError> for Reply {
    fn from(error: &ApiError) -> Self {
        #[derive(Serialize)]
        struct Refusal {
            message: String,
            code: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            help: Option<&'static str>,
        }
        let (status, code) = error.status_and_code();
        let mut reply = Self::json(status, &Refusal { message: error.to_string(), code, help: error.help() });
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

impl Reply {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{prelude::*, property_test};

    use super::*;
    use crate::arbitrary;

    fn request(headers: &[(&str, &str)], body: &[u8]) -> Request {
        let event = serde_json::json!({
            "headers": headers.iter().copied().collect::<BTreeMap<_, _>>(),
            "body": STANDARD.encode(body),
            "isBase64Encoded": true,
            "requestContext": { "http": { "method": "POST" } },
        });
        Request::new(serde_json::from_value(event).unwrap(), UnixTime(0))
    }

    /// The field `a` of a body that says it is JSON, or the code of the refusal.
    fn read(content_type: &str, body: impl AsRef<[u8]>) -> Result<Option<String>, &'static str> {
        let request = request(&[("content-type", content_type)], body.as_ref());
        request.texts(["a"]).map(|[a]| a).map_err(|error| error.status_and_code().1)
    }

    fn authorized(value: &str) -> Result<String, Option<&'static str>> {
        let request = request(&[("authorization", value)], b"");
        request.bearer_token().map(str::to_owned).map_err(|error| error.challenge())
    }

    #[test]
    fn a_json_content_type_may_carry_parameters_and_any_case() {
        for content_type in
            ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json ;x=y"]
        {
            assert!(read(content_type, "{}").is_ok(), "{content_type}");
        }
    }

    #[test]
    fn another_content_type_is_refused_before_the_body_is_read() {
        for content_type in
            ["", "text/plain", "application/jsonp", "application/json, text/plain", "x application/json"]
        {
            assert_eq!(read(content_type, "not json").unwrap_err(), "unsupported_media_type", "{content_type}");
        }
    }

    #[test]
    fn a_body_that_is_not_the_base64_it_says_it_is_is_refused() {
        let mut request = request(&[("content-type", "application/json")], b"{}");
        request.event.body = Some("{}".to_owned());
        assert_eq!(request.texts(["a"]).unwrap_err().status_and_code().1, "invalid_json");
    }

    #[test]
    fn a_body_may_have_16_kib_whether_or_not_the_gateway_encodes_it() {
        let body = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        for (bytes, refusal) in
            [(16 * 1024, None), (16 * 1024 + 1, Some("payload_too_large")), (6_000_000, Some("payload_too_large"))]
        {
            assert_eq!(read("application/json", body(bytes)).err(), refusal, "{bytes} encoded");
            let mut plain = request(&[("content-type", "application/json")], b"");
            (plain.event.body, plain.event.is_base64_encoded) = (Some(body(bytes)), false);
            assert_eq!(plain.texts(["a"]).err().map(|error| error.status_and_code().1), refusal, "{bytes} plain");
        }
    }

    #[test]
    fn the_bearer_scheme_is_case_insensitive_and_nothing_else_is_a_token() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(authorized(value).as_deref(), Ok("a.b.c"), "{value}");
        }
        for value in ["", "Bearer", "Bearer ", "a.b.c", "Basic dTpw", "Bearer\ta.b.c"] {
            assert_eq!(authorized(value), Err(Some("Bearer")), "{value}");
        }
        // Somebody did send a token, whatever it is.
        for token in ["é", "\u{a0}a.b.c", "a.b.c\u{a0}"] {
            assert_eq!(authorized(&format!("Bearer {token}")).as_deref(), Ok(token));
        }
    }

    #[property_test]
    fn a_body_is_the_same_whether_or_not_the_gateway_encodes_it(#[strategy = arbitrary::text()] text: String) {
        let body = serde_json::json!({ "a": text }).to_string();
        let mut request = request(&[("content-type", "application/json")], body.as_bytes());
        let encoded = request.texts(["a"]).unwrap();
        (request.event.body, request.event.is_base64_encoded) = (Some(body), false);
        assert_eq!(request.texts(["a"]).unwrap(), encoded);
        assert_eq!(encoded, [Some(text).filter(|text| !text.is_empty())]);
    }

    #[property_test]
    fn a_content_type_is_known_by_what_stands_before_its_parameters(
        #[strategy = arbitrary::damaged("application/json")] other: String,
        #[strategy = "[ -~]{0,20}"] parameters: String,
    ) {
        assert!(read(&format!("application/json;{parameters}"), "{}").is_ok());
        let header = HeaderValue::from_str(&other).is_ok();
        let json_after_all = other.split(';').next().unwrap().trim().eq_ignore_ascii_case("application/json");
        prop_assume!(header && !json_after_all);
        assert_eq!(read(&format!("{other};{parameters}"), "{}").unwrap_err(), "unsupported_media_type");
    }

    #[property_test]
    fn a_bearer_token_is_read_as_it_was_sent_and_other_credentials_are_none(
        #[strategy = "(?i:bearer) {1,3}"] bearer: String,
        #[strategy = "[!-~]{1,40}"] token: String,
        #[strategy = "[!-~]{0,10}"] scheme: String,
    ) {
        assert_eq!(authorized(&format!("{bearer}{token}")), Ok(token.clone()));
        prop_assume!(!scheme.eq_ignore_ascii_case("bearer"));
        assert_eq!(authorized(&format!("{scheme} {token}")), Err(Some("Bearer")));
    }
}
