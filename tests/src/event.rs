//! HTTP as API Gateway hands it to a function: payload format 2.0 of an HTTP API.

use axum::http::{HeaderMap, Uri};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::documents::Route;

/// The header by which a [`crate::Person`] tells this gateway where they are.
pub(crate) const SOURCE: &str = "x-harness-source";

/// The event of one request. A body that is no UTF-8 travels as base64; so does any other, where `base64` asks for it, as API
/// Gateway does with media types it takes for binary.
pub(crate) fn of(
    route: &Route,
    token: Option<&str>,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    request_id: &str,
) -> Value {
    // Where a test says it comes from; API Gateway knows by itself.
    let source = headers.get(SOURCE).map_or("203.0.113.7", |source| source.to_str().expect("an address"));
    let mut lower_case = Map::new();
    for name in headers.keys().filter(|name| *name != SOURCE) {
        // API Gateway joins what came more than once.
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        lower_case.insert(name.as_str().to_owned(), values.join(",").into());
    }
    let (body, is_base64) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (STANDARD.encode(body), true),
    };
    let route_key = format!("{} {}", route.method, route.path);
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": uri.path(),
        "rawQueryString": uri.query().unwrap_or_default(),
        "headers": lower_case,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": {
                "method": route.method,
                "path": uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": source,
                "userAgent": "tests",
            },
            "requestId": request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": "23/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_435_200_000_u64,
        },
        "isBase64Encoded": is_base64,
    });
    if !body.is_empty() {
        event["body"] = body.into();
    }
    if let Some(token) = token {
        event["pathParameters"] = json!({ "token": token });
    }
    event
}
