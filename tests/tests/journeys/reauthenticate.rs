//! `POST /api/reauthenticate`, and actions that require a recent proof of the password.

use rstest::rstest;
use tests::{
    Person, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    jwt::claims,
};

/// Asserts that the user must prove the password again (RFC 9470).
#[track_caller]
pub fn assert_reauthentication_required(reply: &Reply) {
    reply.assert_refused(401, "reauthentication_required", "Sign in again to do this");
    let challenge = r#"Bearer error="insufficient_user_authentication", max_age=600"#;
    assert_eq!(reply.header("www-authenticate"), Some(challenge));
}

/// Asserts that a password in a session was wrong. The token is valid, so the challenge names no error.
#[track_caller]
pub fn assert_wrong_password(reply: &Reply) {
    reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
}

/// A request that requires a fresh session.
async fn sensitive(person: &Person<'_>, access_token: &str) -> Reply {
    person.ends_other_sessions(access_token).await
}

// Requirement 54.
#[rstest]
#[tokio::test]
async fn only_signing_in_and_proving_the_password_again_make_a_session_fresh(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let signed_in = ada.signs_in().await;
    assert_eq!(sensitive(&ada, &signed_in.access).await.status, 200);
    stack.sessions().move_auth_time_back(601).await;
    assert_reauthentication_required(&sensitive(&ada, &signed_in.access).await);
    assert_eq!(ada.dashboard(&signed_in.access).await.status, 200);

    let refreshed = Tokens::from(&ada.refreshes(&signed_in.refresh).await);
    assert_reauthentication_required(&sensitive(&ada, &refreshed.access).await);
    let auth_time = |tokens: &Tokens| claims(&tokens.access)["auth_time"].as_i64().unwrap();
    assert!(auth_time(&refreshed) <= auth_time(&signed_in) - 600, "a refresh does not renew auth_time");

    let reply = ada.reauthenticates(&refreshed.access).await;
    let renewed = Tokens::from(&reply);
    assert_eq!(reply.text_at("message"), "Reauthenticated");
    assert_eq!(renewed.refresh, refreshed.refresh, "the refresh token is not rotated");
    assert_eq!(claims(&renewed.access)["sid"], claims(&refreshed.access)["sid"]);
    assert_eq!(claims(&renewed.access)["amr"], serde_json::json!(["pwd"]));
    assert!(auth_time(&renewed) >= auth_time(&signed_in));
    assert_eq!(sensitive(&ada, &renewed.access).await.status, 200);
    // The session's row is fresh now, but this access token is from before the proof.
    assert_reauthentication_required(&sensitive(&ada, &refreshed.access).await);
    let next = Tokens::from(&ada.refreshes(&renewed.refresh).await);
    assert_eq!(auth_time(&next), auth_time(&renewed));
    assert_eq!(sensitive(&ada, &next.access).await.status, 200);
    assert_eq!(stack.logs().matches("event=\"reauthenticated\" user_id=1").count(), 1);
}

// Requirement 54.
#[rstest]
#[tokio::test]
async fn without_auth_time_the_time_of_its_opening_counts_for_a_session(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let opened_at = claims(&tokens.access)["auth_time"].clone();
    stack.sessions().move_auth_time_back(601).await;
    stack.sessions().forget_columns_of_version_7().await;
    let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(claims(&tokens.access)["auth_time"], opened_at);
    assert_eq!(ada.sessions(&tokens.access).await.json()["sessions"][0]["user_agent"], serde_json::Value::Null);
    assert_eq!(ada.reauthenticates(&tokens.access).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_wrong_password_renews_nothing(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack.sessions().move_auth_time_back(601).await;
    for wrong in ["wrong", "Password123", &"long ".repeat(1000)] {
        assert_wrong_password(&ada.with_password(wrong).reauthenticates(&tokens.access).await);
    }
    ada.with_password("").reauthenticates(&tokens.access).await.assert_refused(
        400,
        "missing_required_fields",
        "Missing required fields",
    );
    assert_reauthentication_required(&sensitive(&ada, &tokens.access).await);
    assert_eq!(stack.logs().matches("event=\"sign_in_failed\" user_id=1").count(), 3);
}

#[rstest]
#[tokio::test]
async fn only_the_access_token_of_a_live_session_may_prove_the_password(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.reauthenticates(&tokens.refresh).await.assert_refused(401, "invalid_token", "Invalid token");
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    // The token is checked before the body.
    for password in ["password123", "wrong", ""] {
        let reply = ada.with_password(password).reauthenticates(&tokens.access).await;
        reply.assert_refused(401, "token_revoked", "Token has been revoked");
    }
    assert!(!stack.logs().contains("sign_in_failed"), "an ended session counts no attempts");
    let tokens = ada.signs_in().await;
    stack.sql("DELETE FROM users").await;
    ada.reauthenticates(&tokens.access).await.assert_refused(404, "user_not_found", "User not found");
}

// Requirements 20, 21.
#[rstest]
#[tokio::test]
async fn wrong_passwords_in_a_session_count_as_failed_sign_ins(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let eve = ada.with_password("a guess");
    for _ in 0..3 {
        assert_wrong_password(&eve.reauthenticates(&tokens.access).await);
    }
    // A right password clears the failures.
    assert_eq!(ada.reauthenticates(&tokens.access).await.status, 200);
    for _ in 0..2 {
        assert_eq!(eve.tries_to_sign_in().await.status, 401);
    }
    for _ in 0..3 {
        assert_wrong_password(&eve.changes_password(&tokens.access, "another password").await);
    }
    for reply in [
        ada.reauthenticates(&tokens.access).await,
        ada.changes_password(&tokens.access, "another password").await,
        ada.tries_to_sign_in().await,
    ] {
        reply.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    }
    assert_eq!(ada.from_source("192.0.2.10").reauthenticates(&tokens.access).await.status, 200);
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
}

// Requirement 21.
#[rstest]
#[tokio::test]
async fn nobody_else_can_stop_a_signed_in_user_from_proving_the_password(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.from_source("192.0.2.10").signs_in().await;
    crate::throttling::closed_accounts::attack_from_many_sources(&ada).await;
    let elsewhere = ada.from_source("192.0.2.20");
    assert_eq!(elsewhere.tries_to_sign_in().await.status, 429, "the account is closed to new sources");
    assert_wrong_password(&elsewhere.with_password("wrong").reauthenticates(&tokens.access).await);
    assert_eq!(elsewhere.reauthenticates(&tokens.access).await.status, 200);
    elsewhere.signs_in().await;
}

/// A thief of a session who changes the source does not get more guesses. The thief does not stop the owner's own sessions.
// Requirements 20, 21.
#[rstest]
#[tokio::test]
async fn a_session_allows_a_hundred_wrong_passwords_in_a_row(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    let (stolen, own) = (ada.signs_in().await, ada.signs_in().await);
    let guess = async |n: u32, tokens: &Tokens| {
        let thief = ada.from_source(&format!("198.51.100.{}", n / 4)).with_password("a guess");
        thief.reauthenticates(&tokens.access).await
    };
    for n in 0..99 {
        assert_wrong_password(&guess(n, &stolen).await);
    }
    // A right password clears the failures.
    let elsewhere = ada.from_source("192.0.2.10");
    assert_eq!(elsewhere.reauthenticates(&stolen.access).await.status, 200);
    for n in 100..200 {
        assert_wrong_password(&guess(n, &stolen).await);
    }
    for reply in [
        guess(200, &stolen).await,
        elsewhere.reauthenticates(&stolen.access).await,
        elsewhere.changes_password(&stolen.access, "another password").await,
    ] {
        reply.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    }
    assert_eq!(elsewhere.reauthenticates(&own.access).await.status, 200);
    assert_eq!(elsewhere.changes_password(&own.access, "another password").await.status, 200);
}
