//! `GET /.well-known/openid-configuration`. The fields that depend on the keys are tested in `jwks.rs`.

use serde_json::Value;
use tests::{Stack, sample_event};

#[tokio::test]
async fn the_host_header_is_used_only_at_a_local_gateway() {
    let stack = Stack::start().await;
    for (domain_name, jwks_uri) in [
        ("localhost", "http://127.0.0.1:5001/.well-known/jwks.json"),
        ("api.example.com", "https://api.example.com/.well-known/jwks.json"),
    ] {
        let mut event = sample_event("openid-configuration");
        event["requestContext"]["domainName"] = domain_name.into();
        event["headers"]["host"] = "127.0.0.1:5001".into();
        let answer = stack.invoke("openid-configuration", &event).await.unwrap();
        let configuration: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(configuration["jwks_uri"], jwks_uri, "{domain_name}");
    }
}
