//! `POST /api/change-password`.

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;
use tests::{
    Person, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    jwt::claims,
    mailbox,
};

use crate::{
    reauthenticate::{assert_reauthentication_required, assert_wrong_password},
    support::{assert_link_refused, assert_session_ended},
};

const NEW: &str = "another password";

/// Asserts that this is the person's password, and no other.
async fn assert_password(person: &Person<'_>, other: &str) {
    person.signs_in().await;
    let reply = person.with_password(other).tries_to_sign_in().await;
    reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
}

// Requirement 52.
#[rstest]
#[tokio::test]
async fn a_change_ends_every_session_and_opens_a_new_one(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, kate) = (stack.user("Ada").await, stack.user("Kate").await);
    let (phone, laptop, of_kate) = (ada.signs_in().await, ada.signs_in().await, kate.signs_in().await);
    let reply = ada.changes_password(&phone.access, NEW).await;
    let opened = Tokens::from(&reply);
    let body = json!({
        "message": "Password changed", "access_token": opened.access, "refresh_token": opened.refresh, "token_type": "Bearer", "expires_in": 3600,
    });
    reply.assert_ok(&body);
    for ended in [&phone, &laptop] {
        assert_session_ended(&stack, ended).await;
        assert_ne!(claims(&ended.access)["sid"], claims(&opened.access)["sid"]);
    }
    assert_eq!(ada.dashboard(&opened.access).await.status, 200);
    assert_eq!(ada.refreshes(&opened.refresh).await.status, 200);
    assert_eq!(kate.dashboard(&of_kate.access).await.status, 200, "the sessions of others stay live");
    assert_password(&ada.with_password(NEW), "password123").await;
    kate.signs_in().await;

    let mails = ada.mails(1).await;
    assert_eq!(mails[0].subject, "Your password was changed");
    assert!(mailbox::mails_to(&kate.email).await.is_empty());
    assert_eq!(stack.logs().matches("event=\"password_changed\" user_id=1").count(), 1);
    if store == DynamoDb {
        assert_eq!(stack.sql_number("SELECT count(*) FROM session_endings").await, 0, "no debt is left");
    }
}

/// The new session inherits the time of the last proof, so a change of the password does not make a session fresh.
// Requirement 54.
#[rstest]
#[tokio::test]
async fn the_new_session_is_as_old_as_the_one_that_it_replaces(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack.sessions().move_auth_time_back(601).await;
    let opened = Tokens::from(&ada.changes_password(&tokens.access, NEW).await);
    assert_reauthentication_required(&ada.ends_other_sessions(&opened.access).await);
    let ada = ada.with_password(NEW);
    let renewed = Tokens::from(&ada.reauthenticates(&opened.access).await);
    assert_eq!(ada.ends_other_sessions(&renewed.access).await.status, 200);
}

// Requirement 52.
#[rstest]
#[tokio::test]
async fn a_refused_change_changes_nothing(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    for wrong in ["wrong", "Password123", "password123 ", &"long ".repeat(1000)] {
        assert_wrong_password(&ada.with_password(wrong).changes_password(&tokens.access, NEW).await);
    }
    for (current, new) in [("", ""), ("", NEW), ("password123", "")] {
        let reply = ada.with_password(current).changes_password(&tokens.access, new).await;
        reply.assert_refused(400, "missing_required_fields", "Missing required fields");
    }
    // The current password is checked first, so a rule does not reveal whether it is right.
    assert_wrong_password(
        &ada.from_source("192.0.2.1").with_password("wrong").changes_password(&tokens.access, "short").await,
    );
    let too_short = ada.changes_password(&tokens.access, "short").await;
    too_short.assert_refused(400, "password_too_short", "Password must be at least 8 characters");
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_password(&ada, NEW).await;
    assert!(mailbox::mails_to(&ada.email).await.is_empty());
    assert!(!stack.logs().contains("event=\"password_changed\""));
}

/// The right password is not a failed attempt, whatever is wrong with the new one.
#[rstest]
#[tokio::test]
async fn new_passwords_that_break_a_rule_do_not_count_as_failures(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    for _ in 0..8 {
        assert_eq!(ada.changes_password(&tokens.access, "short").await.status, 400);
    }
    assert_eq!(ada.changes_password(&tokens.access, NEW).await.status, 200);
}

// Requirements 28, 52.
#[tokio::test]
async fn a_change_applies_the_password_rules_of_sign_up() {
    let stack = Stack::builder().with("PASSWORD_MIN_LENGTH", "").with("PASSWORD_BLOCKLIST", "").start().await;
    let ada = stack.stranger("Ada").with_password("purple monkey dishwasher");
    ada.signs_up().await.assert_created();
    let tokens = ada.signs_in().await;
    let own = format!("staple {} battery", &ada.email[..8]);
    for (password, code) in [
        ("fourteen chars", "password_too_short"),
        (&*"long ".repeat(26), "password_too_long"),
        ("a password with a \0", "password_has_nul"),
        ("qwertyuiopasdfghjklzxcvbnm", "password_too_common"),
        (&own, "password_contains_account"),
    ] {
        let reply = ada.changes_password(&tokens.access, password).await;
        assert_eq!((reply.status, reply.text_at("code")), (400, code.to_owned()), "{password}");
    }
    assert_eq!(ada.changes_password(&tokens.access, "correct horse battery staple").await.status, 200);
}

#[rstest]
#[tokio::test]
async fn only_the_access_token_of_a_live_session_changes_the_password(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.changes_password(&tokens.refresh, NEW).await.assert_refused(401, "invalid_token", "Invalid token");
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    for new in [NEW, ""] {
        let reply = ada.changes_password(&tokens.access, new).await;
        reply.assert_refused(401, "token_revoked", "Token has been revoked");
    }
    assert_password(&ada, NEW).await;
    let tokens = ada.signs_in().await;
    stack.sql("DELETE FROM users").await;
    ada.changes_password(&tokens.access, NEW).await.assert_refused(404, "user_not_found", "User not found");
}

/// A reset link serves only under the credentials for which it was issued.
#[rstest]
#[tokio::test]
async fn a_change_makes_an_earlier_reset_link_void(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let link = ada.receives_reset_mail(1).await.token();
    assert_eq!(ada.changes_password(&tokens.access, NEW).await.status, 200);
    assert_link_refused(&ada.resets_password(&link, "a third password").await);
    ada.with_password(NEW).signs_in().await;
}

#[rstest]
#[tokio::test]
async fn of_ten_concurrent_changes_one_succeeds(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let passwords: Vec<_> = (0..10).map(|n| format!("new password {n}")).collect();
    let replies = join_all(passwords.iter().map(|new| ada.changes_password(&tokens.access, new))).await;
    let winners: Vec<_> = replies.iter().zip(&passwords).filter(|(reply, _)| reply.status == 200).collect();
    assert_eq!(winners.len(), 1, "{replies:?}");
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        // Attempts that were counted at the same time as five others have to wait.
        let code = reply.text_at("code");
        assert!(code == "token_revoked" || code == "too_many_attempts", "{code}");
    }
    let winner = ada.with_password(winners[0].1);
    assert_eq!(winner.dashboard(&Tokens::from(winners[0].0).access).await.status, 200);
    winner.from_source("192.0.2.1").signs_in().await;
}

/// The successor of a refresh at the same time belongs to a session that ends.
#[rstest]
#[tokio::test]
async fn no_refresh_of_the_same_session_survives_a_change(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    let mut current = ada.clone();
    for round in 0..5 {
        let tokens = current.signs_in().await;
        let new = format!("new password {round}");
        let (changed, refreshed) =
            tokio::join!(current.changes_password(&tokens.access, &new), current.refreshes(&tokens.refresh));
        let opened = Tokens::from(&changed);
        if refreshed.status == 200 {
            assert_session_ended(&stack, &Tokens::from(&refreshed)).await;
        }
        assert_session_ended(&stack, &tokens).await;
        assert_eq!(ada.refreshes(&opened.refresh).await.status, 200);
        current = ada.with_password(&new);
    }
}

/// A reset ends the sessions after the request has read its session, and before it changes the account.
#[tokio::test]
async fn a_session_that_ends_in_the_meantime_changes_nothing() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let changes = "UPDATE users SET credential_version = credential_version + 1";
    let reply = stack.answer_during(changes, ada.changes_password(&tokens.access, NEW)).await;
    reply.assert_refused(401, "token_revoked", "Token has been revoked");
    assert_password(&ada, NEW).await;
}

#[rstest]
#[tokio::test]
async fn an_account_has_at_most_sixty_changes_in_an_hour(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let mut current = ada.clone();
    let mut tokens = ada.signs_in().await;
    assert_wrong_password(&ada.with_password("wrong").changes_password(&tokens.access, NEW).await);
    assert_eq!(ada.changes_password(&tokens.access, "short").await.status, 400);
    for round in 0..60 {
        let new = format!("new password {round}");
        tokens = Tokens::from(&current.changes_password(&tokens.access, &new).await);
        current = ada.with_password(&new);
    }
    // Wrong passwords, and new ones that break a rule, were not counted.
    let reply = current.changes_password(&tokens.access, NEW).await;
    reply.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait} s");
    assert_eq!(current.reauthenticates(&tokens.access).await.status, 200);
    current.signs_in().await;
    crate::throttling::let_time_pass(&stack, 3600).await;
    assert_eq!(current.changes_password(&tokens.access, NEW).await.status, 200);
}
