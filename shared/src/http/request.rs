//! Reading a request.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_http::{
    aws_lambda_events::apigw::{ApiGatewayV2CustomAuthorizerV2Request, ApiGatewayV2httpRequest},
    http::{HeaderName, header},
};
use rand::CryptoRng;
use serde_json::Value;

use super::{
    Caller,
    fields::{self, Field},
};
use crate::{
    domain::{Locale, SessionId, Source, UnixMillis, UnixTime, UserId},
    error::ApiError,
    security::{LinkToken, LinkTokenHash, policy},
    system,
};

/// A request: the event and the time of its arrival. It also gives access to the system's random number generator.
///
/// The event is read directly. `lambda_http` would first make a URL from the event, and it panics at some query strings (version 1.3.2). See
/// `docs/decisions/0005-events-are-read-as-they-are.md`.
pub struct Request {
    event: ApiGatewayV2httpRequest,
    arrived_at: UnixMillis,
}

impl Request {
    /// A request that arrived at this time, by the function's clock.
    #[must_use]
    pub fn new(event: ApiGatewayV2httpRequest, arrived_at: UnixMillis) -> Self {
        Self { event, arrived_at }
    }

    /// A request that an authorizer decides about. It has no body.
    #[must_use]
    pub fn to_authorize(question: ApiGatewayV2CustomAuthorizerV2Request, arrived_at: UnixMillis) -> Self {
        let mut event = ApiGatewayV2httpRequest::default();
        event.headers = question.headers;
        event.request_context = question.request_context;
        Self::new(event, arrived_at)
    }

    /// When the request arrived, by the function's clock. Use it only for tokens, for challenges of passkeys, and for what DynamoDB stores. Everything in
    /// PostgreSQL uses PostgreSQL's clock.
    #[must_use]
    pub fn arrived_at(&self) -> UnixMillis {
        self.arrived_at
    }

    /// [`Self::arrived_at`] in whole seconds.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.arrived_at.seconds()
    }

    /// The system's random number generator.
    #[must_use]
    pub fn rng(&self) -> impl CryptoRng {
        system::rng()
    }

    /// The text fields of these names in the body. A field that is missing, empty or not a string is `None`. Other fields are skipped.
    ///
    /// # Errors
    /// If the body is not declared as JSON, is longer than [`policy::BODY_MAX_BYTES`], or is not one JSON object.
    pub fn texts<const N: usize>(&self, names: [&str; N]) -> Result<[Option<String>; N], ApiError> {
        Ok(self.fields(names)?.map(Field::text))
    }

    /// Like [`Self::texts`], for fields that may be missing. A field that is empty or not a string is refused.
    ///
    /// # Errors
    /// As [`Self::texts`]. [`ApiError::MissingRequiredFields`] if a field is empty or not a string.
    pub fn optional_texts<const N: usize>(&self, names: [&str; N]) -> Result<[Option<String>; N], ApiError> {
        let fields = self.fields(names)?;
        if fields.contains(&Field::Other) { Err(ApiError::MissingRequiredFields) } else { Ok(fields.map(Field::text)) }
    }

    /// The field of this name in the body, whatever its value is. `None` if it is missing or null.
    ///
    /// # Errors
    /// As [`Self::texts`].
    pub fn value(&self, name: &str) -> Result<Option<Value>, ApiError> {
        let mut object = self.object()?;
        Ok(object.get_mut(name).map(Value::take).filter(|value| !value.is_null()))
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Self::texts`].
    pub fn object(&self) -> Result<Value, ApiError> {
        let object: Value = serde_json::from_slice(&self.json()?).map_err(|_| ApiError::InvalidJson)?;
        if object.is_object() { Ok(object) } else { Err(ApiError::InvalidJson) }
    }

    fn fields<const N: usize>(&self, names: [&str; N]) -> Result<[Field; N], ApiError> {
        fields::fields(&self.json()?, names).map_err(|_| ApiError::InvalidJson)
    }

    /// The bytes of a body that is declared as JSON.
    fn json(&self) -> Result<Cow<'_, [u8]>, ApiError> {
        let declared = self.header(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
        if !declared.trim().eq_ignore_ascii_case("application/json") {
            return Err(ApiError::UnsupportedMediaType);
        }
        self.body()
    }

    /// The body's bytes. A body that is too long is refused before it is decoded.
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

    /// The bearer token of the Authorization header (RFC 6750 §2.1). The scheme is case-insensitive (RFC 9110 §11.1).
    ///
    /// # Errors
    /// If there is no such header, or if it has another scheme.
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

    /// The `{id}` of the path, as API Gateway matched it.
    #[must_use]
    pub fn path_id(&self) -> Option<&str> {
        self.event.path_parameters.get("id").map(String::as_str)
    }

    /// The hash of the token in the path of a link.
    ///
    /// # Errors
    /// [`ApiError::InvalidOrExpiredToken`] if the path parameter `token` does not have the form of a token.
    pub fn link_token(&self) -> Result<LinkTokenHash, ApiError> {
        let token = self.path_token().and_then(LinkToken::parse).ok_or(ApiError::InvalidOrExpiredToken)?;
        Ok(token.hash())
    }

    /// The route that API Gateway chose, such as `DELETE /api/sessions/{id}`. A function with several routes decides by it what to do.
    #[must_use]
    pub fn route(&self) -> &str {
        self.event.route_key.as_deref().unwrap_or_default()
    }

    /// The first [`policy::USER_AGENT_LENGTH`] characters of the User-Agent header. `None` if it is missing or not ASCII.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        let text = self.header(header::USER_AGENT)?;
        Some(text.get(..policy::USER_AGENT_LENGTH).unwrap_or(text))
    }

    /// The language that the Accept-Language header prefers, or `default`.
    #[must_use]
    pub fn locale(&self, default: Locale) -> Locale {
        Locale::preferred(self.header(header::ACCEPT_LANGUAGE).unwrap_or_default(), default)
    }

    /// The host name at which API Gateway received the request. It does not depend on the client's headers.
    #[must_use]
    pub fn domain_name(&self) -> Option<&str> {
        self.event.request_context.domain_name.as_deref()
    }

    /// The Host header. `None` if it is missing or not ASCII.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.header(header::HOST)
    }

    /// The network that the request came from, as API Gateway saw it. Headers such as `X-Forwarded-For` are not used, because the client chooses
    /// them.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::of(self.event.request_context.http.source_ip.as_deref())
    }

    /// The user and the session that the route's authorizer let through.
    ///
    /// # Errors
    /// If the route has no authorizer, which is a defect.
    pub fn caller(&self) -> Result<Caller, ApiError> {
        let context = self.event.request_context.authorizer.as_ref().map(|authorizer| &authorizer.fields);
        let text = |name: &str| context?.get(name)?.as_str();
        let caller =
            || Some(Caller { sub: UserId(text("sub")?.parse().ok()?), sid: SessionId(text("sid")?.parse().ok()?) });
        caller().ok_or_else(|| ApiError::Internal("the route has no authorizer".into()))
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.event.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{prelude::*, property_test};

    use lambda_http::http::HeaderValue;

    use super::*;
    use crate::arbitrary;

    fn request(headers: &[(&str, &str)], body: &[u8]) -> Request {
        let event = serde_json::json!({
            "headers": headers.iter().copied().collect::<BTreeMap<_, _>>(),
            "body": STANDARD.encode(body),
            "isBase64Encoded": true,
            "requestContext": { "http": { "method": "POST" } },
        });
        Request::new(serde_json::from_value(event).unwrap(), UnixMillis(0))
    }

    /// The field `a` of a body with this Content-Type, or the code of the refusal.
    fn read(content_type: &str, body: impl AsRef<[u8]>) -> Result<Option<String>, &'static str> {
        let request = request(&[("content-type", content_type)], body.as_ref());
        request.texts(["a"]).map(|[a]| a).map_err(|error| error.code())
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
    fn a_body_with_invalid_base64_is_refused() {
        let mut request = request(&[("content-type", "application/json")], b"{}");
        request.event.body = Some("{}".to_owned());
        assert_eq!(request.texts(["a"]).unwrap_err().code(), "invalid_json");
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
            assert_eq!(plain.texts(["a"]).err().map(|error| error.code()), refusal, "{bytes} plain");
        }
    }

    #[test]
    fn the_bearer_scheme_is_case_insensitive_and_a_header_of_another_form_has_no_token() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(authorized(value).as_deref(), Ok("a.b.c"), "{value}");
        }
        for value in ["", "Bearer", "Bearer ", "a.b.c", "Basic dTpw", "Bearer\ta.b.c"] {
            assert_eq!(authorized(value), Err(Some("Bearer")), "{value}");
        }
        // These tokens are invalid, but the header has the scheme Bearer and a token.
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
    fn parameters_of_the_content_type_are_ignored(
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
    fn a_bearer_token_is_read_unchanged_and_other_schemes_are_refused(
        #[strategy = "(?i:bearer) {1,3}"] bearer: String,
        #[strategy = "[!-~]{1,40}"] token: String,
        #[strategy = "[!-~]{0,10}"] scheme: String,
    ) {
        assert_eq!(authorized(&format!("{bearer}{token}")), Ok(token.clone()));
        prop_assume!(!scheme.eq_ignore_ascii_case("bearer"));
        assert_eq!(authorized(&format!("{scheme} {token}")), Err(Some("Bearer")));
    }
}
