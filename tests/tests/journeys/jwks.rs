//! `GET /.well-known/jwks.json`: the public keys that verify access tokens.

use std::collections::BTreeSet;

use serde_json::json;
use tests::{Stack, StackBuilder, Tokens, jwt::header, keys};

const ISSUER: &str = "https://auth.example.com";

fn signing_with(key: &str) -> StackBuilder {
    Stack::builder().with("JWT_ISSUER", ISSUER).with("JWT_PRIVATE_KEY", key)
}

#[tokio::test]
async fn without_a_key_pair_no_key_is_published() {
    let stack = Stack::start().await;
    stack.get("/.well-known/jwks.json").await.assert_ok(&json!({ "keys": [] }));
    stack.get("/.well-known/openid-configuration").await.assert_ok(&json!({
        "issuer": "jwt-auth",
        "jwks_uri": "https://api.example.com/.well-known/jwks.json",
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [],
        "acr_values_supported": ["aal1", "aal2"],
    }));
}

#[tokio::test]
async fn a_key_pair_signs_access_tokens_and_is_published() {
    let stack = signing_with(&keys::new_ed25519_private_key()).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let published = stack.get("/.well-known/jwks.json").await.json();
    let [key] = published["keys"].as_array().unwrap().as_slice() else { panic!("not exactly one key: {published}") };
    assert_eq!(header(&tokens.access), json!({ "typ": "JWT", "alg": "EdDSA", "kid": key["kid"] }));
    assert_eq!(header(&tokens.refresh)["alg"], "HS256", "only this service verifies refresh tokens");
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
    let (key, other) = (keys::new_ed25519_private_key(), keys::new_ec_private_key());
    let additional =
        [&key, &other, &keys::new_ed25519_private_key(), &other].map(|key| keys::public_key(key)).join("\n");
    let stack = signing_with(&key).with("JWT_ADDITIONAL_PUBLIC_KEYS", &additional).start().await;
    let published = stack.get("/.well-known/jwks.json").await.json();
    let kids: BTreeSet<_> =
        published["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!((published["keys"].as_array().unwrap().len(), kids.len()), (3, 3), "{published}");
    let algorithms =
        &stack.get("/.well-known/openid-configuration").await.json()["id_token_signing_alg_values_supported"];
    assert_eq!(*algorithms, json!(["EdDSA", "ES256"]), "each algorithm is listed once");
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn a_key_may_contain_escaped_line_breaks() {
    let stack = signing_with(&keys::new_ed25519_private_key().replace('\n', "\\n")).start().await;
    let tokens = stack.user("Ada").await.signs_in().await;
    assert_eq!(header(&tokens.access)["alg"], "EdDSA");
}
