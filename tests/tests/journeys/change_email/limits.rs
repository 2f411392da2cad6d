//! How often addresses may be changed, and how many wrong passwords a link allows.

use futures_util::future::join_all;
use rstest::rstest;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
    mailbox::{self, EMAIL_CHANGE, EMAIL_CHANGE_REQUESTED},
};

use super::{assert_changed, assert_requested, builder, link_for};
use crate::support::assert_link_refused;

// Requirements 20, 53.
#[rstest]
#[tokio::test]
async fn wrong_passwords_count_as_failed_sign_ins(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = builder(store).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let link = link_for(&ada, &tokens, &stack.stranger("Ada")).await;
    let eve = ada.with_password("a guess");
    for _ in 0..3 {
        let reply = eve.changes_email(&link).await;
        reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
        assert_eq!(reply.header("www-authenticate"), None);
    }
    for _ in 0..2 {
        assert_eq!(eve.tries_to_sign_in().await.status, 401);
    }
    for reply in [ada.changes_email(&link).await, ada.tries_to_sign_in().await] {
        reply.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    }
    assert_eq!(stack.logs().matches("event=\"sign_in_failed\" user_id=1").count(), 5);
    // A right password clears the failures.
    crate::throttling::let_time_pass(&stack, 60).await;
    assert_changed(&ada.changes_email(&link).await);
    let renamed = ada.with_email(&stack.sql_text("SELECT email::text FROM users").await);
    for _ in 0..4 {
        assert_eq!(renamed.with_password("a guess").tries_to_sign_in().await.status, 401);
    }
    renamed.signs_in().await;
}

// Requirement 51.
#[rstest]
#[tokio::test]
async fn a_source_may_send_sixty_invalid_links_an_hour(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    let unknown = "A".repeat(43);
    let uses = || async {
        let (change, undo) = (ada.changes_email(&unknown).await, ada.undoes_email_change(&unknown).await);
        [change, undo, ada.verifies_by_link(&unknown).await]
    };
    for reply in join_all((0..60).map(|_| uses())).await.iter().flatten() {
        assert_link_refused(reply);
    }
    for reply in uses().await {
        reply.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    }
    assert_link_refused(&ada.from_source("192.0.2.1").changes_email(&unknown).await);
}

// Requirement 60.
#[rstest]
#[tokio::test]
async fn a_mailbox_gets_three_change_mails_an_hour(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = builder(store).start().await;
    let target = stack.stranger("Kate");
    let mut mails = 0;
    for tag in ["", "+1", "+TWO", "+1+2", "+"] {
        let ada = stack.user("Ada").await;
        let address = target.email.replace('@', &format!("{tag}@")).replace("kate", "KATE");
        assert_requested(&ada.requests_email_change(&ada.signs_in().await.access, &address).await);
        stack.send_owed_mails().await;
        mails += mailbox::mails_to(&address).await.len();
    }
    assert_eq!(mails, 3);
    crate::throttling::let_time_pass(&stack, 0).await;
    stack.sql("UPDATE throttle SET expires_at = now()").await;
    let ada = stack.user("Ada").await;
    link_for(&ada, &ada.signs_in().await, &target).await;
}

/// A request without a mail must not void the link of an earlier one.
// Requirement 60.
#[tokio::test]
async fn a_request_over_the_budget_changes_nothing() {
    let stack = builder(PostgreSql).with("MAILS_PER_HOUR", "1").start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let new = stack.stranger("Ada");
    let link = link_for(&ada, &tokens, &new).await;
    assert_requested(&ada.requests_email_change(&tokens.access, &stack.stranger("Ada").email).await);
    assert_eq!(stack.log_of("change-email").matches("MAILS_PER_HOUR is used up").count(), 1);
    assert_eq!(ada.account(&tokens.access).await.json()["pending_email"], new.email.as_str());
    assert_changed(&ada.changes_email(&link).await);
}

/// A request over the limit gets the same answer, and the last link stays valid.
// Requirement 60.
#[rstest]
#[tokio::test]
async fn an_account_may_request_five_changes_an_hour(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = builder(store).start().await;
    let (ada, kate) = (stack.user("Ada").await, stack.user("Kate").await);
    // An address that is not verified gets fewer notices.
    stack.sql("UPDATE users SET email_verified_at = now()").await;
    let tokens = ada.signs_in().await;
    // Taken addresses count, too.
    assert_requested(&ada.requests_email_change(&tokens.access, &kate.email).await);
    for _ in 0..3 {
        link_for(&ada, &tokens, &stack.stranger("Ada")).await;
    }
    let last = link_for(&ada, &tokens, &stack.stranger("Ada")).await;
    let refused = stack.stranger("Ada");
    assert_requested(&ada.requests_email_change(&tokens.access, &refused.email).await);
    stack.send_owed_mails().await;
    assert!(mailbox::mails_to(&refused.email).await.is_empty());
    let mails = mailbox::mails_to(&ada.email).await;
    assert_eq!(mails.iter().filter(|mail| mail.subject == EMAIL_CHANGE_REQUESTED).count(), 5);
    assert!(mails.iter().all(|mail| mail.subject != EMAIL_CHANGE));
    assert_changed(&ada.changes_email(&last).await);
}
