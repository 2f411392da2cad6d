//! Access tokens verified by libraries that other services use: `PyJWT` and jose with the published keys, Flask-JWT-Extended with
//! the shared secret. All of them must refuse refresh tokens. And codes of an authenticator, computed by pyotp, and passkeys,
//! verified by webauthn-rs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod webauthn;

use std::process::Output;

use serde_json::{Value, json};
use tests::{Stack, Tokens, documents, keys, server, stack::SECRET};
use tokio::process::Command;

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "jwt-auth";

async fn run(program: &str, script: &str, arguments: &[&str]) -> Output {
    let script = documents::root().join("tests/tests/verifiers").join(script);
    Command::new(program).arg(script).args(arguments).output().await.expect("the program starts")
}

async fn pyjwt(stack: &Stack, token: &str) -> Output {
    let url = format!("{}/.well-known/jwks.json", stack.base_url);
    run(&server("TEST_PYTHON"), "pyjwt.py", &[&url, ISSUER, AUDIENCE, token]).await
}

async fn jose(stack: &Stack, token: &str) -> Output {
    let url = format!("{}/.well-known/jwks.json", stack.base_url);
    run("node", "jose.cjs", &[&server("TEST_NODE_PACKAGES"), &url, ISSUER, AUDIENCE, token]).await
}

#[track_caller]
fn claims(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_refused(output: &Output, reason: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(reason), "{said}");
}

async fn assert_verified_with_published_keys(private_key: &str, algorithm: &str) {
    // After a rotation, the signing key may also be listed as an additional key. It must be published only once, because
    // jose refuses a key set with two keys of one id.
    let listed = keys::public_key(private_key);
    let stack = Stack::builder().with("JWT_ISSUER", ISSUER).with("JWT_PRIVATE_KEY", private_key);
    let stack = stack.with("JWT_ADDITIONAL_PUBLIC_KEYS", &listed).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    assert_eq!(stack.get("/.well-known/jwks.json").await.json()["keys"][0]["alg"], algorithm);
    for output in [pyjwt(&stack, &tokens.access).await, jose(&stack, &tokens.access).await] {
        let claims = claims(&output);
        assert_eq!((&claims["iss"], &claims["sub"], &claims["type"]), (&json!(ISSUER), &json!("1"), &json!("access")));
    }
    // The key id of a refresh token is not published.
    assert_refused(&pyjwt(&stack, &tokens.refresh).await, "PyJWKClientError");
    assert_refused(&jose(&stack, &tokens.refresh).await, "ERR_J");
    // A token with a changed signature is refused.
    let (signed, signature) = tokens.access.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    assert_refused(&jose(&stack, &forged).await, "ERR_JWS_SIGNATURE_VERIFICATION_FAILED");
}

#[tokio::test]
async fn pyjwt_and_jose_verify_tokens_signed_with_an_rsa_key() {
    assert_verified_with_published_keys(&keys::new_rsa_private_key(), "RS256").await;
}

#[tokio::test]
async fn pyjwt_and_jose_verify_tokens_signed_with_an_ec_key() {
    assert_verified_with_published_keys(&keys::new_ec_private_key(), "ES256").await;
}

#[tokio::test]
async fn pyjwt_and_jose_verify_tokens_signed_with_an_ed25519_key() {
    assert_verified_with_published_keys(&keys::new_ed25519_private_key(), "EdDSA").await;
}

#[tokio::test]
async fn flask_jwt_extended_verifies_tokens_signed_with_the_shared_secret() {
    let stack = Stack::start().await;
    let Tokens { access, refresh } = stack.user("Ada").await.signs_in().await;
    let flask = async |token: &str| {
        claims(&run(&server("TEST_PYTHON"), "guarded_flask.py", &[SECRET, "jwt-auth", AUDIENCE, token]).await)
    };
    let session = stack.sql_text("SELECT id::text FROM sessions").await;
    assert_eq!(flask(&access).await, json!({ "status": 200, "body": { "sub": "1", "sid": session } }));
    assert_eq!(flask(&refresh).await["status"], 422, "a refresh token has another audience");
}

// Requirement 66.
#[tokio::test]
async fn pyotp_reads_the_url_of_an_enrolment_and_computes_its_codes() {
    let stack = Stack::builder().with("BRAND_NAME", "Ümläut & Co: Test").start().await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    let tokens = ada.signs_in().await;
    let url = ada.enrols_totp(&tokens.access).await.text_at("otpauth_url");
    let output = run(&server("TEST_PYTHON"), "totp.py", &[&url]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let code = String::from_utf8(output.stdout).unwrap();
    assert_eq!(ada.confirms_totp(&tokens.access, code.trim()).await.status, 200);
}
