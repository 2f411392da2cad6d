//! HTTP rules that hold for several endpoints: bodies, bearer tokens, malformed events and response headers.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use tests::{Stack, Store::PostgreSql, database::TestDatabase, documents, sample_event};

const WITH_BODY: [&str; 4] = ["/api/signup", "/api/signin", "/api/forgot-password", "/api/reset-password/x"];

const BEARER: [(Method, &str); 3] =
    [(Method::GET, "/api/dashboard"), (Method::POST, "/api/logout"), (Method::POST, "/api/refresh")];

#[tokio::test]
async fn a_body_that_is_not_declared_as_json_is_refused() {
    let stack = Stack::start().await;
    for path in WITH_BODY {
        for content_type in
            [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx")]
        {
            let reply = stack.send(Method::POST, path, |request| match content_type {
                Some(content_type) => request.header("content-type", content_type).body("{}"),
                None => request.body("{}"),
            });
            reply.await.assert_refused(415, "unsupported_media_type", "Content-Type must be application/json");
        }
    }
}

// Requirement 23.
#[tokio::test]
async fn a_body_that_is_not_one_json_object_is_refused() {
    let stack = Stack::start().await;
    let deep = format!("{{\"a\":{}}}", "[".repeat(10_000));
    let bodies: [&[u8]; 13] = [
        b"",
        b"[]",
        b"[\"a\",\"b\",\"c\"]",
        b"1",
        b"null",
        b"true",
        b"\"x\"",
        b"{} {}",
        b"{}x",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\\ud800\"}",
        deep.as_bytes(),
    ];
    for path in WITH_BODY {
        for body in bodies {
            let reply = stack.send(Method::POST, path, |request| {
                request.header("content-type", "application/json").body(body.to_vec())
            });
            reply.await.assert_refused(400, "invalid_json", "Invalid JSON payload");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_parsed() {
    let stack = Stack::start().await;
    // 2.9 MiB of JSON that would need hundreds of megabytes when parsed, and a binary body, which API Gateway encodes in base64.
    let many = format!(r#"{{"email":"a@example.com","a":[{}{{}}]}}"#, r#"{"":0},"#.repeat(430_000));
    let binary = [br#"{"a":""#.as_slice(), b"\xff\"}", " ".repeat(3_000_000).as_bytes()].concat();
    for path in WITH_BODY {
        for body in [many.clone().into_bytes(), binary.clone(), " ".repeat(16 * 1024 + 1).into_bytes()] {
            let reply = stack.send(Method::POST, path, |request| {
                request.header("content-type", "application/json").body(body.clone())
            });
            reply.await.assert_refused(413, "payload_too_large", "Request body too large");
        }
    }
    #[cfg(target_os = "linux")]
    for function in ["signup", "signin", "forgot-password", "reset-password"] {
        for process in stack.processes(function) {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
            assert!(peak.parse::<u64>().unwrap() < 64 * 1024, "{function} took {peak} kB");
        }
    }
}

#[tokio::test]
async fn the_json_content_type_may_have_parameters_and_any_case() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    for content_type in ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"] {
        let reply = stack.send(Method::POST, "/api/signin", |request| {
            let body = json!({ "email": ada.email, "password": ada.password }).to_string();
            request.header("content-type", content_type).body(body)
        });
        assert_eq!(reply.await.status, 200, "{content_type}");
    }
}

// Requirement 40.
#[tokio::test]
async fn bearer_endpoints_answer_with_a_challenge() {
    let stack = Stack::start().await;
    for (method, path) in BEARER {
        let reply = stack.send(method.clone(), path, |request| request).await;
        reply.assert_refused(401, "missing_authorization", "Missing Authorization Header");
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Bearer"),
            "the challenge names no error if no token was sent"
        );
        for (credentials, challenge) in [
            ("Bearer", "Bearer"),
            ("Basic dTpw", "Bearer"),
            ("x", "Bearer"),
            ("Bearer x", r#"Bearer error="invalid_token""#),
            ("Bearer a.b.c", r#"Bearer error="invalid_token""#),
            ("Bearer a.b.c, Bearer d.e.f", r#"Bearer error="invalid_token""#),
        ] {
            let reply = stack.send(method.clone(), path, |request| request.header("authorization", credentials)).await;
            reply.assert_refused(401, "invalid_token", "Invalid token");
            assert_eq!(reply.header("www-authenticate"), Some(challenge), "{credentials}");
        }
    }
}

#[tokio::test]
async fn the_bearer_scheme_is_case_insensitive() {
    let stack = Stack::start().await;
    let tokens = stack.user("Ada").await.signs_in().await;
    for scheme in ["bearer", "BEARER", "Bearer"] {
        let credentials = format!("{scheme} {}", tokens.access);
        let reply = stack.send(Method::GET, "/api/dashboard", |request| request.header("authorization", credentials));
        assert_eq!(reply.await.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn refresh_and_logout_ignore_the_body_and_its_content_type() {
    let stack = Stack::start().await;
    let tokens = stack.user("Ada").await.signs_in().await;
    for (path, token) in [("/api/refresh", &tokens.refresh), ("/api/logout", &tokens.access)] {
        let reply = stack.send(Method::POST, path, |request| {
            request.bearer_auth(token).header("content-type", "text/plain").body("[not json")
        });
        assert_eq!(reply.await.status, 200, "{path}");
    }
}

// Requirement 24.
#[tokio::test]
async fn odd_paths_query_strings_and_headers_cause_no_error() {
    let stack = Stack::start().await;
    for function in ["welcome", "public", "reset-password-page", "link-pages", "dashboard"] {
        let sample = sample_event(function);
        for (field, value) in [
            ("/rawQueryString", json!("q=\"x\" <>\u{7f}")),
            ("/headers/host", json!("user@x:99999 y")),
            ("/headers/x-forwarded-proto", json!("https, http")),
            ("/headers/x-forwarded-for", json!("\u{1f40e}")),
            ("/rawPath", json!("//%zz?#[")),
            ("/queryStringParameters", json!({ "q": "\"" })),
        ] {
            let mut event = sample.clone();
            let (parent, name) = field.rsplit_once('/').unwrap();
            event.pointer_mut(parent).unwrap()[name] = value;
            let answer =
                stack.invoke(function, &event).await.unwrap_or_else(|error| panic!("{function} {field}: {error}"));
            let expected = if function == "dashboard" { 401 } else { 200 };
            assert_eq!(answer["statusCode"], expected, "{function} {field}");
        }
    }
}

// Requirement 24.
#[tokio::test]
async fn a_malformed_event_is_answered_with_500() {
    let stack = Stack::start().await;
    for event in [json!({}), json!([]), json!("x"), json!({ "headers": 1 })] {
        let answer = stack.invoke("signin", &event).await.expect("the function answers");
        assert_eq!(answer["statusCode"], 500, "{event}");
        assert_eq!(answer["body"], r#"{"message":"Internal server error","code":"internal_error"}"#);
    }
}

#[tokio::test]
async fn invalid_headers_are_refused() {
    let stack = Stack::start().await;
    for (name, value) in [("x-a", json!("a\r\nb")), ("x a", json!("b")), ("", json!("b")), ("x-a", json!(1))] {
        for function in ["signin", "dashboard", "public"] {
            let mut event = sample_event(function);
            event["headers"][name] = value.clone();
            let answer = stack.invoke(function, &event).await.expect("the function answers");
            assert_eq!(answer["statusCode"], 400, "{name}: {value}");
            assert_eq!(answer["body"], r#"{"message":"Invalid headers","code":"invalid_headers"}"#);
        }
        let mut event = sample_event("authorizer");
        event["headers"][name] = value.clone();
        assert_eq!(stack.invoke("authorizer", &event).await.unwrap()["isAuthorized"], false);
    }
}

/// `Stack::send` asserts the headers of every answer. This test causes answers with the statuses in its last line.
// Requirement 41.
#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let mut seen = BTreeSet::new();
    for route in documents::routes_without_authorizer() {
        let path = route.example_path();
        seen.insert(stack.send(route.method.parse().unwrap(), &path, |request| request).await.status);
    }
    let ada = stack.stranger("Ada");
    seen.insert(ada.signs_up().await.status);
    seen.insert(ada.signs_up().await.status);
    let tokens = ada.signs_in().await;
    stack.sessions().set_refresh_count(60).await;
    seen.insert(ada.refreshes(&tokens.refresh).await.status);
    stack.sql("DELETE FROM users").await;
    seen.insert(ada.dashboard(&tokens.access).await.status);
    stack.sql("ALTER TABLE throttle RENAME TO elsewhere").await;
    seen.insert(ada.tries_to_sign_in().await.status);
    let nowhere = Stack::builder().with("DATABASE_URL", "postgres://nobody:nothing@127.0.0.1:9/none");
    let nowhere = nowhere.with_unprepared_database(TestDatabase::empty().await).start().await;
    seen.insert(nowhere.stranger("Ada").tries_to_sign_in().await.status);
    assert_eq!(seen, BTreeSet::from([200, 201, 400, 401, 404, 415, 429, 500, 503]));
}
