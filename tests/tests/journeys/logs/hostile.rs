//! Events with text that could forge or distort a log line.

use serde_json::{Value, json};
use tests::sample_event;

/// Line breaks, a JSON line, terminal escapes, and characters that change the direction of text.
const HOSTILE: &str = "x\r\n{\"level\":\"INFO\"}\u{1b}[31m\u{85}\u{2028}\u{202e}\u{2066}\u{200f}canary@example.com";

/// Sample events of a function. Each has hostile text in other fields.
pub fn hostile_events(function: &str) -> Vec<Value> {
    let body = json!({ "name": HOSTILE, "email": HOSTILE, "password": HOSTILE }).to_string();
    // The name in this body has no control characters, so the body passes more checks.
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
        vec![("/requestContext/requestId", json!(HOSTILE))],
        vec![("/requestContext/requestId", json!("\u{202e}canary"))],
        vec![("/headers", json!(HOSTILE))],
    ]
    .into_iter()
    .map(|changes| {
        let mut event = sample_event(function);
        for (field, value) in changes {
            let (parent, name) = field.rsplit_once('/').unwrap();
            event.pointer_mut(parent).unwrap()[name] = value;
        }
        event
    })
    .collect()
}
