//! `POST /api/keep-account/{token}`.

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
};

use crate::support::{assert_link_refused, assert_session_ended};

// Requirement 56.
#[rstest]
#[tokio::test]
async fn the_link_in_the_mail_keeps_a_deleted_account_and_signs_nobody_in(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let reset = ada.receives_reset_mail(1).await.token();
    let link = ada.deletes_account_with_mail(&tokens.access, 2).await;
    ada.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");

    ada.keeps_account(&link).await.assert_ok(&json!({ "message": "Account kept" }));
    assert!(stack.sessions().live().await.is_empty(), "nobody is signed in");
    assert_session_ended(&stack, &tokens).await;
    let again = ada.keeps_account(&link).await;
    assert_link_refused(&again);
    let reset = ada.resets_password(&reset, "another password").await;
    assert_link_refused(&reset);
    let account = ada.account(&ada.signs_in().await.access).await;
    assert_eq!(account.json()["user"]["email_verified"], false, "the link verifies nothing");
    assert_eq!(stack.sql_number("SELECT count(*) FROM account_deletions").await, 0);
    assert_eq!(stack.sweep().await["accounts_erased"], 0);
    let logs = stack.logs();
    for event in ["account_deleted", "account_kept"] {
        assert_eq!(logs.matches(&format!("event=\"{event}\" user_id=1")).count(), 1, "{event}");
    }
}

#[rstest]
#[tokio::test]
async fn an_unknown_a_malformed_or_an_expired_link_keeps_nothing(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let link = ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
    stack.sql("UPDATE account_deletions SET erase_at = now()").await;
    for token in ["A".repeat(43), "short".to_owned(), format!("{link}A"), link] {
        assert_link_refused(&ada.keeps_account(&token).await);
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM account_deletions").await, 1);
}

#[tokio::test]
async fn a_newer_link_invalidates_the_older_one_and_so_does_another_deletion() {
    let stack = Stack::builder().with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let ada = stack.user("Ada").await;
    let first = ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
    let second = ada.receives_reset_mail(2).await.token();
    assert_link_refused(&ada.keeps_account(&first).await);
    assert_eq!(ada.keeps_account(&second).await.status, 200);
    let third = ada.deletes_account_with_mail(&ada.signs_in().await.access, 3).await;
    for used in [&first, &second] {
        assert_link_refused(&ada.keeps_account(used).await);
    }
    assert_eq!(ada.keeps_account(&third).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn of_fifty_concurrent_requests_with_one_token_one_keeps_the_account(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::builder().state_in(store).processes(6).start().await;
    let ada = stack.user("Ada").await;
    let link = ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
    let replies = join_all((0..50).map(|_| ada.keeps_account(&link))).await;
    let kept = replies.iter().filter(|reply| reply.status == 200).count();
    let refused = replies.iter().filter(|reply| reply.status == 400).count();
    assert_eq!((kept, refused), (1, 49));
    ada.signs_in().await;
}

// Requirement 35.
#[rstest]
#[tokio::test]
async fn a_source_may_try_sixty_links_an_hour(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let unknown = "A".repeat(43);
    for _ in 0..60 {
        assert_eq!(ada.keeps_account(&unknown).await.status, 400);
    }
    let refused = ada.keeps_account(&unknown).await;
    assert_eq!((refused.status, refused.text_at("code")), (429, "too_many_attempts".to_owned()));
    assert_eq!(ada.from_source("192.0.2.1").keeps_account(&unknown).await.status, 400);
}
