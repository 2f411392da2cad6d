//! The format of a log line.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Stack, database::TestDatabase, documents, sample_event};

use super::hostile::hostile_events;

// Requirement 45.
#[tokio::test]
async fn every_line_is_one_json_object_with_time_function_and_request_id() {
    let stack = Stack::builder()
        .with("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .with("AWS_LAMBDA_LOG_LEVEL", "TRACE")
        .with("TZ", "Asia/Tokyo")
        // A length below the recommended one would be logged as a warning at start, before any request.
        .with("PASSWORD_MIN_LENGTH", "")
        // So that `migrate` logs, too.
        .with_database(TestDatabase::empty().await)
        .start()
        .await;
    let utc = "SELECT to_char(now() AT TIME ZONE 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS')";
    let before = stack.sql_text(utc).await;
    let functions: BTreeSet<_> = documents::routes().into_iter().map(|route| route.function).collect();
    for function in functions {
        for event in hostile_events(&function) {
            stack.invoke(&function, &event).await.unwrap();
        }
    }
    for event in hostile_events("authorizer") {
        // The authorizer reports an error for requests that it cannot decide.
        let _ = stack.invoke("authorizer", &event).await;
    }
    stack.invoke("migrate", &json!({ "finish": 1 })).await.unwrap_err();
    stack.invoke("sweep", &sample_event("sweep")).await.unwrap();
    stack.invoke("panics", &hostile_events("signup")[0]).await.unwrap();
    let after = stack.sql_text(utc).await + ".999999Z";

    for (function, log) in stack.final_logs().await {
        let mut answered = BTreeSet::new();
        for line in log.lines() {
            let hostile = |c: char| c.is_control() || "\u{2028}\u{202e}\u{2066}\u{200f}".contains(c);
            assert!(!line.contains(hostile) && !line.contains("canary"), "{line}");
            let line: Value = serde_json::from_str(line)
                .unwrap_or_else(|_| panic!("{function} logged a line that is not JSON: {line}"));
            let text = |pointer| {
                line.pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_else(|| panic!("{pointer} is missing in {line}"))
            };
            let timestamp = text("/timestamp");
            assert!(timestamp.ends_with('Z'), "{line}");
            assert!(
                function == "migrate" || (before.as_str()..=after.as_str()).contains(&timestamp),
                "{before} {line}"
            );
            assert!(["ERROR", "WARN", "INFO"].contains(&text("/level")), "{line}");
            assert_eq!(text("/span/function"), function, "{line}");
            let request = text("/span/request_id").to_owned();
            match text("/message") {
                "answered" | "refused" | "failed" | "done" | "swept" => {
                    assert!(answered.insert(request), "a second outcome of one request: {line}");
                }
                message => assert!(["a passkey was rejected", "audit", "panicked"].contains(&message), "{line}"),
            }
        }
        let requests = match function {
            "panics" | "sweep" => 1,
            "migrate" => 2,
            _ => hostile_events(function).len(),
        };
        assert_eq!(answered.len(), requests, "expected one outcome for each request in\n{log}");
    }
}
