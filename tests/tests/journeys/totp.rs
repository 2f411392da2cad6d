//! `/api/totp`: adding and removing an authenticator.

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;
use tests::{
    Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    authenticator::{Added, Authenticator},
    jwt::claims,
    mailbox::TOTP_ADDED,
    stack::DATA_KEY,
};

use crate::support::{assert_session_ended, verified_user};

const REMOVED: &str = "The authenticator app was removed from your account";

/// Asserts that the user must show a factor again (RFC 9470).
#[track_caller]
fn assert_factor_required_again(reply: &Reply) {
    reply.assert_refused(401, "reauthentication_required", "Sign in again to do this");
    let challenge = r#"Bearer error="insufficient_user_authentication", max_age=600, acr_values="aal2""#;
    assert_eq!(reply.header("www-authenticate"), Some(challenge));
}

// Requirements 66, 72, 76.
#[rstest]
#[tokio::test]
async fn a_confirmed_authenticator_ends_all_sessions_and_is_required_from_then_on(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = verified_user(&stack, "Ada").await;
    let (first, other) = (ada.signs_in().await, ada.signs_in().await);
    let enrolment = ada.enrols_totp(&first.access).await;
    let app = Authenticator::of(&enrolment);
    let secret = enrolment.text_at("secret");
    let url = enrolment.text_at("otpauth_url");
    assert!(url.starts_with("otpauth://totp/") && url.contains(&format!("?secret={secret}&issuer=")), "{url}");
    assert!(enrolment.text_at("qr_svg").starts_with("<svg "), "{}", enrolment.text);
    // It is no factor yet.
    ada.signs_in().await;

    ada.confirms_totp(&first.access, &app.wrong_code()).await.assert_refused(
        400,
        "invalid_code",
        "Invalid or expired code",
    );
    let code = app.code();
    let reply = ada.confirms_totp(&first.access, &code).await;
    let tokens = Tokens::from(&reply);
    assert_eq!(reply.text_at("message"), "Authenticator added");
    assert_eq!(reply.json()["recovery_codes"].as_array().unwrap().len(), 10);
    assert_ne!(claims(&tokens.access)["sid"], claims(&first.access)["sid"]);
    let claims = claims(&tokens.access);
    assert_eq!((&claims["amr"], &claims["acr"]), (&json!(["pwd", "otp"]), &json!("aal2")));
    for ended in [&first, &other] {
        assert_session_ended(&stack, ended).await;
    }
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    // The code was spent.
    let token = ada.signs_in_halfway().await;
    ada.shows_factor(&token, &json!({ "totp": code })).await.assert_refused(
        400,
        "code_already_used",
        "This code was already used",
    );
    assert!(ada.newest_mail(TOTP_ADDED).await.text.contains("72 hours"));
    assert_eq!(stack.logs().matches("event=\"totp_added\" user_id=1").count(), 1);
}

// Requirement 72.
#[rstest]
#[tokio::test]
async fn only_the_session_that_began_an_enrolment_confirms_it_within_ten_minutes(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = verified_user(&stack, "Ada").await;
    let (tokens, other) = (ada.signs_in().await, ada.signs_in().await);
    let not_found = |reply: &Reply| reply.assert_refused(404, "totp_not_found", "Authenticator not found");
    not_found(&ada.confirms_totp(&tokens.access, "123456").await);
    let first = Authenticator::of(&ada.enrols_totp(&tokens.access).await);
    not_found(&ada.confirms_totp(&other.access, &first.code()).await);
    let second = Authenticator::of(&ada.enrols_totp(&tokens.access).await);
    ada.confirms_totp(&tokens.access, &first.code()).await.assert_refused(
        400,
        "invalid_code",
        "Invalid or expired code",
    );
    stack.sql("UPDATE totp SET expires_at = now()").await;
    not_found(&ada.confirms_totp(&tokens.access, &second.code()).await);
    assert_eq!(stack.sweep().await["factor_rows_deleted"], 1);

    let third = Authenticator::of(&ada.enrols_totp(&tokens.access).await);
    let added = Tokens::from(&ada.confirms_totp(&tokens.access, &third.code()).await);
    stack.sql("UPDATE totp SET created_at = now() - interval '1 year'").await;
    assert_eq!(stack.sweep().await["factor_rows_deleted"], 0);
    let exists = |reply: &Reply| reply.assert_refused(409, "totp_exists", "The account already has an authenticator");
    exists(&ada.enrols_totp(&added.access).await);
    exists(&ada.confirms_totp(&added.access, &third.code()).await);
}

// Requirement 72.
#[rstest]
#[tokio::test]
async fn factors_need_a_fresh_session_and_a_verified_address(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.enrols_totp(&tokens.access).await.assert_refused(403, "email_not_verified", "Verify your email address first");
    ada.has_verified().await;
    let Added { app, tokens, .. } = ada.adds_totp().await;
    stack.sessions().move_auth_time_back(601).await;
    assert_factor_required_again(&ada.enrols_totp(&tokens.access).await);
    assert_factor_required_again(&ada.removes_totp(&tokens.access).await);
    assert_factor_required_again(&ada.replaces_recovery_codes(&tokens.access).await);
    assert_factor_required_again(&ada.changes_password(&tokens.access, "another password").await);
    assert_eq!(ada.signs_in_halfway().await.len(), 43, "the password is the same");

    // The password does not make the session fresh.
    let reply = ada.reauthenticates(&tokens.access).await;
    reply.assert_refused(401, "second_factor_required", "Second factor required");
    assert_factor_required_again(&ada.removes_totp(&tokens.access).await);
    let tokens = Tokens::from(&ada.reauthenticates_with(&tokens.access, json!({ "totp": app.code() })).await);
    assert_eq!(ada.changes_password(&tokens.access, "another password").await.status, 200);
}

// Requirement 66.
#[rstest]
#[tokio::test]
async fn of_fifty_confirmations_at_once_one_succeeds(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(10).start().await;
    let ada = verified_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let app = Authenticator::of(&ada.enrols_totp(&tokens.access).await);
    let code = app.code();
    let replies = join_all((0..50).map(|_| ada.confirms_totp(&tokens.access, &code))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert!(
            ["token_revoked", "totp_exists", "totp_not_found"].contains(&&*reply.text_at("code")),
            "{}",
            reply.text
        );
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM recovery_codes").await, 10);
    assert_eq!(stack.sessions().live().await.len(), 1);
}

// Requirement 72.
#[rstest]
#[tokio::test]
async fn removing_the_authenticator_ends_the_other_sessions_and_removes_the_recovery_codes(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = verified_user(&stack, "Ada").await;
    let Added { app, tokens, .. } = ada.adds_totp().await;
    let other = Tokens::from(&ada.signs_in_with_totp(&app).await);
    let undo = ada.newest_mail(TOTP_ADDED).await.token();
    ada.removes_totp(&tokens.access).await.assert_ok(&json!({ "message": "Authenticator removed" }));
    assert_session_ended(&stack, &other).await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    ada.removes_totp(&tokens.access).await.assert_refused(404, "totp_not_found", "Authenticator not found");
    assert_eq!(stack.sql_number("SELECT count(*) FROM recovery_codes").await, 0);
    assert!(ada.newest_mail(REMOVED).await.text.contains("removed"));
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    // The link still works, so that a thief cannot make it void.
    assert_eq!(ada.undoes_factor(&undo).await.status, 200);
    assert_session_ended(&stack, &tokens).await;
    assert_eq!(stack.logs().matches("event=\"totp_removed\" user_id=1").count(), 1);
}

// Requirement 72.
#[tokio::test]
async fn an_enrolment_allows_ten_tries() {
    let stack = Stack::start().await;
    let ada = verified_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let app = Authenticator::of(&ada.enrols_totp(&tokens.access).await);
    for _ in 0..10 {
        let reply = ada.confirms_totp(&tokens.access, &app.wrong_code()).await;
        reply.assert_refused(400, "invalid_code", "Invalid or expired code");
    }
    let reply = ada.confirms_totp(&tokens.access, &app.code()).await;
    reply.assert_refused(404, "totp_not_found", "Authenticator not found");
    let app = Authenticator::of(&ada.enrols_totp(&tokens.access).await);
    assert_eq!(ada.confirms_totp(&tokens.access, &app.code()).await.status, 200);
}

/// Such a session can be opened by an older version of `signin` while a deployment runs.
// Requirement 72.
#[tokio::test]
async fn a_session_that_has_shown_no_factor_may_not_change_factors() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = verified_user(&stack, "Ada").await;
    let Added { app, tokens, .. } = ada.adds_totp().await;
    stack.sql("UPDATE sessions SET amr = NULL").await;
    assert_factor_required_again(&ada.removes_totp(&tokens.access).await);
    assert_factor_required_again(&ada.replaces_recovery_codes(&tokens.access).await);
    assert_factor_required_again(&ada.ends_other_sessions(&tokens.access).await);
    let shown = Tokens::from(&ada.reauthenticates_with(&tokens.access, json!({ "totp": app.code() })).await);
    assert_eq!(ada.removes_totp(&shown.access).await.status, 200);
}

// Requirement 67.
#[tokio::test]
async fn a_secret_is_encrypted_and_works_for_no_other_user() {
    let stack = Stack::start().await;
    let (ada, kate) = (verified_user(&stack, "Ada").await, verified_user(&stack, "Kate").await);
    let tokens = ada.signs_in().await;
    let enrolment = ada.enrols_totp(&tokens.access).await;
    let (app, secret) = (Authenticator::of(&enrolment), enrolment.text_at("secret"));
    let bytes = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    assert_eq!(ada.confirms_totp(&tokens.access, &app.code()).await.status, 200);
    let of_kate = kate.adds_totp().await.app;
    let stored = stack.sql_text("SELECT string_agg(t::text, ' ') FROM totp t").await;
    assert!(!stored.contains(&secret) && !stored.contains(&hex::encode(&bytes)), "{stored}");
    assert!(!stack.logs().contains(&secret));

    let swap =
        "UPDATE totp t SET secret = other.secret, last_step = 0 FROM totp other WHERE t.user_id <> other.user_id";
    stack.sql(swap).await;
    for (person, code) in [(&ada, of_kate.code()), (&kate, app.code())] {
        let token = person.signs_in_halfway().await;
        assert_eq!(person.shows_factor(&token, &json!({ "totp": code })).await.status, 500);
    }
}

// Requirements 67, 79.
#[tokio::test]
async fn after_a_change_of_the_key_authenticators_still_work_and_are_encrypted_with_the_new_key() {
    let next = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
    let before = Stack::start().await;
    let ada = verified_user(&before, "Ada").await;
    let app = ada.adds_totp().await.app;
    let key = "SELECT key_id FROM totp";
    let first = before.sql_text(key).await;

    let (email, url) = (ada.email.clone(), before.database.functions_url());
    let after = |additional| {
        let stack = Stack::builder().with("DATA_SECRET_KEY", next).with("DATA_ADDITIONAL_SECRET_KEYS", additional);
        let stack = stack.with("DATABASE_URL", &url).with_table_of(&before);
        async { stack.with_unprepared_database(tests::database::TestDatabase::empty().await).start().await }
    };
    let rotated = after(DATA_KEY).await;
    let ada_there = rotated.stranger("Ada").with_email(&email);
    assert_eq!(ada_there.signs_in_with_totp(&app).await.status, 200);
    assert_ne!(before.sql_text(key).await, first);
    ada.may_reuse_codes().await;
    let finished = after("").await;
    assert_eq!(finished.stranger("Ada").with_email(&email).signs_in_with_totp(&app).await.status, 200);
}
