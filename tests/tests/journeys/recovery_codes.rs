//! `/api/recovery-codes`.

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
    authenticator::Added,
};

// Requirement 68.
#[rstest]
#[tokio::test]
async fn new_recovery_codes_replace_the_old_ones(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    let tokens = ada.signs_in().await;
    let none = json!({ "left": 0, "created_at": null });
    ada.recovery_codes_left(&tokens.access).await.assert_ok(&none);
    ada.replaces_recovery_codes(&tokens.access).await.assert_refused(
        409,
        "no_second_factor",
        "The account has no second factor",
    );

    let Added { tokens, recovery_codes, .. } = ada.adds_totp().await;
    let left = ada.recovery_codes_left(&tokens.access).await.json();
    assert_eq!(left["left"], 10);
    assert!(left["created_at"].as_str().unwrap().ends_with('Z'), "{left}");
    let token = ada.signs_in_halfway().await;
    assert_eq!(ada.shows_factor(&token, &json!({ "recovery_code": recovery_codes[0] })).await.status, 200);
    assert_eq!(ada.recovery_codes_left(&tokens.access).await.json()["left"], 9);

    // Of concurrent requests, the codes of exactly one remain.
    let replies = join_all((0..4).map(|_| ada.replaces_recovery_codes(&tokens.access))).await;
    let sets: Vec<Vec<String>> =
        replies.iter().map(|reply| serde_json::from_value(reply.json()["recovery_codes"].clone()).unwrap()).collect();
    assert_eq!(ada.recovery_codes_left(&tokens.access).await.json()["left"], 10);
    let mut working = Vec::new();
    for set in &sets {
        let token = ada.signs_in_halfway().await;
        if ada.shows_factor(&token, &json!({ "recovery_code": set[9] })).await.status == 200 {
            working.push(set);
        }
    }
    assert_eq!(working.len(), 1);
    for code in &working[0][..9] {
        let token = ada.signs_in_halfway().await;
        assert_eq!(ada.shows_factor(&token, &json!({ "recovery_code": code })).await.status, 200);
    }
    let token = ada.signs_in_halfway().await;
    let old = ada.shows_factor(&token, &json!({ "recovery_code": recovery_codes[1] })).await;
    old.assert_refused(400, "invalid_code", "Invalid or expired code");
    assert!(ada.newest_mail("The recovery codes of your account were replaced").await.text.contains("recovery codes"));
}
