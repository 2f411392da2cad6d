//! What pages of other origins may do, and which requests there are at all.

use reqwest::Method;
use tests::{Reply, Stack, documents};

const ALLOWED: &str = "http://localhost:3000";
const OTHERS: [&str; 9] = [
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
async fn only_pages_of_an_allowed_origin_may_read_what_is_answered() {
    let stack = Stack::start().await;
    for path in ["/api/public", "/api/dashboard", "/reset-password/x", "/nowhere"] {
        let from = async |origin| stack.send(Method::GET, path, |request| request.header("origin", origin)).await;
        assert_eq!(cors_headers(&from(ALLOWED).await), [("access-control-allow-origin", ALLOWED)], "{path}");
        for origin in OTHERS {
            assert_eq!(cors_headers(&from(origin).await), [], "{origin} {path}");
        }
        assert_eq!(cors_headers(&stack.get(path).await), [], "{path}");
    }
}

// Requirement 44.
#[tokio::test]
async fn a_preflight_allows_what_the_routes_need_to_an_allowed_origin_alone() {
    let stack = Stack::start().await;
    let (method, headers) = ("access-control-request-method", "access-control-request-headers");
    for route in documents::routes_without_authorizer() {
        let path = route.path.replace("{token}", "x");
        let asked = [("origin", ALLOWED), (method, &route.method), (headers, "authorization,content-type")];
        assert_eq!(
            cors_headers(&preflight(&stack, &path, &asked).await),
            [
                ("access-control-allow-headers", "authorization,content-type"),
                ("access-control-allow-methods", "GET,POST"),
                ("access-control-allow-origin", ALLOWED),
                ("access-control-max-age", "600"),
            ],
            "{path}"
        );
    }
    for origin in OTHERS {
        let reply = preflight(&stack, "/api/signin", &[("origin", origin), (method, "POST")]).await;
        assert_eq!(cors_headers(&reply), [], "{origin}");
    }
    for asked in [
        &[][..],
        &[(method, "POST")],
        &[("origin", ALLOWED)],
        &[("origin", ALLOWED), (method, "DELETE")],
        &[("origin", ALLOWED), (method, "POST"), (headers, "x-admin")],
        &[("origin", ALLOWED), (method, "POST"), (headers, "content-type, x-admin")],
    ] {
        assert_eq!(cors_headers(&preflight(&stack, "/api/signin", asked).await), [], "{asked:?}");
    }
}

// Requirement 44.
#[tokio::test]
async fn functions_leave_origins_to_the_gateway() {
    let stack = Stack::start().await;
    for route in documents::routes_without_authorizer() {
        let sample = documents::read(&format!("events/{}.json", route.function));
        let mut event: serde_json::Value = serde_json::from_str(&sample).unwrap();
        event["headers"]["origin"] = ALLOWED.into();
        let answer = stack.invoke(&route.function, &event).await.unwrap();
        let names = answer["headers"].as_object().unwrap().keys();
        assert_eq!(names.filter(|name| name.starts_with("access-control-")).count(), 0, "{answer}");
    }
}

/// The gateway names the caller's origin in answers, and a cache between us and them must not hand one origin's to another.
// Requirement 44.
#[tokio::test]
async fn an_answer_that_may_be_kept_is_kept_for_each_origin() {
    let stack = Stack::start().await;
    for route in documents::routes_without_authorizer() {
        let path = route.path.replace("{token}", "x");
        let reply = stack.send(route.method.parse().unwrap(), &path, |request| request.header("origin", ALLOWED)).await;
        let kept = reply.header("cache-control") != Some("no-store");
        assert_eq!(kept, route.path.starts_with("/.well-known/"), "{path}");
        assert_eq!(reply.header("vary"), kept.then_some("origin"), "{path}");
    }
}

// Requirement 44.
#[tokio::test]
async fn every_other_method_of_a_route_is_nowhere_and_tells_nothing() {
    let stack = Stack::start().await;
    for route in documents::routes_without_authorizer() {
        let path = route.path.replace("{token}", "x");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
            if method == route.method {
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
        "nobody was asked"
    );
}
