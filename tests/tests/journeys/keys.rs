//! Keys that others can verify access tokens with, and keys that change.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tests::{Stack, StackBuilder, Tokens, documents, keys, stack::SECRET};

const ISSUER: &str = "https://auth.example.com";

fn signing_with(key: &str) -> StackBuilder {
    Stack::builder().with("JWT_ISSUER", ISSUER).with("JWT_PRIVATE_KEY", key)
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn without_a_key_pair_there_is_nothing_to_publish() {
    let stack = Stack::start().await;
    stack.get("/.well-known/jwks.json").await.assert_ok(&json!({ "keys": [] }));
    stack.get("/.well-known/openid-configuration").await.assert_ok(&json!({
        "issuer": "jwt-auth",
        "jwks_uri": "https://api.example.com/.well-known/jwks.json",
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [],
    }));
}

#[tokio::test]
async fn only_a_local_gateway_is_believed_about_its_address() {
    let stack = Stack::start().await;
    for (domain_name, jwks_uri) in [
        ("localhost", "http://127.0.0.1:5001/.well-known/jwks.json"),
        ("api.example.com", "https://api.example.com/.well-known/jwks.json"),
    ] {
        let mut event: Value = serde_json::from_str(&documents::read("events/openid-configuration.json")).unwrap();
        event["requestContext"]["domainName"] = domain_name.into();
        event["headers"]["host"] = "127.0.0.1:5001".into();
        let answer = stack.invoke("openid-configuration", &event).await.unwrap();
        let configuration: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(configuration["jwks_uri"], jwks_uri, "{domain_name}");
    }
}

#[tokio::test]
async fn a_key_pair_signs_access_tokens_and_is_published() {
    let stack = signing_with(&keys::ed25519()).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let published = stack.get("/.well-known/jwks.json").await.json();
    let [key] = published["keys"].as_array().unwrap().as_slice() else { panic!("one key: {published}") };
    assert_eq!(header(&tokens.access), json!({ "typ": "JWT", "alg": "EdDSA", "kid": key["kid"] }));
    assert_eq!(header(&tokens.refresh)["alg"], "HS256", "a refresh token is for this service alone");
    assert!(
        !published.to_string().contains(&header(&tokens.refresh)["kid"].to_string()),
        "the secret is not published"
    );
    assert_eq!(
        stack.get("/.well-known/openid-configuration").await.json()["jwks_uri"],
        format!("{ISSUER}/.well-known/jwks.json")
    );

    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    let next = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(ada.dashboard(&next.access).await.status, 200);
    assert_eq!(ada.logs_out(&next.access).await.status, 200);
    ada.dashboard(&tokens.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
}

#[tokio::test]
async fn a_key_that_is_listed_twice_is_published_once() {
    let (key, other) = (keys::ed25519(), keys::ec());
    let additional = [&key, &other, &keys::ed25519(), &other].map(|key| keys::public_half(key)).join("\n");
    let stack = signing_with(&key).with("JWT_ADDITIONAL_PUBLIC_KEYS", &additional).start().await;
    let published = stack.get("/.well-known/jwks.json").await.json();
    let kids: BTreeSet<_> =
        published["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!((published["keys"].as_array().unwrap().len(), kids.len()), (3, 3), "{published}");
    let algorithms =
        &stack.get("/.well-known/openid-configuration").await.json()["id_token_signing_alg_values_supported"];
    assert_eq!(*algorithms, json!(["EdDSA", "ES256"]), "each once, though the keys alternate");
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn line_breaks_of_a_key_may_be_written_out() {
    let stack = signing_with(&keys::ed25519().replace('\n', "\\n")).start().await;
    let tokens = stack.user("Ada").await.signs_in().await;
    assert_eq!(header(&tokens.access)["alg"], "EdDSA");
}

// Requirement 39.
#[tokio::test]
async fn a_secret_is_rotated_with_nobody_logged_out() {
    let next = "the-next-secret-of-the-tests-0123456789";
    let before = Stack::start().await;
    let ada = before.user("Ada").await;
    let old = ada.signs_in().await;

    let (email, password) = (ada.email.clone(), ada.password.clone());
    let after = Stack::builder().with("JWT_SECRET_KEY", next).with("JWT_ADDITIONAL_SECRET_KEYS", SECRET);
    let after = after
        .with("DATABASE_URL", &before.database.functions_url())
        .on(tests::database::TestDatabase::empty().await)
        .start()
        .await;
    let ada = after.stranger("Ada").with_email(&email).with_password(&password);
    assert_eq!(ada.dashboard(&old.access).await.status, 200);
    let new = Tokens::from(&ada.refreshes(&old.refresh).await);
    assert_ne!(header(&new.access)["kid"], header(&old.access)["kid"]);
    assert_eq!(ada.dashboard(&new.access).await.status, 200);
    // Where nobody was told of the next secret, its tokens are strangers'.
    before.with_token(reqwest::Method::GET, "/api/dashboard", &new.access).await.assert_refused(
        401,
        "invalid_token",
        "Invalid token",
    );
}
