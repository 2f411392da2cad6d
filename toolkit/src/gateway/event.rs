//! The event that API Gateway creates from an HTTP request (payload format 2.0 of an HTTP API).

use std::{collections::BTreeMap, time::Duration};

use axum::http::{HeaderMap, HeaderName, Uri, header::USER_AGENT};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::format_description};
use url::form_urlencoded;

use crate::route::Route;

/// A request, and the route that it matches.
pub(super) struct MatchedRequest<'a> {
    pub(super) route: &'a Route,
    /// The values of the path's parameters.
    pub(super) parameters: &'a BTreeMap<String, String>,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) id: &'a str,
    /// The domain name of the API.
    pub(super) domain_name: &'a str,
    /// The client's IP address.
    pub(super) source: &'a str,
    /// The time of the request, since 1970-01-01 UTC.
    pub(super) time: Duration,
}

/// The event of a request. A body that is not UTF-8 is encoded as base64.
pub(super) fn of(request: &MatchedRequest) -> Value {
    let MatchedRequest { route, uri, headers, .. } = *request;
    let route_key = format!("{} {}", route.method, route.path);
    let (body, is_base64) = match str::from_utf8(request.body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (STANDARD.encode(request.body), true),
    };
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": uri.path(),
        "rawQueryString": uri.query().unwrap_or_default(),
        "headers": headers.keys().map(|name| (name.as_str(), joined(headers, name))).collect::<BTreeMap<_, _>>(),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": request.domain_name,
            "domainPrefix": request.domain_name.split('.').next(),
            "http": {
                "method": route.method,
                "path": uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": request.source,
                "userAgent": joined(headers, &USER_AGENT),
            },
            "requestId": request.id,
            "routeKey": route_key,
            "stage": "$default",
            "time": common_log_time(request.time),
            "timeEpoch": u64::try_from(request.time.as_millis()).unwrap_or(u64::MAX),
        },
        "isBase64Encoded": is_base64,
    });
    if !body.is_empty() {
        event["body"] = body.into();
    }
    if !request.parameters.is_empty() {
        event["pathParameters"] = json!(request.parameters);
    }
    if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
        event["queryStringParameters"] = json!(query_parameters(query));
    }
    event
}

/// The values of a header. API Gateway joins the values of a header that was sent more than once.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    values.collect::<Vec<_>>().join(",")
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::<String, String>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let known = parameters.entry(name.into_owned());
        known.and_modify(|known| *known = format!("{known},{value}")).or_insert_with(|| value.clone().into_owned());
    }
    parameters
}

/// The time as API Gateway writes it, such as `23/Nov/2026:12:00:00 +0000`.
fn common_log_time(time: Duration) -> String {
    let format = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    (OffsetDateTime::UNIX_EPOCH + time).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn event(uri: &str, headers: &[(&'static str, &'static str)], body: &[u8]) -> Value {
        let route = Route {
            method: "POST".to_owned(),
            path: "/api/reset-password/{token}".to_owned(),
            function: "reset-password".to_owned(),
            authorizer: None,
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        of(&MatchedRequest {
            route: &route,
            parameters: &BTreeMap::from([("token".to_owned(), "abc".to_owned())]),
            uri: &uri.parse().expect("a URI"),
            headers: &map,
            body,
            id: "id",
            domain_name: "api.example.com",
            source: "203.0.113.7",
            time: Duration::from_secs(1_795_435_201),
        })
    }

    #[test]
    fn an_event_has_the_fields_of_the_request() {
        let headers = [("x-a", "1"), ("x-a", "2"), ("user-agent", "curl")];
        let event = event("/api/reset-password/abc?a=1&b=%20&a=2", &headers, b"{}");
        assert_eq!(event["rawQueryString"], "a=1&b=%20&a=2");
        assert_eq!(event["queryStringParameters"], json!({ "a": "1,2", "b": " " }));
        assert_eq!(event["pathParameters"], json!({ "token": "abc" }));
        assert_eq!(event["headers"], json!({ "x-a": "1,2", "user-agent": "curl" }));
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{}"), &json!(false)));
        let context = &event["requestContext"];
        assert_eq!(context["routeKey"], "POST /api/reset-password/{token}");
        assert_eq!(context["time"], "23/Nov/2026:12:00:01 +0000");
        assert_eq!((&context["domainPrefix"], &context["http"]["userAgent"]), (&json!("api"), &json!("curl")));
    }

    #[test]
    fn a_body_that_is_not_utf_8_is_base64_and_an_empty_one_is_absent() {
        let binary = event("/", &[], b"\xff");
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
        assert!(event("/", &[], b"").get("body").is_none());
    }
}
