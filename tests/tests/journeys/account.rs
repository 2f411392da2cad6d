//! `/api/account`.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::{Value, json};
use tests::{
    Person, Reply, Ses, SesHealth, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    reauthenticate::assert_reauthentication_required,
    support::{assert_link_refused, assert_session_ended},
};

/// The account of a new user, as it is returned.
fn account(person: &Person<'_>, reply: &Reply) -> Value {
    let user = &reply.json()["user"];
    json!({
        "user": {
            "id": user["id"], "name": person.name, "email": person.email, "email_verified": false, "locale": "en", "created_at": user["created_at"],
        },
        "pending_email": null,
    })
}

#[rstest]
#[tokio::test]
async fn a_user_sees_and_changes_the_account(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, kate) = (stack.user("Ada Lovelace").await, stack.user("Kate").await);
    let (tokens, of_kate) = (ada.signs_in().await, kate.signs_in().await);
    let reply = ada.account(&tokens.access).await;
    let mut expected = account(&ada, &reply);
    reply.assert_ok(&expected);
    assert_eq!(expected["user"]["id"].as_i64(), Some(stack.sql_number("SELECT min(id) FROM users").await));
    let created_at =
        stack.sql_text("SELECT to_char(min(created_at), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM users").await;
    assert_eq!(expected["user"]["created_at"], created_at.as_str());

    for (changes, name, locale) in [
        (json!({}), "Ada Lovelace", "en"),
        (json!({ "locale": "DE" }), "Ada Lovelace", "de"),
        (json!({ "name": "Ada King" }), "Ada King", "de"),
        (json!({ "name": null, "locale": null, "email": "eve@example.com", "id": 1 }), "Ada King", "de"),
        (json!({ "name": "Ada", "locale": "fr" }), "Ada", "fr"),
    ] {
        (expected["user"]["name"], expected["user"]["locale"]) = (name.into(), locale.into());
        ada.changes_account(&tokens.access, changes).await.assert_ok(&expected);
        ada.account(&tokens.access).await.assert_ok(&expected);
    }
    let reply = kate.account(&of_kate.access).await;
    reply.assert_ok(&account(&kate, &reply));
    assert_eq!(stack.logs().matches("event=\"account_changed\" user_id=1").count(), 3);
}

#[tokio::test]
async fn an_account_without_a_language_has_the_default_language() {
    let stack = Stack::builder().with("DEFAULT_LOCALE", "es").start().await;
    let ada = stack.user("Ada").await;
    stack.sql("UPDATE users SET locale = NULL, created_at = NULL").await;
    let user = ada.account(&ada.signs_in().await.access).await.json()["user"].clone();
    assert_eq!((&user["locale"], &user["created_at"]), (&json!("es"), &Value::Null));
}

#[rstest]
#[tokio::test]
async fn a_refused_change_changes_nothing(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    for (changes, code) in [
        (json!({ "name": "a".repeat(101), "locale": "de" }), "name_too_long"),
        (json!({ "name": "Ada\n", "locale": "de" }), "name_has_control_characters"),
        (json!({ "name": "Eve", "locale": "it" }), "invalid_locale"),
        (json!({ "locale": "de-AT" }), "invalid_locale"),
        (json!({ "name": "", "locale": "de" }), "missing_required_fields"),
        (json!({ "name": "Eve", "locale": 5 }), "missing_required_fields"),
        (json!({ "name": ["Eve"] }), "missing_required_fields"),
        (json!(["Eve"]), "invalid_json"),
    ] {
        let reply = ada.changes_account(&tokens.access, changes).await;
        assert_eq!((reply.status, reply.text_at("code")), (400, code.to_owned()));
    }
    let reply = ada.account(&tokens.access).await;
    reply.assert_ok(&account(&ada, &reply));
}

/// The token is checked before the body.
#[rstest]
#[tokio::test]
async fn only_the_access_token_of_a_live_session_opens_the_account(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.changes_account("", json!([])).await.assert_refused(401, "invalid_token", "Invalid token");
    ada.changes_account(&tokens.refresh, json!([])).await.assert_refused(401, "invalid_token", "Invalid token");
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    assert_session_ended(&stack, &tokens).await;
    for changes in [json!([]), json!({ "locale": "it" }), json!({ "name": "Eve" })] {
        let reply = ada.changes_account(&tokens.access, changes).await;
        reply.assert_refused(401, "token_revoked", "Token has been revoked");
    }
    ada.account(&tokens.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
    assert_eq!(stack.sql_text("SELECT name FROM users").await, "Ada");

    let tokens = ada.signs_in().await;
    stack.sql("DELETE FROM users").await;
    for reply in
        [ada.account(&tokens.access).await, ada.changes_account(&tokens.access, json!({ "name": "Eve" })).await]
    {
        reply.assert_refused(404, "user_not_found", "User not found");
    }
}

/// The tables that name a user: `users` itself, tables with a foreign key to it, and tables with a column `user_id`.
pub const TABLES_OF_USERS: &str = "
    SELECT string_agg(DISTINCT name, ' ' ORDER BY name) FROM (
        SELECT 'users' AS name
        UNION SELECT conrelid::regclass::text FROM pg_constraint WHERE confrelid = 'users'::regclass
        UNION SELECT table_name::text FROM information_schema.columns
            WHERE table_schema = 'public' AND column_name LIKE '%user%id%'
    ) AS tables";

// Requirement 57.
#[rstest]
#[tokio::test]
async fn an_export_has_every_table_that_names_a_user_and_no_secret(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, kate) = (stack.user("Ada Lovelace").await, stack.user("Kate Grace").await);
    let (laptop, phone, of_kate) = (ada.signs_in().await, ada.signs_in().await, kate.signs_in().await);
    let link = ada.receives_reset_mail(1).await.token();
    stack
        .sql("INSERT INTO outbox (user_id, kind, id, due_at, expires_at) SELECT id, 'password_changed', gen_random_uuid(), now(), now() FROM users")
        .await;
    stack.sql("INSERT INTO session_endings (user_id, minimum_version) SELECT id, 1 FROM users").await;

    let reply = ada.exports_account(&laptop.access).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let export = reply.json();
    let rows = export["rows"].as_object().unwrap();
    let tables = stack.sql_text(TABLES_OF_USERS).await;
    assert_eq!(rows.keys().map(String::as_str).collect::<BTreeSet<_>>(), tables.split(' ').collect());
    let in_table = if store == DynamoDb { 2 } else { 0 };
    for (table, count) in
        [("users", 1), ("sessions", 2 - in_table), ("password_resets", 1), ("outbox", 1), ("session_endings", 1)]
    {
        assert_eq!(rows[table].as_array().map(Vec::len), Some(count), "{table}");
    }
    assert_eq!(export["sessions_in_dynamodb"].as_array().map(Vec::len), Some(in_table));
    let created_at = rows["users"][0]["created_at"].as_str().unwrap();
    assert!(OffsetDateTime::parse(created_at, &Rfc3339).is_ok(), "{created_at}");
    assert_eq!((&rows["users"][0]["name"], &rows["users"][0]["email"]), (&json!("Ada Lovelace"), &json!(ada.email)));
    let hash = stack.sql_text("SELECT encode(token_hash, 'hex') FROM password_resets").await;
    let password = stack.sql_text("SELECT password FROM users WHERE name LIKE 'Ada%'").await;
    let refresh_id = tests::jwt::claims(&phone.refresh)["jti"].as_str().unwrap().to_owned();
    for absent in ["Kate", &kate.email, &link, &hash, &password, &refresh_id] {
        assert!(!reply.text.contains(absent), "{absent} in {}", reply.text);
    }
    assert!(kate.exports_account(&of_kate.access).await.text.contains("Kate Grace"));
    assert_eq!(stack.logs().matches("event=\"account_exported\" user_id=1").count(), 1);

    stack.sessions().move_auth_time_back(601).await;
    assert_reauthentication_required(&ada.exports_account(&laptop.access).await);
    assert_eq!(ada.logs_out(&laptop.access).await.status, 200);
    let revoked = ada.exports_account(&laptop.access).await;
    revoked.assert_refused(401, "token_revoked", "Token has been revoked");
}

/// A mail to a new address is owed only if that address has no account.
// Requirement 58.
#[tokio::test]
async fn an_export_does_not_show_whether_a_new_address_is_taken() {
    let ses = Ses::new().await;
    let stack = Stack::builder()
        .with("AWS_ENDPOINT_URL_SES", &ses.endpoint)
        .with("FORGOT_PASSWORD_FLOOR_MS", "0")
        .start()
        .await;
    let (ada, kate) = (stack.user("Ada").await, stack.user("Kate").await);
    ses.set_health(SesHealth::Throttled);
    for new in [kate, stack.stranger("Ada")] {
        let tokens = ada.signs_in().await;
        assert_eq!(ada.requests_email_change(&tokens.access, &new.email).await.status, 202);
        let export = ada.exports_account(&tokens.access).await.json();
        let kinds = export["rows"]["outbox"].as_array().unwrap().iter().map(|mail| mail["kind"].clone());
        assert_eq!(kinds.collect::<Vec<_>>(), ["email_change_requested"]);
        assert_eq!(export["rows"]["email_changes"][0]["email"], new.email.as_str());
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE kind = 'email_change'").await, 1);
}

// Requirement 56.
#[rstest]
#[tokio::test]
async fn a_deletion_ends_every_session_at_once_voids_links_and_sends_a_mail(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, kate) = (stack.user("Ada").await, stack.user("Kate").await);
    let (laptop, phone, of_kate) = (ada.signs_in().await, ada.signs_in().await, kate.signs_in().await);
    let reset = ada.receives_reset_mail(1).await.token();

    let reply = ada.deletes_account(&laptop.access).await;
    let erased_at = stack
        .sql_text(
            "SELECT to_char(erase_at AT TIME ZONE 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM account_deletions",
        )
        .await;
    assert_eq!(reply.json(), json!({ "message": "Account will be erased", "erased_at": erased_at }));
    assert_eq!(reply.status, 202);
    let days = "SELECT extract(epoch FROM erase_at - requested_at)::bigint / 86400 FROM account_deletions";
    assert_eq!(stack.sql_number(days).await, 7);
    for tokens in [&laptop, &phone] {
        assert_session_ended(&stack, tokens).await;
        for refused in [
            ada.account(&tokens.access).await,
            ada.sessions(&tokens.access).await,
            ada.reauthenticates(&tokens.access).await,
            ada.changes_password(&tokens.access, "another password").await,
            ada.deletes_account(&tokens.access).await,
            ada.logs_out(&tokens.access).await,
        ] {
            refused.assert_refused(401, "token_revoked", "Token has been revoked");
        }
    }
    assert_link_refused(&ada.resets_password(&reset, "another password").await);
    let mail = ada.mails(2).await.pop().unwrap();
    assert!(mail.text.contains(&erased_at[..10]), "{}", mail.text);
    assert!(mail.link().contains("/keep-account/"), "{}", mail.text);
    assert_eq!(ada.signs_up().await.text_at("code"), "user_already_exists", "the address stays taken");
    assert_eq!(kate.dashboard(&of_kate.access).await.status, 200);
    assert_eq!(stack.sql_number("SELECT count(*) FROM account_deletions").await, 1);
}

// Requirement 54.
#[rstest]
#[tokio::test]
async fn a_deletion_requires_a_recent_proof_of_the_password(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.deletes_account("").await.assert_refused(401, "invalid_token", "Invalid token");
    ada.deletes_account(&tokens.refresh).await.assert_refused(401, "invalid_token", "Invalid token");
    stack.sessions().move_auth_time_back(601).await;
    assert_reauthentication_required(&ada.deletes_account(&tokens.access).await);
    assert_eq!(stack.sql_number("SELECT count(*) FROM account_deletions").await, 0);
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    let fresh = Tokens::from(&ada.reauthenticates(&tokens.access).await);
    assert_eq!(ada.deletes_account(&fresh.access).await.status, 202);
}

/// A stranger signs up with Ada's address. Ada takes the account over with a password reset. Nothing of the stranger works afterwards.
// Requirement 49.
#[rstest]
#[tokio::test]
async fn the_owner_of_a_mailbox_takes_over_the_account_that_a_stranger_created(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let stranger = stack.user("Ada").await;
    let (first, second) = (stranger.signs_in().await, stranger.signs_in().await);
    let ada = stranger.with_password("the password of Ada").from_source("192.0.2.1");
    let link = ada.receives_reset_mail(1).await.token();
    assert_eq!(ada.resets_password(&link, "the password of Ada").await.status, 200);

    for stolen in [&first, &second] {
        assert_session_ended(&stack, stolen).await;
        for reply in [
            stranger.account(&stolen.access).await,
            stranger.changes_account(&stolen.access, json!({ "name": "Eve" })).await,
            stranger.sessions(&stolen.access).await,
            stranger.ends_other_sessions(&stolen.access).await,
            stranger.reauthenticates(&stolen.access).await,
            stranger.changes_password(&stolen.access, "a password of Eve").await,
        ] {
            reply.assert_refused(401, "token_revoked", "Token has been revoked");
        }
    }
    stranger.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");
    let account = ada.account(&ada.signs_in().await.access).await.json();
    assert_eq!((&account["user"]["email_verified"], &account["user"]["name"]), (&json!(true), &json!("Ada")));
}

// Requirement 49.
#[rstest]
#[tokio::test]
async fn a_password_reset_verifies_the_address(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let reset = ada.receives_reset_mail(1).await.token();
    assert_eq!(ada.resets_password(&reset, "another password").await.status, 200);
    let ada = ada.with_password("another password");
    let account = ada.account(&ada.signs_in().await.access).await;
    assert_eq!(account.json()["user"]["email_verified"], true);
    let verified_at = stack.sql_text("SELECT email_verified_at::text FROM users").await;
    let reset = ada.receives_reset_mail(3).await.token();
    assert_eq!(ada.resets_password(&reset, "a third password").await.status, 200);
    assert_eq!(stack.sql_text("SELECT email_verified_at::text FROM users").await, verified_at, "the first time stays");
}
