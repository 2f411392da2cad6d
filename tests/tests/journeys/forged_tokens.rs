//! Forged, malformed and misused tokens. Most forgeries are made twice, from an access token and from a refresh token. They are
//! sent to every endpoint that takes a token. The session of the valid tokens must stay live.
//!
//! Most forgeries are signed with the service's own secret, which an attacker does not have. They test the checks after the
//! signature.

mod forged_contents;
mod forged_encodings;
mod key_pairs;
mod unsigned_token;

use std::{io::ErrorKind, net::TcpListener};

use reqwest::Method;
use serde_json::json;
use tests::{Person, Stack, Tokens};

use self::{
    forged_contents::{forged_algorithms, forged_claims, forged_headers},
    forged_encodings::{forged_encodings, forged_json, forged_signatures},
    unsigned_token::{ForgedToken, UnsignedToken},
};

const INVALID: (u16, &str, &str) = (401, "invalid_token", "Invalid token");
const EXPIRED: (u16, &str, &str) = (401, "token_expired", "Token has expired");
const REVOKED: (u16, &str, &str) = (401, "token_revoked", "Token has been revoked");
const USER_NOT_FOUND: (u16, &str, &str) = (404, "user_not_found", "User not found");
const INVALID_REFRESH: (u16, &str, &str) = (401, "invalid_refresh_token", "Invalid or expired refresh token");

async fn assert_refused(stack: &Stack, path: &str, name: &str, token: &str, refusal: (u16, &str, &str)) {
    let (status, code, message) = refusal;
    let method = if path == "/api/dashboard" { Method::GET } else { Method::POST };
    let credentials = format!("Bearer {token}").into_bytes();
    let reply = stack.send(method, path, |request| request.header("authorization", credentials)).await;
    let challenge = (status == 401).then_some(r#"Bearer error="invalid_token""#);
    assert_eq!(
        (reply.status, reply.json(), reply.header("www-authenticate"), reply.header("cache-control")),
        (status, json!({ "message": message, "code": code }), challenge, Some("no-store")),
        "{name} at {path}: {token}"
    );
}

/// Asserts that every endpoint refuses each forged token. `forgeries` makes forged tokens from a valid access token and from a
/// valid refresh token. Afterwards, a valid token that the test signs in the same way must be accepted.
async fn assert_all_refused(forgeries: impl Fn(&UnsignedToken) -> Vec<ForgedToken>) {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    for valid_token in [&tokens.access, &tokens.refresh] {
        for ForgedToken { name, token } in forgeries(&UnsignedToken::of(valid_token)) {
            for path in ["/api/dashboard", "/api/logout", "/api/refresh"] {
                assert_refused(&stack, path, &name, &token, INVALID).await;
            }
        }
    }
    assert_session_live(&ada, &tokens).await;
}

/// Asserts that the session is live, and that its tokens are accepted when the test signs them again.
async fn assert_session_live(ada: &Person<'_>, tokens: &Tokens) {
    let access = UnsignedToken::of(&tokens.access);
    assert_eq!(ada.dashboard(&access.signed()).await.status, 200);
    assert_eq!(ada.dashboard(&access.claim("role", "admin").signed()).await.status, 200, "an unknown claim is ignored");
    assert_eq!(ada.refreshes(&UnsignedToken::of(&tokens.refresh).signed()).await.status, 200);
}

// Requirement 1.
#[tokio::test]
async fn only_the_algorithm_of_the_key_is_accepted() {
    assert_all_refused(forged_algorithms).await;
}

// Requirement 2.
#[tokio::test]
async fn foreign_header_parameters_are_refused_and_nothing_is_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let key_server_url = format!("http://{}/keys", listener.local_addr().unwrap());
    assert_all_refused(|valid_token| forged_headers(valid_token, &key_server_url)).await;
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "a function fetched the URL");
}

// Requirement 8.
#[tokio::test]
async fn every_claim_must_be_present_in_the_type_and_form_that_the_service_writes() {
    assert_all_refused(forged_claims).await;
}

// Requirement 7.
#[tokio::test]
async fn access_and_refresh_tokens_are_not_interchangeable() {
    assert_all_refused(|valid_token| {
        let other = if valid_token.claim_value("type") == "access" {
            ("refresh", "jwt-auth/refresh")
        } else {
            ("access", "jwt-auth")
        };
        vec![
            ForgedToken::new("the other type", valid_token.claim("type", other.0).signed()),
            ForgedToken::new("the other audience", valid_token.claim("aud", other.1).signed()),
            ForgedToken::new(
                "both audiences",
                valid_token.claim("aud", json!(["jwt-auth", "jwt-auth/refresh"])).signed(),
            ),
        ]
    })
    .await;
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    for (path, token) in
        [("/api/dashboard", &tokens.refresh), ("/api/logout", &tokens.refresh), ("/api/refresh", &tokens.access)]
    {
        assert_refused(&stack, path, "the other kind", token, INVALID).await;
        let expired = UnsignedToken::of(token).claim("exp", 1).signed();
        assert_refused(&stack, path, "the other kind, and expired", &expired, INVALID).await;
    }
    assert_session_live(&ada, &tokens).await;
}

// Requirement 9.
#[tokio::test]
async fn a_token_is_accepted_only_within_its_lifetime() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let (access, refresh) = (UnsignedToken::of(&tokens.access), UnsignedToken::of(&tokens.refresh));
    let now = access.claim_value("iat").as_i64().unwrap();
    for past in [now, now - 1, now - 30, 1, 0, -1, i64::MIN] {
        let (name, expired) = (format!("exp {past}"), access.claim("exp", past).signed());
        assert_refused(&stack, "/api/dashboard", &name, &expired, EXPIRED).await;
        // Logout accepts an expired access token.
        let other = UnsignedToken::of(&ada.signs_in().await.access).claim("exp", past).signed();
        assert_eq!(ada.logs_out(&other).await.status, 200, "{name}");
        let expired = refresh.claim("exp", past).signed();
        assert_refused(&stack, "/api/refresh", &name, &expired, INVALID_REFRESH).await;
    }
    for claim in ["iat", "nbf"] {
        for future in [now + 300, now + 3600, now + 86_400 * 365, i64::MAX] {
            let name = format!("{claim} {future}");
            assert_refused(&stack, "/api/dashboard", &name, &access.claim(claim, future).signed(), INVALID).await;
            assert_refused(&stack, "/api/logout", &name, &access.claim(claim, future).signed(), INVALID).await;
            assert_refused(&stack, "/api/refresh", &name, &refresh.claim(claim, future).signed(), INVALID).await;
        }
        assert_eq!(
            ada.dashboard(&access.claim(claim, now + 29).signed()).await.status,
            200,
            "30 seconds of clock skew are accepted"
        );
    }
    assert_session_live(&ada, &tokens).await;
}

#[tokio::test]
async fn a_signed_token_with_changed_ids_gives_no_access_to_a_session_of_another_user() {
    let stack = Stack::start().await;
    let (ada, grace) = (stack.user("Ada").await, stack.user("Grace").await);
    let (adas, graces) = (ada.signs_in().await, grace.signs_in().await);
    let (access, refresh) = (UnsignedToken::of(&adas.access), UnsignedToken::of(&adas.refresh));
    let (graces_id, graces_session) = (
        UnsignedToken::of(&graces.access).claim_value("sub").clone(),
        UnsignedToken::of(&graces.access).claim_value("sid").clone(),
    );
    let nil = "00000000-0000-0000-0000-000000000000";
    for (name, claim, value, refusal) in [
        ("Ada's session with Grace's user id", "sub", graces_id, REVOKED),
        ("Grace's session with Ada's user id", "sid", graces_session, REVOKED),
        ("no session", "sid", json!(nil), REVOKED),
        ("the id of the token in place of the session's", "sid", access.claim_value("jti").clone(), REVOKED),
        ("a user who does not exist", "sub", json!("2147483647"), USER_NOT_FOUND),
        ("the user id 0", "sub", json!("0"), USER_NOT_FOUND),
        ("a negative user id", "sub", json!("-1"), USER_NOT_FOUND),
    ] {
        let token = access.claim(claim, value.clone()).signed();
        assert_refused(&stack, "/api/dashboard", name, &token, refusal).await;
        // With sessions in DynamoDB, a logout does not read the account.
        let of_logout = if stack.state_table.is_some() { REVOKED } else { refusal };
        assert_refused(&stack, "/api/logout", name, &token, of_logout).await;
        assert_refused(&stack, "/api/refresh", name, &refresh.claim(claim, value).signed(), INVALID_REFRESH).await;
    }
    assert_session_live(&ada, &adas).await;
    assert_session_live(&grace, &graces).await;
}

#[tokio::test]
async fn a_token_has_exactly_three_parts_each_in_base64url_without_padding() {
    assert_all_refused(forged_encodings).await;
}

#[tokio::test]
async fn header_and_claims_are_json_objects_without_duplicate_members() {
    assert_all_refused(forged_json).await;
}

#[tokio::test]
async fn only_a_signature_made_with_the_secret_is_accepted() {
    assert_all_refused(forged_signatures).await;
}
