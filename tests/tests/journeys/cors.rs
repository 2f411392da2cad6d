//! Cross-origin requests, and the methods that a route accepts.

use std::collections::BTreeSet;

use reqwest::Method;
use tests::{
    Reply, Stack,
    documents::{self, Route},
    sample_event,
};

const ALLOWED: &str = "http://localhost:3000";
const NOT_ALLOWED: [&str; 9] = [
    "null",
    "*",
    "https://evil.example",
    "https://localhost:3000",
    "http://localhost",
    "http://localhost:30000",
    "http://localhost:3000.evil.example",
    "http://evil.example/http://localhost:3000",
    "http://localhost:3000, https://evil.example",
];

fn cors_headers(reply: &Reply) -> Vec<(&str, &str)> {
    let mut headers: Vec<_> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .filter(|(name, _)| name.starts_with("access-control-"))
        .collect();
    headers.sort_unstable();
    headers
}

async fn preflight(stack: &Stack, path: &str, headers: &[(&str, &str)]) -> Reply {
    let reply = stack.send(Method::OPTIONS, path, |request| {
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    });
    let reply = reply.await;
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    reply
}

// Requirement 44.
#[tokio::test]
async fn only_pages_of_an_allowed_origin_may_read_answers() {
    let stack = Stack::start().await;
    for path in ["/api/public", "/api/dashboard", "/reset-password/x", "/nowhere"] {
        let from = async |origin| stack.send(Method::GET, path, |request| request.header("origin", origin)).await;
        assert_eq!(cors_headers(&from(ALLOWED).await), [("access-control-allow-origin", ALLOWED)], "{path}");
        for origin in NOT_ALLOWED {
            assert_eq!(cors_headers(&from(origin).await), [], "{origin} {path}");
        }
        assert_eq!(cors_headers(&stack.get(path).await), [], "{path}");
    }
}

// Requirement 44.
#[tokio::test]
async fn a_preflight_allows_the_methods_and_headers_of_the_routes_to_allowed_origins_only() {
    let stack = Stack::start().await;
    let (method, headers) = ("access-control-request-method", "access-control-request-headers");
    for route in documents::routes_without_authorizer() {
        let path = route.example_path();
        let request_headers = [("origin", ALLOWED), (method, &route.method), (headers, "authorization,content-type")];
        assert_eq!(
            cors_headers(&preflight(&stack, &path, &request_headers).await),
            [
                ("access-control-allow-headers", "authorization,content-type"),
                ("access-control-allow-methods", "DELETE,GET,PATCH,POST"),
                ("access-control-allow-origin", ALLOWED),
                ("access-control-max-age", "600"),
            ],
            "{path}"
        );
    }
    for origin in NOT_ALLOWED {
        let reply = preflight(&stack, "/api/signin", &[("origin", origin), (method, "POST")]).await;
        assert_eq!(cors_headers(&reply), [], "{origin}");
    }
    for request_headers in [
        &[][..],
        &[(method, "POST")],
        &[("origin", ALLOWED)],
        &[("origin", ALLOWED), (method, "PUT")],
        &[("origin", ALLOWED), (method, "POST"), (headers, "x-admin")],
        &[("origin", ALLOWED), (method, "POST"), (headers, "content-type, x-admin")],
    ] {
        assert_eq!(cors_headers(&preflight(&stack, "/api/signin", request_headers).await), [], "{request_headers:?}");
    }
}

// Requirement 44.
#[tokio::test]
async fn functions_send_no_cors_headers() {
    let stack = Stack::start().await;
    for route in documents::routes_without_authorizer() {
        let mut event = sample_event(&route.function);
        event["headers"]["origin"] = ALLOWED.into();
        let answer = stack.invoke(&route.function, &event).await.unwrap();
        let names = answer["headers"].as_object().unwrap().keys();
        assert_eq!(names.filter(|name| name.starts_with("access-control-")).count(), 0, "{answer}");
    }
}

/// The gateway puts the caller's origin into the answer, so a shared cache must not give the answer for one origin to another.
// Requirement 44.
#[tokio::test]
async fn cacheable_answers_vary_by_origin() {
    let stack = Stack::start().await;
    for route in documents::routes_without_authorizer() {
        let path = route.example_path();
        let reply = stack.send(route.method.parse().unwrap(), &path, |request| request.header("origin", ALLOWED)).await;
        let cacheable = reply.header("cache-control") != Some("no-store");
        assert_eq!(cacheable, route.path.starts_with("/.well-known/"), "{path}");
        let is_page = route.function.ends_with("-page") || route.function == "link-pages";
        let varies = if is_page { Some("accept-language") } else { cacheable.then_some("origin") };
        assert_eq!(reply.header("vary"), varies, "{path}");
    }
}

// Requirement 44.
#[tokio::test]
async fn other_methods_of_a_route_get_404_and_reach_no_function() {
    let stack = Stack::start().await;
    let routes = documents::routes_without_authorizer();
    for path in routes.iter().map(Route::example_path).collect::<BTreeSet<_>>() {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
            if routes.iter().any(|route| route.matches(method, &path).is_some()) {
                continue;
            }
            let reply = stack.send(method.parse().unwrap(), &path, |request| {
                request.header("authorization", "Bearer canary").header("x-canary", "canary")
            });
            let reply = reply.await;
            assert_eq!(reply.status, 404, "{method} {path}");
            assert!(reply.text.is_empty() || reply.text == r#"{"message":"Not Found"}"#, "{}", reply.text);
        }
    }
    assert_eq!(
        stack.logs().matches("answered").count() + stack.logs().matches("refused").count(),
        0,
        "no function was called"
    );
}
