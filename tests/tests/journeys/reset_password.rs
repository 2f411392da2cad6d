//! `POST /api/reset-password/{token}`.

use std::time::Duration;

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
    mailbox::PASSWORD_CHANGED,
};

use crate::support::{assert_link_refused, get_example};

// Requirements 6, 31.
#[tokio::test]
async fn a_reset_ends_every_session_opens_none_and_sends_a_notice() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let (phone, laptop) = (ada.signs_in().await, ada.signs_in().await);
    let mail = ada.receives_reset_mail(1).await;
    let reply = ada.resets_password(&mail.token(), "another password").await;
    reply.assert_ok(&json!({ "message": "Password reset successful" }));
    for tokens in [phone, laptop] {
        ada.dashboard(&tokens.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
        assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
    }
    assert_eq!(ada.tries_to_sign_in().await.status, 401);
    ada.with_password("another password").signs_in().await;
    let notice = ada.mails(2).await.pop().unwrap();
    assert_eq!(notice.subject, PASSWORD_CHANGED);
    assert!(!notice.text.contains("http"), "the notice contains no link");
}

// Fault 8.
// Requirement 11.
#[tokio::test]
async fn of_fifty_concurrent_resets_with_one_token_one_succeeds() {
    let stack = Stack::builder().processes(6).start().await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.token();
    let passwords: Vec<_> = (0..50).map(|n| format!("new password {n}")).collect();
    let replies = join_all(passwords.iter().map(|password| ada.resets_password(&token, password))).await;
    let winners: Vec<_> = replies.iter().zip(&passwords).filter(|(reply, _)| reply.status == 200).collect();
    assert_eq!(winners.len(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert_link_refused(reply);
    }
    ada.with_password(winners[0].1).signs_in().await;
}

// Requirement 29.
#[tokio::test]
async fn a_newer_link_or_a_reset_invalidates_the_older_link() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let older = ada.receives_reset_mail(1).await.token();
    let newer = ada.receives_reset_mail(2).await.token();
    assert_link_refused(&ada.resets_password(&older, "another password").await);
    assert_eq!(ada.resets_password(&newer, "another password").await.status, 200);
    assert_link_refused(&ada.resets_password(&newer, "yet another one").await);
}

// Requirement 29.
#[tokio::test]
async fn of_two_links_used_concurrently_only_the_newer_works() {
    let stack = Stack::builder().processes(4).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let race = async || {
        let ada = stack.user("Ada").await;
        let older = ada.receives_reset_mail(1).await.token();
        let newer = ada.receives_reset_mail(2).await.token();
        let (refused, served) =
            tokio::join!(ada.resets_password(&older, "the older one"), ada.resets_password(&newer, "the newer one"));
        assert_link_refused(&refused);
        assert_eq!(served.status, 200);
        ada.with_password("the newer one").signs_in().await;
    };
    join_all((0..20).map(|_| race())).await;
}

// Requirement 29.
#[tokio::test]
async fn a_link_stops_working_when_a_newer_one_is_requested_concurrently() {
    let stack = Stack::builder().processes(4).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let mut took = Duration::ZERO;
    for n in 0..15 {
        let ada = stack.user("Ada").await;
        let older = ada.receives_reset_mail(1).await.token();
        // The reset hashes the password before it uses the link. The delay lets the new request come before, during and after that.
        let forgets = async {
            tokio::time::sleep(took * n / 10).await;
            ada.forgets_password().await
        };
        let (reset, forgot) = tokio::join!(ada.resets_password(&older, "the older one"), forgets);
        assert_eq!(forgot.status, 200);
        took = took.max(reset.took);
        let mails = ada.mails(if reset.status == 200 { 3 } else { 2 }).await;
        let newer = mails.iter().rfind(|mail| mail.subject == "Reset your password").unwrap().token();
        assert_link_refused(&ada.resets_password(&older, "the older one").await);
        let newer = ada.resets_password(&newer, "the newer one").await;
        // If the newer link was requested while the reset ran, it belongs to the credentials of before.
        let is_void = reset.status == 200 && newer.status == 400;
        assert!(is_void || newer.status == 200, "{}", newer.text);
        ada.with_password(if is_void { "the older one" } else { "the newer one" }).signs_in().await;
    }
}

/// A reset that was requested while the address or the credentials changed may have been mailed to the address before the change.
// Requirement 51.
#[rstest]
#[tokio::test]
async fn a_link_serves_only_under_the_address_and_the_credentials_it_was_issued_for(
    #[values("email = 'new.' || email", "credential_version = credential_version + 1")] change: &str,
) {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.token();
    let owed = "
        INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at)
        SELECT id, 'password_reset', gen_random_uuid(), 'https://auth.example.com/page', now(), now() + interval '1 hour' FROM users";
    stack.sql(owed).await;
    stack.sql(&format!("UPDATE users SET {change}")).await;
    assert_link_refused(&ada.resets_password(&token, "another password").await);
    assert_eq!(stack.sweep().await["mails_void"], 1, "a sweep gives it no new token");
    assert_eq!(
        ada.with_email(&stack.sql_text("SELECT email::text FROM users").await).tries_to_sign_in().await.status,
        200
    );
}

// Requirement 51.
#[rstest]
#[tokio::test]
async fn a_change_during_a_reset_makes_its_link_useless(
    #[values(PostgreSql, DynamoDb)] store: Store,
    #[values("email = 'new.' || email", "credential_version = credential_version + 1")] change: &str,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.token();
    let changes = format!("UPDATE users SET {change}");
    let reset = stack.answer_during(&changes, ada.resets_password(&token, "another password")).await;
    assert_link_refused(&reset);
    for password in [ada.password.as_str(), "another password"] {
        let again = ada.resets_password(&token, password).await;
        assert_link_refused(&again);
    }
    ada.with_email(&stack.sql_text("SELECT email::text FROM users").await).signs_in().await;
}

#[tokio::test]
async fn a_link_expires_after_one_hour() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.token();
    let left =
        stack.sql_number("SELECT extract(epoch FROM expires_at - created_at)::bigint FROM password_resets").await;
    assert_eq!(left, 3600);
    stack.sql("UPDATE password_resets SET expires_at = now() - interval '1 second'").await;
    assert_link_refused(&ada.resets_password(&token, "another password").await);
}

// Requirement 28.
#[tokio::test]
async fn only_a_successful_reset_uses_up_the_link() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let mail = ada.receives_reset_mail(1).await;
    let path = mail.link().replace(&stack.base_url, "");
    for _ in 0..3 {
        assert_eq!(stack.get(&path).await.status, 200);
    }
    let token = mail.token();
    ada.resets_password(&token, "short").await.assert_refused(
        400,
        "password_too_short",
        "Password must be at least 8 characters",
    );
    for body in [json!({}), json!({ "password": "" }), json!({ "password": 12_345_678 })] {
        let reply = stack.post(&format!("/api/reset-password/{token}"), &body).await;
        reply.assert_refused(400, "new_password_required", "New password is required");
    }
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
}

// Requirements 27, 28.
#[tokio::test]
async fn a_reset_applies_the_password_rules_of_sign_up() {
    let stack = Stack::builder().with("PASSWORD_MIN_LENGTH", "").with("PASSWORD_BLOCKLIST", "").start().await;
    let ada = stack.stranger("Ada").with_password("purple monkey dishwasher");
    ada.signs_up().await.assert_created();
    let token = ada.receives_reset_mail(1).await.token();
    let own = format!("staple {} battery", &ada.email[..8]);
    for (password, code) in [
        ("fourteen chars", "password_too_short"),
        (&*"long ".repeat(26), "password_too_long"),
        ("a password with a \0", "password_has_nul"),
        ("qwertyuiopasdfghjklzxcvbnm", "password_too_common"),
        (&own, "password_contains_account"),
    ] {
        let reply = ada.resets_password(&token, password).await;
        assert_eq!((reply.status, reply.text_at("code")), (400, code.to_owned()), "{password}");
    }
    assert_eq!(ada.resets_password(&token, "correct horse battery staple").await.status, 200);
}

#[tokio::test]
async fn malformed_reset_tokens_are_refused() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.token();
    let other_case: String =
        token.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect();
    for wrong in ["x", "null", "%00", "..%2f", &other_case, &format!("{token}="), &token[1..], &"A".repeat(43)] {
        assert_link_refused(&ada.resets_password(wrong, "another password").await);
    }
}

// Fault 11.
// Requirement 6.
#[tokio::test]
async fn a_concurrent_sign_in_with_the_old_password_leaves_no_live_session() {
    let stack = Stack::builder().processes(4).start().await;
    for _ in 0..10 {
        let ada = stack.user("Ada").await;
        let token = ada.receives_reset_mail(1).await.token();
        let (signed_in, reset) = tokio::join!(ada.tries_to_sign_in(), ada.resets_password(&token, "another password"));
        assert_eq!(reset.status, 200);
        if signed_in.status == 200 {
            let reply = ada.dashboard(&signed_in.text_at("access_token")).await;
            reply.assert_refused(401, "token_revoked", "Token has been revoked");
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_refused_or_failed_reset_ends_no_session(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let before = ada.signs_in().await;
    let link = ada.receives_reset_mail(1).await.token();

    // Another transaction changes the row of the link and does not commit yet. So the reset finds the old link, and waits for the row when it uses
    // the link. If the other transaction commits, the link is no longer valid. If it keeps the row locked, the reset fails.
    let mut rival = stack.database.connect().await;
    for (supersedes, status) in [(false, 503), (true, 400)] {
        let rival = rival.transaction().await.unwrap();
        rival.execute("UPDATE password_resets SET token_hash = sha256('newer')", &[]).await.unwrap();
        let end_rival = async {
            if supersedes {
                stack.wait_for_blocked_statement().await;
                rival.commit().await.unwrap();
            } else {
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                rival.rollback().await.unwrap();
            }
        };
        let (reset, ()) = tokio::join!(ada.resets_password(&link, "another password"), end_rival);
        assert_eq!(reset.status, status, "{}", reset.text);
        let after = ada.signs_in().await;
        for tokens in [&before, &after] {
            assert_eq!(get_example(&stack, &tokens.access).await.status, 200);
            assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
        }
    }
}
