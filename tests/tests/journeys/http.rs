//! What every endpoint has in common.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use tests::{Stack, database::TestDatabase, documents};

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
    // 2.9 MiB that would become hundreds of megabytes of values; and the same as bytes that API Gateway encodes.
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
    for function in ["signup", "signin", "forgot-password", "reset-password"] {
        for process in stack.processes(function) {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
            assert!(peak.parse::<u64>().unwrap() < 64 * 1024, "{function} took {peak} kB");
        }
    }
}

#[tokio::test]
async fn json_may_be_declared_with_parameters_and_in_any_case() {
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
async fn a_bearer_endpoint_says_what_it_wants() {
    let stack = Stack::start().await;
    for (method, path) in BEARER {
        let reply = stack.send(method.clone(), path, |request| request).await;
        reply.assert_refused(401, "missing_authorization", "Missing Authorization Header");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "no error where no token was sent");
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
async fn bearer_may_be_written_in_any_case() {
    let stack = Stack::start().await;
    let tokens = stack.user("Ada").await.signs_in().await;
    for scheme in ["bearer", "BEARER", "Bearer"] {
        let credentials = format!("{scheme} {}", tokens.access);
        let reply = stack.send(Method::GET, "/api/dashboard", |request| request.header("authorization", credentials));
        assert_eq!(reply.await.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn refresh_and_logout_read_no_body_and_no_content_type() {
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
async fn nothing_a_client_puts_into_a_query_string_or_a_header_is_a_defect() {
    let stack = Stack::start().await;
    for function in ["welcome", "public", "reset-password-page", "dashboard"] {
        let sample: serde_json::Value =
            serde_json::from_str(&documents::read(&format!("events/{function}.json"))).unwrap();
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
async fn an_event_that_is_none_gets_an_answer_all_the_same() {
    let stack = Stack::start().await;
    for event in [json!({}), json!([]), json!("x"), json!({ "headers": 1 })] {
        let answer = stack.invoke("signin", &event).await.expect("an answer, not an error");
        assert_eq!(answer["statusCode"], 500, "{event}");
        assert_eq!(answer["body"], r#"{"message":"Internal server error","code":"internal_error"}"#);
    }
}

#[tokio::test]
async fn headers_that_no_request_can_have_are_refused() {
    let stack = Stack::start().await;
    let sample = |function: &str| -> serde_json::Value {
        serde_json::from_str(&documents::read(&format!("events/{function}.json"))).unwrap()
    };
    for (name, value) in [("x-a", json!("a\r\nb")), ("x a", json!("b")), ("", json!("b")), ("x-a", json!(1))] {
        for function in ["signin", "dashboard", "public"] {
            let mut event = sample(function);
            event["headers"][name] = value.clone();
            let answer = stack.invoke(function, &event).await.expect("an answer, not an error");
            assert_eq!(answer["statusCode"], 400, "{name}: {value}");
            assert_eq!(answer["body"], r#"{"message":"Invalid headers","code":"invalid_headers"}"#);
        }
        let mut event = sample("authorizer");
        event["headers"][name] = value.clone();
        assert_eq!(stack.invoke("authorizer", &event).await.unwrap()["isAuthorized"], false);
    }
}

#[tokio::test]
async fn a_statement_nobody_waits_for_any_more_takes_no_effect() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let mut rival = stack.database.connect().await;
    let lock = rival.transaction().await.unwrap();
    lock.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    let reply = ada.refreshes(&tokens.refresh).await;
    reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
    lock.rollback().await.unwrap();
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 200, "the token has not been used");
    assert_eq!(stack.sql_number("SELECT count(*) FROM sessions WHERE previous_refresh_id IS NOT NULL").await, 1);
}

/// The harness looks at the headers of every answer; here is one of each status that there is.
// Requirement 41.
#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let stack = Stack::start().await;
    let mut seen = BTreeSet::new();
    for route in documents::routes_without_authorizer() {
        let path = route.path.replace("{token}", "x");
        seen.insert(stack.send(route.method.parse().unwrap(), &path, |request| request).await.status);
    }
    let ada = stack.stranger("Ada");
    seen.insert(ada.signs_up().await.status);
    seen.insert(ada.signs_up().await.status);
    let tokens = ada.signs_in().await;
    stack.sql("UPDATE sessions SET refreshes = 60").await;
    seen.insert(ada.refreshes(&tokens.refresh).await.status);
    stack.sql("DELETE FROM users").await;
    seen.insert(ada.dashboard(&tokens.access).await.status);
    stack.sql("ALTER TABLE throttle RENAME TO elsewhere").await;
    seen.insert(ada.tries_to_sign_in().await.status);
    let nowhere = Stack::builder().with("DATABASE_URL", "postgres://nobody:nothing@127.0.0.1:9/none");
    let nowhere = nowhere.on(TestDatabase::empty().await).start().await;
    seen.insert(nowhere.stranger("Ada").tries_to_sign_in().await.status);
    assert_eq!(seen, BTreeSet::from([200, 201, 400, 401, 404, 415, 429, 500, 503]));
}

// Requirement 33.
#[tokio::test]
async fn the_reset_page_runs_nothing_but_its_own_script() {
    let stack = Stack::start().await;
    let page = stack.get("/reset-password/anything").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.text.contains("anything"), "the token is not in the page");
}

// Requirement 18.
#[tokio::test]
async fn without_its_database_a_function_says_so_and_public_stays_up() {
    let stack = Stack::builder()
        .with("DATABASE_URL", "postgres://nobody:nothing@127.0.0.1:9/none")
        .on(TestDatabase::empty().await);
    let stack = stack.start().await;
    let ada = stack.stranger("Ada");
    for reply in [ada.signs_up().await, ada.tries_to_sign_in().await, ada.forgets_password().await] {
        reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
        assert_eq!(reply.header("retry-after"), Some("5"));
    }
    let token = "A".repeat(43);
    assert_eq!(ada.resets_password(&token, "another password").await.status, 503);
    for path in ["/", "/api/public", "/reset-password/x"] {
        assert_eq!(stack.get(path).await.status, 200, "{path}");
    }
    assert!(
        stack.log_of("signin").contains("the database is away")
            || stack.log_of("signin").contains("service_unavailable")
    );
}

#[tokio::test]
async fn a_connection_that_died_while_the_function_slept_is_not_noticed() {
    let stack = Stack::builder().processes(1).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    let refreshed = ada.refreshes(&tokens.refresh).await;
    assert_eq!(refreshed.status, 200);
}

// Requirement 23.
#[tokio::test]
async fn a_defect_answers_500_and_keeps_its_cause_to_the_log() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    stack.sql("ALTER TABLE sessions RENAME TO elsewhere").await;
    let reply = ada.tries_to_sign_in().await;
    reply.assert_refused(500, "internal_error", "Internal server error");
    assert!(stack.log_of("signin").contains("does not exist"), "{}", stack.log_of("signin"));
}

// Requirement 45.
#[tokio::test]
async fn what_happens_to_an_account_is_written_down_by_its_id() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let second = tests::Tokens::from(&ada.refreshes(&first.refresh).await);
    ada.refreshes(&second.refresh).await;
    ada.refreshes(&first.refresh).await;
    ada.with_password("wrong").tries_to_sign_in().await;
    stack.stranger("Nobody").tries_to_sign_in().await;
    let session = ada.signs_in().await;
    ada.logs_out(&session.access).await;
    let mail = ada.receives_reset_mail(1).await;
    ada.resets_password(&mail.reset_token(), "another password").await;
    let logs = stack.logs();
    for (event, times) in [
        ("signed_up", 1),
        ("signed_in", 2),
        ("sign_in_failed", 1),
        ("refreshed", 2),
        ("refresh_reused", 1),
        ("signed_out", 1),
        ("password_reset_requested", 1),
        ("password_reset", 1),
    ] {
        let line = format!("event=\"{event}\" user_id=1");
        assert_eq!(logs.matches(&line).count(), times, "{event} in\n{logs}");
    }
    assert_eq!(logs.matches("event=\"sign_in_failed\"").count(), 2, "nobody's failure has no user");
}
