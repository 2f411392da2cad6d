//! The sample events are sent to their functions.

use serde_json::{Value, json};
use tests::{Stack, documents};

fn event(function: &str) -> Value {
    serde_json::from_str(&documents::read(&format!("events/{function}.json"))).unwrap()
}

async fn answer(stack: &Stack, event: &Value, function: &str) -> (u64, Value) {
    let answer = stack.invoke(function, event).await.expect("an answer");
    let body = answer["body"].as_str().expect("a body");
    (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap_or(json!(body)))
}

#[tokio::test]
async fn every_sample_event_is_understood_by_its_function() {
    // The password rules are those of a deployment: their defaults refuse short and common passwords.
    let stack = Stack::builder().with("PASSWORD_MIN_LENGTH", "").with("PASSWORD_BLOCKLIST", "").start().await;
    assert_eq!(stack.invoke("migrate", &event("migrate")).await.unwrap()["applied"], json!([]));
    assert_eq!(stack.invoke("sweep", &event("sweep")).await.unwrap()["mails_owed"], json!(0));
    assert_eq!(event("signup")["isBase64Encoded"], json!(true), "this sample event has a base64 body");
    for (function, status, message) in [
        ("welcome", 200, "Welcome to JWT Auth API"),
        ("public", 200, "This is a public endpoint"),
        ("signup", 201, "User created successfully"),
        ("signin", 200, "Sign-in successful"),
        ("refresh", 401, "Invalid token"),
        ("dashboard", 401, "Invalid token"),
        ("logout", 401, "Invalid token"),
        ("forgot-password", 200, "Password reset email sent"),
        ("reset-password", 400, "Invalid or expired token"),
        ("verify-email", 401, "Invalid token"),
    ] {
        let (answered, body) = answer(&stack, &event(function), function).await;
        assert_eq!((answered, body["message"].as_str()), (status, Some(message)), "{function}");
    }
    assert_eq!(answer(&stack, &event("jwks"), "jwks").await, (200, json!({ "keys": [] })));
    let (status, configuration) = answer(&stack, &event("openid-configuration"), "openid-configuration").await;
    assert_eq!((status, &configuration["issuer"]), (200, &json!("jwt-auth")));
    for (function, heading) in [("reset-password-page", "Choose a new password"), ("link-pages", "Keep your account")] {
        let (status, page) = answer(&stack, &event(function), function).await;
        assert_eq!(status, 200, "{function}");
        assert!(page.as_str().unwrap().contains(&format!("{heading}</h1>")), "{function}");
    }
}

/// This test also includes new functions: each function must answer its sample event as documented.
#[tokio::test]
async fn every_sample_event_gets_a_documented_answer() {
    let stack = Stack::start().await;
    for endpoint in documents::endpoints() {
        let event = event(&endpoint.name);
        let key = event["routeKey"].as_str().unwrap_or_default();
        let Some(route) = endpoint.routes.iter().find(|route| format!("{} {}", route.method, route.path) == key) else {
            continue;
        };
        let answer = stack.invoke(&endpoint.name, &event).await.expect("an answer");
        let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
        assert!(status < 500 && documents::documented_answer(route, status).is_some(), "{key}: {answer}");
    }
}

#[tokio::test]
async fn sample_events_that_need_a_token_succeed_with_a_valid_token() {
    let stack = Stack::builder().with("PASSWORD_MIN_LENGTH", "").with("PASSWORD_BLOCKLIST", "").start().await;
    answer(&stack, &event("signup"), "signup").await;
    let (_, tokens) = answer(&stack, &event("signin"), "signin").await;
    for (function, token) in [("dashboard", "access_token"), ("refresh", "refresh_token"), ("logout", "access_token")] {
        let mut event = event(function);
        event["headers"]["authorization"] = format!("Bearer {}", tokens[token].as_str().unwrap()).into();
        assert_eq!(answer(&stack, &event, function).await.0, 200, "{function}");
    }
}
