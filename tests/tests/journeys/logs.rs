//! What is written down, and what never is.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Stack, documents};

fn sample(function: &str) -> Value {
    serde_json::from_str(&documents::read(&format!("events/{function}.json"))).unwrap()
}

/// A line of its own, ends of lines, colours, and characters that turn the direction of reading.
const HOSTILE: &str = "x\r\n{\"level\":\"INFO\"}\u{1b}[31m\u{85}\u{2028}\u{202e}\u{2066}\u{200f}canary@example.com";

/// What each function may meet: the text wherever a client may put one.
fn hostile_events(function: &str) -> Vec<Value> {
    let body = json!({ "name": HOSTILE, "email": HOSTILE, "password": HOSTILE }).to_string();
    // The name alone, in a body whose other parts are good, gets further.
    let named = json!({ "name": "\u{202e}canary", "email": "\u{202e}canary@example.com", "password": "\u{202e}canary, a password" });
    [
        vec![("/body", json!(body)), ("/isBase64Encoded", json!(false))],
        vec![("/body", json!(named.to_string())), ("/isBase64Encoded", json!(false))],
        vec![("/headers/authorization", json!(format!("Bearer {HOSTILE}"))), ("/headers/x-canary", json!(HOSTILE))],
        vec![
            ("/headers/authorization", json!("Bearer \u{202e}canary")),
            ("/headers/content-type", json!("\u{202e}canary")),
        ],
        vec![
            ("/rawPath", json!(HOSTILE)),
            ("/rawQueryString", json!(HOSTILE)),
            ("/requestContext/http/path", json!(HOSTILE)),
        ],
        vec![("/pathParameters", json!({ "token": HOSTILE })), ("/queryStringParameters", json!({ HOSTILE: HOSTILE }))],
        vec![("/requestContext/http/sourceIp", json!(HOSTILE)), ("/requestContext/http/userAgent", json!(HOSTILE))],
        vec![("/headers", json!(HOSTILE))],
    ]
    .into_iter()
    .map(|changes| {
        let mut event = sample(function);
        for (field, value) in changes {
            let (parent, name) = field.rsplit_once('/').unwrap();
            event.pointer_mut(parent).unwrap()[name] = value;
        }
        event
    })
    .collect()
}

// Requirement 45.
#[tokio::test]
async fn every_line_is_one_json_object_that_says_when_where_and_for_which_request() {
    let stack = Stack::builder()
        .with("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .with("AWS_LAMBDA_LOG_LEVEL", "TRACE")
        .with("TZ", "Asia/Tokyo")
        // A length below the recommended one is a warning at start, before any request.
        .with("PASSWORD_MIN_LENGTH", "")
        .start()
        .await;
    let utc = "SELECT to_char(now() AT TIME ZONE 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS')";
    let before = stack.sql_text(utc).await;
    for route in documents::router() {
        for event in hostile_events(&route.function) {
            stack.invoke(&route.function, &event).await.unwrap();
        }
    }
    stack.invoke("migrate", &json!({ "finish": 1 })).await.unwrap_err();
    stack.invoke("panics", &hostile_events("signup")[0]).await.unwrap();
    let after = stack.sql_text(utc).await + ".999999Z";

    for (function, log) in stack.ended_logs().await {
        let mut answered = BTreeSet::new();
        for line in log.lines() {
            let hostile = |c: char| c.is_control() || "\u{2028}\u{202e}\u{2066}\u{200f}".contains(c);
            assert!(!line.contains(hostile) && !line.contains("canary"), "{line}");
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{function}: no JSON: {line}"));
            let text = |pointer| {
                line.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {line}"))
            };
            let timestamp = text("/timestamp");
            assert!(timestamp.ends_with('Z'), "{line}");
            assert!(
                function == "migrate" || (before.as_str()..=after.as_str()).contains(&timestamp),
                "{before} {line}"
            );
            assert!(["ERROR", "WARN", "INFO"].contains(&text("/level")), "{line}");
            assert_eq!(text("/spans/0/function"), function, "{line}");
            let request = text("/spans/1/request_id").to_owned();
            match text("/message") {
                "answered" | "refused" | "failed" | "done" => assert!(answered.insert(request), "twice: {line}"),
                message => assert!(["audit", "panicked"].contains(&message), "{line}"),
            }
        }
        let requests = match function {
            "panics" => 1,
            "migrate" => 2,
            _ => hostile_events(function).len(),
        };
        assert_eq!(answered.len(), requests, "an outcome for each request in\n{log}");
    }
}
