//! The limits of mails to mailboxes that nobody has proved.

use reqwest::Method;
use rstest::rstest;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens, mailbox,
};

use super::{assert_sent, new_user, stack_in};

/// Addresses that differ only after a `+` or in case are one mailbox. The mail of the sign-up counts.
// Requirement 60.
#[rstest]
#[tokio::test]
async fn a_mailbox_gets_three_mails_an_hour(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, _) = new_user(&stack, "Ada").await;
    let tagged = ada.with_email(&ada.email.replace('@', "+tag@"));
    tagged.signs_up().await.assert_created();
    tagged.mails(1).await;
    let tokens = tagged.signs_in().await;
    for _ in 0..3 {
        assert_sent(&tagged.requests_verification_mail(&tokens.access).await);
    }
    tagged.mails(2).await;
    let other = ada.with_email(&ada.email.to_uppercase().replace('@', "+OTHER@"));
    other.signs_up().await.assert_created();
    assert_sent(&ada.requests_verification_mail(&ada.signs_in().await.access).await);
    assert_eq!(mailbox::mails_to(&other.email).await.len(), 0);
    assert_eq!(mailbox::mails_to(&ada.email).await.len(), 1);
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0);
    assert!(!stack.logs().contains("MAILS_PER_HOUR is used up"));

    stack.sql("UPDATE throttle SET expires_at = now() WHERE attempts = 3").await;
    assert_sent(&ada.requests_verification_mail(&ada.signs_in().await.access).await);
    ada.mails(2).await;
}

// Requirement 60.
#[rstest]
#[tokio::test]
async fn all_sign_ups_together_cause_a_limited_number_of_mails(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).with_verification().with("MAILS_PER_HOUR", "2").start().await;
    let (ada, kate) = (stack.user("Ada").await, stack.user("Kate").await);
    ada.mails(1).await;
    kate.mails(1).await;
    let used_up = "MAILS_PER_HOUR is used up";
    assert!(!stack.log_of("signup").contains(used_up));
    let bob = stack.stranger("Bob").from_source("192.0.2.10");
    bob.signs_up().await.assert_created();
    assert_eq!(stack.log_of("signup").matches(used_up).count(), 1);
    assert!(stack.log_of("signup").contains("ERROR"));
    assert_eq!(stack.sql_number("SELECT count(*) FROM email_verifications").await, 2);
    // The mail waits for a request of the signed-in user, which does not count in this budget.
    let tokens = bob.signs_in().await;
    assert_sent(&bob.requests_verification_mail(&tokens.access).await);
    let mail = bob.mails(1).await.remove(0);
    assert_eq!(bob.verifies_by_code(&tokens.access, &mail.code()).await.status, 200);
}

// Requirement 60.
#[tokio::test]
async fn a_budget_of_zero_sends_no_mail() {
    let stack = Stack::builder().with_verification().with("MAILS_PER_HOUR", "0").start().await;
    stack.user("Ada").await;
    assert_eq!(stack.sql_number("SELECT count(*) FROM email_verifications").await, 0);
    assert_eq!(stack.log_of("signup").matches("MAILS_PER_HOUR is used up").count(), 1);
}

/// Somebody could sign up with other people's addresses to send them these mails. Addresses that differ only after the `+` have one limit together.
/// The address without a `+` has its own, so nobody else can use it up, and each kind of mail has its own.
// Requirement 60.
#[rstest]
#[tokio::test]
async fn an_unproved_mailbox_gets_three_mails_of_a_kind_about_accounts_an_hour(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::builder().state_in(store).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let ada = stack.stranger("Ada");
    let mut mails = Vec::new();
    for tag in ["+1", "+2", "+3", "+4", ""] {
        let person = ada.with_email(&ada.email.replace('@', &format!("{tag}@")));
        person.signs_up().await.assert_created();
        let tokens = Tokens::from(&person.changes_password(&person.signs_in().await.access, "another password").await);
        let new = stack.stranger("Ada");
        assert_eq!(person.requests_email_change(&tokens.access, &new.email).await.status, 202);
        assert_eq!(person.deletes_account(&tokens.access).await.status, 202);
        stack.send_owed_mails().await;
        mails.push(mailbox::mails_to(&person.email).await.len());
    }
    assert_eq!(mails, [3, 3, 3, 0, 3]);

    // A verified address has no such limit.
    let verify = "DELETE FROM account_deletions; UPDATE users SET email_verified_at = now() WHERE email LIKE '%+4@%'";
    stack.sql(verify).await;
    let person = ada.with_email(&ada.email.replace('@', "+4@")).with_password("another password");
    assert_eq!(person.deletes_account(&person.signs_in().await.access).await.status, 202);
    person.mails(1).await;
}

// Requirement 60.
#[tokio::test]
async fn one_source_causes_at_most_twenty_mails() {
    let stack = stack_in(PostgreSql).await;
    for _ in 0..22 {
        stack.user("Ada").await;
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM email_verifications").await, 20);
    assert!(!stack.log_of("signup").contains("MAILS_PER_HOUR is used up"), "one source does not use up the budget");
    let elsewhere = stack.stranger("Kate").from_source("192.0.2.10");
    elsewhere.signs_up().await.assert_created();
    elsewhere.mails(1).await;
}

#[tokio::test]
async fn without_verification_a_sign_up_owes_no_mail_but_the_user_may_request_one() {
    let stack = Stack::builder().with("EMAIL_VERIFICATION", "off").start().await;
    let ada = stack.user("Ada").await;
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0);
    let tokens = ada.signs_in().await;
    // The route reads no body.
    let reply =
        stack.send(Method::POST, "/api/verify-email/send", |request| request.bearer_auth(&tokens.access).body("{"));
    assert_sent(&reply.await);
    assert_eq!(ada.mails(1).await.len(), 1);
}
