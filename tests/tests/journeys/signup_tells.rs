//! `SIGNUP_TELLS=off`: nobody learns from sign-up or sign-in which addresses have accounts.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use rstest::rstest;
use serde_json::json;
use shared::{domain::Source, security::MailBudget};
use tests::{
    Person, Reply, Stack, StackBuilder,
    Store::{self, DynamoDb, PostgreSql},
    mailbox::{self, EMAIL_CHANGE, SIGN_UP_ATTEMPTED},
};

fn builder() -> StackBuilder {
    Stack::builder().with("SIGNUP_TELLS", "off").with("EMAIL_VERIFICATION", "on")
}

/// The headers of an answer, without those that every answer has its own of.
fn headers(reply: &Reply) -> BTreeMap<String, String> {
    let all = reply.headers.iter().map(|(name, value)| (name.to_string(), format!("{value:?}")));
    all.filter(|(name, _)| !["date", "apigw-requestid"].contains(&name.as_str())).collect()
}

// Requirement 58.
#[tokio::test]
async fn a_taken_address_is_answered_like_a_free_one_after_the_same_time() {
    let stack = builder().with("FORGOT_PASSWORD_FLOOR_MS", "").start().await;
    let ada = stack.stranger("Ada");
    ada.signs_up().await.assert_created();
    for round in 0..3 {
        let (taken, free) = (ada.signs_up().await, stack.stranger("Kate").signs_up().await);
        taken.assert_created();
        assert_eq!(headers(&taken), headers(&free));
        assert_eq!(taken.text, free.text);
        for reply in [taken, free] {
            // The first requests start the process and take longer.
            let most = if round == 0 { 3_000 } else { 2_000 };
            assert!(
                reply.took >= Duration::from_secs(1) && reply.took < Duration::from_millis(most),
                "{:?}",
                reply.took
            );
        }
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 4);
}

// Requirement 58.
#[tokio::test]
async fn the_owner_of_an_account_learns_that_somebody_tried_to_sign_up_and_keeps_the_account() {
    let stack = builder().start().await;
    let ada = stack.stranger("Ada");
    let body = json!({ "name": "Ada", "email": ada.email, "password": ada.password, "locale": "de" });
    let signed_up = stack.send(Method::POST, "/api/signup", |request| request.json(&body)).await;
    signed_up.assert_created();
    let verification = ada.mails(1).await.remove(0);
    assert_eq!(ada.verifies_by_link(&verification.token()).await.status, 200);

    let stranger = ada.with_password("the password of a stranger");
    for _ in 0..5 {
        stranger.with_email(&ada.email.to_uppercase()).signs_up().await.assert_created();
    }
    let mails = ada.mails(4).await;
    assert!(
        mails[1..].iter().all(|mail| mail.subject == "Jemand wollte sich mit Ihrer Adresse registrieren"),
        "{mails:?}"
    );
    assert_eq!(stranger.tries_to_sign_in().await.status, 401);
    ada.signs_in().await;
}

// Requirement 58.
#[tokio::test]
async fn a_user_signs_in_only_after_the_address_is_verified() {
    let stack = builder().start().await;
    let (ada, kate) = (stack.stranger("Ada"), stack.stranger("Kate"));
    for person in [&ada, &kate] {
        person.signs_up().await.assert_created();
        let unverified = person.tries_to_sign_in().await;
        unverified.assert_refused(401, "invalid_credentials", "Invalid credentials");
        let unknown = stack.stranger("Nobody").tries_to_sign_in().await;
        assert_eq!((headers(&unverified), &unverified.text), (headers(&unknown), &unknown.text));
    }
    let link = ada.mails(1).await.remove(0).token();
    assert_eq!(ada.verifies_by_link(&link).await.status, 200);
    ada.signs_in().await;

    let token = kate.receives_reset_mail(2).await.token();
    assert_eq!(kate.resets_password(&token, "another password").await.status, 200);
    kate.with_password("another password").signs_in().await;
}

/// Otherwise, the waiting time would show that the password was right.
#[tokio::test]
async fn a_sign_in_to_an_unverified_account_counts_as_a_wrong_password() {
    let stack = builder().start().await;
    let ada = stack.stranger("Ada");
    ada.signs_up().await.assert_created();
    for _ in 0..5 {
        assert_eq!(ada.tries_to_sign_in().await.status, 401);
    }
    assert_eq!(ada.tries_to_sign_in().await.status, 429);
}

/// Somebody could use up the attempts of an address, sign up with it, and see whether that created an account.
// Requirement 58.
#[rstest]
#[tokio::test]
async fn a_sign_up_does_not_change_how_attempts_to_sign_in_are_counted(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = builder().state_in(store).start().await;
    let (ada, nobody) = (stack.stranger("Ada"), stack.stranger("Nobody"));
    ada.signs_up().await.assert_created();
    let link = ada.mails(1).await.remove(0).token();
    assert_eq!(ada.verifies_by_link(&link).await.status, 200);
    for person in [&ada, &nobody] {
        let eve = person.with_password("the guess of Eve");
        for _ in 0..5 {
            assert_eq!(eve.tries_to_sign_in().await.status, 401);
        }
        eve.signs_up().await.assert_created();
        assert_eq!(eve.tries_to_sign_in().await.status, 429, "{}", person.name);
    }
}

/// How many mails were counted for the source of this person, and for all sources together.
async fn counted_mails(stack: &Stack, person: &Person<'_>) -> String {
    let of_source = hex::encode(MailBudget::source_counter(&Source::of(Some(&person.source))).as_bytes());
    let query = format!(
        "SELECT coalesce(string_agg(attempts::text, ' '), '') FROM throttle
        WHERE key IN (decode('{of_source}', 'hex'), sha256('mails to unproved mailboxes'))"
    );
    stack.sql_text(&query).await
}

/// Somebody could see by the mails to a mailbox of their own whether a sign-up with another address used up the budget.
// Requirement 58.
#[rstest]
#[tokio::test]
async fn every_sign_up_counts_once_in_the_budget_of_mails(#[values("on", "off")] verification: &str) {
    let stack = builder().with("EMAIL_VERIFICATION", verification).start().await;
    let ada = stack.stranger("Ada");
    for count in 1..=6 {
        // The first address is free. Then it is taken, and the last sign-ups exceed the limit of its mailbox.
        ada.signs_up().await.assert_created();
        assert_eq!(counted_mails(&stack, &ada).await, format!("{count} {count}"));
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 1);
}

/// Nobody can sign in to a deleted account. But its owner can keep it, and must learn why the sign-up created no account.
#[tokio::test]
async fn the_owner_of_a_deleted_account_gets_the_notice() {
    let stack = builder().start().await;
    let ada = stack.stranger("Ada");
    ada.signs_up().await.assert_created();
    let link = ada.mails(1).await.remove(0).token();
    assert_eq!(ada.verifies_by_link(&link).await.status, 200);
    assert_eq!(ada.deletes_account(&ada.signs_in().await.access).await.status, 202);
    ada.mails(2).await;
    ada.signs_up().await.assert_created();
    assert_eq!(ada.mails(3).await[2].subject, SIGN_UP_ATTEMPTED);
    assert_eq!(ada.tries_to_sign_in().await.status, 401);
}

/// While a change of the address can be undone, the earlier address stays taken.
#[tokio::test]
async fn the_owner_of_a_reserved_address_gets_the_notice_there() {
    let stack = builder().start().await;
    let (ada, renamed) = (stack.stranger("Ada"), stack.stranger("Ada"));
    ada.signs_up().await.assert_created();
    let link = ada.mails(1).await.remove(0).token();
    assert_eq!(ada.verifies_by_link(&link).await.status, 200);
    let tokens = ada.signs_in().await;
    assert_eq!(ada.requests_email_change(&tokens.access, &renamed.email).await.status, 202);
    let link = renamed.newest_mail(EMAIL_CHANGE).await.token();
    assert_eq!(ada.changes_email(&link).await.status, 200);
    assert_eq!(counted_mails(&stack, &ada).await, "2 2");
    // The same address in capitals might belong to somebody else.
    let stranger = ada.with_email(&ada.email.to_uppercase());
    stranger.signs_up().await.assert_created();
    assert_eq!(counted_mails(&stack, &ada).await, "3 3");
    ada.newest_mail(SIGN_UP_ATTEMPTED).await;
    assert!(mailbox::mails_to(&stranger.email).await.is_empty());
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 1);
}

// Requirement 60.
#[tokio::test]
async fn a_used_up_budget_is_reported_for_notices_too() {
    let stack = builder().with("MAILS_PER_HOUR", "1").start().await;
    let ada = stack.stranger("Ada");
    ada.signs_up().await.assert_created();
    ada.signs_up().await.assert_created();
    assert_eq!(ada.mails(1).await.len(), 1);
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0);
    assert_eq!(stack.log_of("signup").matches("MAILS_PER_HOUR is used up").count(), 1);
}
