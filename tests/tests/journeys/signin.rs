//! `POST /api/signin`: credentials, the tokens it issues, and how many sessions an account may have.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;
use shared::domain::CounterKey;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    jwt::claims,
};

use crate::support::{assert_session_ended, get_example};

// Requirement 16.
#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let wrong = ada.with_password("not the password").tries_to_sign_in().await;
    let unknown = stack.stranger("Nobody").tries_to_sign_in().await;
    wrong.assert_refused(401, "invalid_credentials", "Invalid credentials");
    assert_eq!(wrong.text, unknown.text);
    let without_date = |reply: &tests::Reply| {
        let mut headers = reply.headers.clone();
        headers.remove("date");
        headers
    };
    assert_eq!(without_date(&wrong), without_date(&unknown));
    assert_eq!(wrong.header("www-authenticate"), None, "sign-in takes no bearer token");
}

/// This test detects only a large difference, for example because no hash was computed. docs/measurements.md has the exact difference.
// Requirement 16.
#[tokio::test]
async fn an_unknown_address_takes_as_long_as_a_wrong_password() {
    let stack = Stack::builder().processes(1).start().await;
    let (ada, nobody) = (stack.user("Ada").await.with_password("not the password"), stack.stranger("Nobody"));
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for n in 0..15 {
        let source = format!("192.0.2.{n}");
        known.push(ada.from_source(&source).tries_to_sign_in().await.took);
        unknown.push(nobody.from_source(&source).tries_to_sign_in().await.took);
    }
    known.sort_unstable();
    unknown.sort_unstable();
    assert!(unknown[7] * 2 > known[7] && known[7] * 2 > unknown[7], "{known:?} {unknown:?}");
}

#[tokio::test]
async fn a_user_signs_in_with_the_address_in_any_case() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let reply = ada.with_email(&ada.email.to_uppercase()).tries_to_sign_in().await;
    assert_eq!(reply.json()["user"]["email"], json!(ada.email), "the address as it is stored");
}

#[tokio::test]
async fn a_sign_in_without_a_field_is_refused() {
    let stack = Stack::start().await;
    for body in [
        json!({}),
        json!({ "email": "ada@example.com" }),
        json!({ "password": "password123" }),
        json!({ "email": "", "password": "password123" }),
        json!({ "email": "ada@example.com", "password": "" }),
        json!({ "email": ["ada@example.com"], "password": "password123" }),
        json!({ "email": "ada@example.com", "password": 12_345_678 }),
    ] {
        let reply = stack.post("/api/signin", &body).await;
        reply.assert_refused(400, "missing_email_or_password", "Missing email or password");
    }
}

#[tokio::test]
async fn any_string_as_address_or_password_gets_invalid_credentials() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let huge = "x".repeat(15_000);
    let strange = ["not an address", "a\0b", "' OR 1=1 --", "\u{feff}", "🐎", "%", huge.as_str()];
    for (n, strange) in strange.into_iter().enumerate() {
        let ada = ada.from_source(&format!("192.0.2.{n}"));
        let reply = ada.with_email(strange).tries_to_sign_in().await;
        reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
        let reply = ada.with_password(strange).tries_to_sign_in().await;
        reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
    }
}

#[tokio::test]
async fn tokens_carry_the_documented_claims() {
    let stack = Stack::start().await;
    let tokens = stack.user("Ada").await.signs_in().await;
    let (access, refresh) = (claims(&tokens.access), claims(&tokens.refresh));
    let names = |claims: &serde_json::Value| {
        let names: BTreeSet<_> = claims.as_object().unwrap().keys().cloned().collect();
        Vec::from_iter(names).join(" ")
    };
    assert_eq!(names(&access), "acr amr aud auth_time email_verified exp fresh iat iss jti nbf sid sub type");
    assert_eq!(names(&refresh), "aud exp fresh iat iss jti nbf sid sub type");
    assert_eq!((&access["auth_time"], &access["amr"]), (&access["iat"], &json!(["pwd"])));
    assert_eq!((&access["iss"], &access["aud"], &access["sub"]), (&json!("jwt-auth"), &json!("jwt-auth"), &json!("1")));
    assert_eq!((&access["type"], &access["fresh"]), (&json!("access"), &json!(true)));
    assert_eq!((&refresh["type"], &refresh["aud"]), (&json!("refresh"), &json!("jwt-auth/refresh")));
    assert_eq!(access["sid"], refresh["sid"]);
    assert_eq!(access["exp"].as_i64().unwrap() - access["iat"].as_i64().unwrap(), 3600);
    assert_eq!(refresh["exp"].as_i64().unwrap() - refresh["iat"].as_i64().unwrap(), 604_800);
    assert_eq!(stack.sessions().live().await, [access["sid"].as_str().unwrap()]);
}

#[tokio::test]
async fn the_fifty_first_sign_in_ends_the_session_that_was_unused_for_longest() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let (unused, refreshed) = (ada.signs_in().await, ada.signs_in().await);
    stack.sessions().move_refresh_back(3600).await;
    let refreshed = Tokens::from(&ada.refreshes(&refreshed.refresh).await);
    let mut others = Vec::new();
    for _ in 0..48 {
        others.push(ada.signs_in().await);
    }
    assert_eq!(ada.dashboard(&unused.access).await.status, 200, "fifty sessions may be live");
    let newest = ada.signs_in().await;
    assert_session_ended(&stack, &unused).await;
    let example = async |tokens: &Tokens| get_example(&stack, &tokens.access).await.status;
    assert_eq!(example(&unused).await, 403, "the authorizer refuses it as well");
    for tokens in [&refreshed, &others[0], &others[47], &newest] {
        assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
        assert_eq!(example(tokens).await, 200);
    }
    // An ended session does not count.
    assert_eq!(ada.logs_out(&others[47].access).await.status, 200);
    ada.signs_in().await;
    assert_eq!(ada.dashboard(&others[0].access).await.status, 200);
}

#[tokio::test]
async fn concurrent_sign_ins_may_exceed_fifty_sessions_until_the_next_sign_in() {
    let stack = Stack::builder().processes(4).start().await;
    let ada = stack.user("Ada").await;
    stack.sessions().add(80).await;
    let replies = join_all((0..20).map(|_| ada.tries_to_sign_in())).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    let last = ada.signs_in().await;
    assert_eq!(stack.sessions().live().await.len(), 50);
    for tokens in replies.iter().map(Tokens::from).chain([last]) {
        assert_eq!(ada.dashboard(&tokens.access).await.status, 200, "the newest sessions are live");
    }
}

/// The minimum version in the table is above the credential version only after a restore of PostgreSQL. After such a restore, a new account can get
/// a user id that belonged to another account before it, so an old session could belong to a stranger.
#[tokio::test]
async fn a_sign_in_is_unavailable_if_the_state_table_is_newer_than_the_database() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let ada = stack.user("Ada").await;
    let link = ada.receives_reset_mail(1).await.token();
    assert_eq!(ada.resets_password(&link, "another password").await.status, 200);
    stack.sql("UPDATE users SET credential_version = 1").await;
    let reply = ada.with_password("another password").tries_to_sign_in().await;
    reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
    assert!(stack.log_of("signin").contains("the state table is newer than the database"));
    assert!(stack.sessions().live().await.is_empty());
}

/// Answers, counters and statements are the same. After five failures, both have to wait.
// Requirement 56.
#[rstest]
#[tokio::test]
async fn a_deleted_account_is_answered_and_counted_like_an_unknown_address(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, nobody) = (stack.user("Ada").await, stack.stranger("Nobody"));
    ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
    let counters = async || match &stack.state_table {
        Some(table) => table.counters().await.len(),
        None => usize::try_from(stack.sql_number("SELECT count(*) FROM throttle").await).unwrap(),
    };
    for person in [&ada.from_source("192.0.2.1"), &nobody.from_source("192.0.2.2")] {
        let before = counters().await;
        for _ in 0..5 {
            let reply = person.tries_to_sign_in().await;
            reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
        }
        assert!(counters().await > before);
        assert_eq!(person.tries_to_sign_in().await.status, 429);
    }
    for address in [&ada.email, &nobody.email] {
        let key = CounterKey::of(&["signin", "account", "address", &address.to_lowercase()]);
        let key = hex::encode(key.as_bytes());
        let found = match &stack.state_table {
            Some(table) => table.counters().await.iter().any(|item| item["pk"]["S"] == format!("c#{key}")),
            None => stack.sql_number(&format!("SELECT count(*) FROM throttle WHERE key = '\\x{key}'")).await == 1,
        };
        assert!(found, "the failures are counted for the address");
    }
    assert!(stack.logs().matches("event=\"sign_in_failed\"").count() >= 10);
    assert!(!stack.logs().contains("event=\"sign_in_failed\" user_id=1"));
}
