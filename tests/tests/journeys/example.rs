//! `GET /api/example`, the route behind the authorizer.

use serde_json::json;
use tests::{Stack, sample_event};

/// API Gateway adds the authorizer's context to the event. A client cannot set it.
#[tokio::test]
async fn an_event_without_the_authorizers_context_is_answered_with_500() {
    let stack = Stack::start().await;
    let mut event = sample_event("example");
    event["requestContext"].as_object_mut().unwrap().remove("authorizer");
    assert_eq!(stack.invoke("example", &event).await.unwrap()["statusCode"], 500);
    for authorizer in [json!({}), json!({ "lambda": {} }), json!({ "lambda": { "sub": "1" } }), json!({ "jwt": {} })] {
        event["requestContext"]["authorizer"] = authorizer;
        assert_eq!(stack.invoke("example", &event).await.unwrap()["statusCode"], 500);
    }
}
