//! How many statements each request sends to PostgreSQL. Each statement is a round trip.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::json;
use tests::{
    PostgresProxy, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    authenticator::Authenticator,
    documents, mailbox,
    passkey::Device,
};

use crate::support::get_example;

/// The numbers of statements in the table "Round trips" of `docs/architecture.md`, by the name of the request.
fn documented(store: Store) -> BTreeMap<String, usize> {
    let column = if store == PostgreSql { 2 } else { 3 };
    let document = documents::read("docs/architecture.md");
    let (_, table) = document.split_once("**Round trips.**").unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let rows = rows.skip(2).map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let number: String = cells[column].chars().take_while(char::is_ascii_digit).collect();
        (cells[1].to_owned(), number.parse().unwrap_or(0))
    });
    rows.collect()
}

#[rstest]
#[tokio::test]
async fn every_request_sends_the_documented_number_of_statements(#[values(PostgreSql, DynamoDb)] store: Store) {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().state_in(store).database_port(proxy.port).with_verification().start().await;
    proxy.reset_counts();
    let count = || {
        let statements = proxy.statement_count();
        proxy.reset_counts();
        statements
    };
    let mut found = BTreeMap::new();
    let mut record = |request: &str| found.insert(request.to_owned(), count());

    let ada = stack.stranger("Ada");
    ada.signs_up().await.assert_created();
    record("sign-up");
    let tokens = ada.signs_in().await;
    record("sign-in");
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    record("protected route that needs the account");
    assert_eq!(get_example(&stack, &tokens.access).await.status, 200);
    record("authorizer");
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 200);
    record("refresh");
    assert_eq!(ada.account(&tokens.access).await.status, 200);
    record("account");
    assert_eq!(ada.changes_account(&tokens.access, json!({ "name": "Ada" })).await.status, 200);
    record("change of the account");
    assert_eq!(ada.exports_account(&tokens.access).await.status, 200);
    record("export of the account");
    let code = ada.mails(1).await.pop().unwrap().code();
    assert_eq!(ada.requests_verification_mail(&tokens.access).await.status, 202);
    record("another verification mail");
    let next = ada.mails(2).await.pop().unwrap();
    assert_eq!(ada.verifies_by_code(&tokens.access, &code).await.status, 400);
    assert_eq!(count(), 1, "a wrong code");
    assert_eq!(ada.verifies_by_code(&tokens.access, &next.code()).await.status, 200);
    record("verification by code");
    stack.sql("UPDATE users SET email_verified_at = NULL").await;
    assert_eq!(ada.requests_verification_mail(&tokens.access).await.status, 202);
    let token = ada.mails(3).await.pop().unwrap().token();
    count();
    assert_eq!(ada.verifies_by_link(&token).await.status, 200);
    record("verification by link");
    let other = ada.signs_in().await;
    count();
    let list = ada.sessions(&tokens.access).await;
    record("list of sessions");
    let other_id = list.json()["sessions"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ada.ends_session(&tokens.access, &other_id).await.status, 204);
    record("end of one session by its id");
    assert_eq!(ada.dashboard(&other.access).await.status, 401);
    count();
    assert_eq!(ada.ends_other_sessions(&tokens.access).await.status, 200);
    record("end of all other sessions");
    assert_eq!(ada.reauthenticates(&tokens.access).await.status, 200);
    record("reauthenticate");
    let tokens = Tokens::from(&ada.changes_password(&tokens.access, "a new password").await);
    record("change-password");
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    record("logout");
    let mail = ada.receives_reset_mail(5).await;
    record("forgot-password");
    assert_eq!(ada.resets_password(&mail.token(), "another password").await.status, 200);
    record("reset-password");
    let ada = ada.with_password("another password");
    let tokens = ada.signs_in().await;
    count();
    assert_eq!(ada.deletes_account(&tokens.access).await.status, 202);
    record("deletion of the account");
    let token = ada.mails(7).await.pop().unwrap().token();
    count();
    assert_eq!(ada.keeps_account(&token).await.status, 200);
    record("keep-account");

    let tokens = ada.signs_in().await;
    count();
    let app = Authenticator::of(&ada.enrols_totp(&tokens.access).await);
    record("enrolment of an authenticator");
    let tokens = Tokens::from(&ada.confirms_totp(&tokens.access, &app.code()).await);
    record("confirmation of an authenticator");
    ada.may_reuse_codes().await;
    let token = ada.signs_in_halfway().await;
    record("sign-in that needs a second factor");
    assert_eq!(ada.shows_factor(&token, &json!({ "totp": app.code() })).await.status, 200);
    record("second factor at a sign-in, with a code or a recovery code");
    assert_eq!(ada.recovery_codes_left(&tokens.access).await.status, 200);
    record("recovery codes");
    assert_eq!(ada.replaces_recovery_codes(&tokens.access).await.status, 201);
    record("new recovery codes");
    ada.may_reuse_codes().await;
    assert_eq!(ada.reauthenticates_with(&tokens.access, json!({ "totp": app.code() })).await.status, 200);
    record("reauthenticate with a code or a recovery code");
    let undo = ada.newest_mail(mailbox::TOTP_ADDED).await.token();
    count();
    assert_eq!(ada.undoes_factor(&undo).await.status, 200);
    record("undo-factor");
    let tokens = ada.adds_totp().await.tokens;
    count();
    assert_eq!(ada.removes_totp(&tokens.access).await.status, 200);
    record("removal of an authenticator");

    let mut device = Device::new();
    let options = ada.begins_passkey(&tokens.access).await;
    record("options for a new passkey");
    let created = device.creates(&options.json()).await;
    let id = ada.adds_created_passkey(&tokens.access, "Phone", &created).await.text_at("id");
    record("addition of a passkey");
    assert_eq!(ada.renames_passkey(&tokens.access, &id, "Laptop").await.status, 200);
    record("list of passkeys, new name of a passkey");
    assert_eq!(ada.lists_passkeys(&tokens.access).await.status, 200);
    record("list of passkeys, new name of a passkey");
    let options = ada.passkey_options().await;
    record("options for a sign-in with a passkey");
    let assertion = device.signs(&options).await;
    assert_eq!(ada.signs_in_with_assertion(&assertion).await.status, 200);
    record("sign-in with a passkey");
    let (token, options) = ada.signs_in_halfway_for_passkey().await;
    let factor = json!({ "passkey": device.signs(&options).await });
    count();
    assert_eq!(ada.shows_factor(&token, &factor).await.status, 200);
    record("second factor at a sign-in, with a passkey");
    let options = ada.reauthentication_options(&tokens.access).await.json();
    record("options to reauthenticate with a passkey");
    let factor = json!({ "passkey": device.signs(&options).await });
    assert_eq!(ada.reauthenticates_with(&tokens.access, factor).await.status, 200);
    record("reauthenticate with a passkey");
    assert_eq!(ada.removes_passkey(&tokens.access, &id).await.status, 200);
    record("removal of a passkey");

    let new = stack.stranger("Ada").email;
    let tokens = ada.signs_in().await;
    count();
    assert_eq!(ada.requests_email_change(&tokens.access, &new).await.status, 202);
    record("request to change the address");
    let link = mailbox::wait_for(&new, 1).await[0].token();
    assert_eq!(ada.changes_email(&link).await.status, 200);
    record("change of the address");
    let undo = ada.newest_mail(mailbox::EMAIL_CHANGED).await.token();
    count();
    assert_eq!(ada.undoes_email_change(&undo).await.status, 200);
    record("undoing a change of the address");
    assert_eq!(found, documented(store));

    assert_eq!(ada.with_password("a guess").tries_to_sign_in().await.status, 401);
    assert_eq!(count(), 1, "a wrong password");
    assert_eq!(stack.stranger("Bob").tries_to_sign_in().await.status, 401);
    assert_eq!(count(), 1, "an unknown address");
}

#[tokio::test]
async fn a_sign_up_that_does_not_tell_about_a_taken_address_sends_one_statement_more() {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let builder = Stack::builder().state_in(PostgreSql).database_port(proxy.port).with_verification();
    let stack = builder.with("SIGNUP_TELLS", "off").start().await;
    let ada = stack.stranger("Ada");
    for statements in [3, 4] {
        proxy.reset_counts();
        ada.signs_up().await.assert_created();
        assert_eq!(proxy.statement_count(), statements);
    }
}
