//! The whole life of an account whose user reads German: every mail, every page with the endpoint behind it, and what is left at the end.

use std::collections::BTreeSet;

use fantoccini::{Client, Locator};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tests::{
    Person, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens, jwt,
    mailbox::Mail,
};

use crate::{
    browser::{open_browser_in, wait_for_heading, wait_for_text},
    click_submit, submit,
};

const VERIFICATION: &str = "Bestätigen Sie Ihre E-Mail-Adresse";
const EMAIL_CHANGE: &str = "Bestätigen Sie Ihre neue E-Mail-Adresse";
const EMAIL_CHANGE_REQUESTED: &str = "Für Ihr Konto wurde eine neue E-Mail-Adresse angegeben";
const EMAIL_CHANGED: &str = "Die E-Mail-Adresse Ihres Kontos wurde geändert";
const EMAIL_RESTORED: &str = "Die Änderung Ihrer E-Mail-Adresse wurde rückgängig gemacht";
const PASSWORD_RESET: &str = "Setzen Sie Ihr Passwort zurück";
const PASSWORD_CHANGED: &str = "Ihr Passwort wurde geändert";
const ACCOUNT_DELETED: &str = "Ihr Konto wird gelöscht";

// Requirements 51, 52, 53, 55, 56.
#[rstest]
#[tokio::test]
async fn a_person_uses_every_page_in_german_and_leaves_nothing_behind(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack =
        Stack::builder().state_in(store).with("FORGOT_PASSWORD_FLOOR_MS", "0").with_verification().start().await;
    let browser = open_browser_in("de").await;
    let ada = signs_up_in_german(&stack, "Adalbertine Lovelace").await;
    let bob = signs_up_in_german(&stack, "Bertold Brecht").await;
    let new = ada.with_email(&stack.stranger("Adalbertine King").email);

    verifies_by_link(&browser, &ada).await;
    verifies_by_code(&bob).await;
    let ada = changes_the_address_and_undoes_it(&browser, &ada, &new).await;
    let ada = changes_the_password(&stack, &ada).await;
    lists_and_ends_sessions(&ada).await;
    let id = user_id(&ada).await;
    deletes_the_account(&ada).await;
    keeps_the_account(&browser, &ada).await;
    let tokens = deletes_the_account(&ada).await;
    browser.close().await.unwrap();

    let (before, own) = (stack.dump().await.to_lowercase(), [&ada.name, &ada.email, &new.email]);
    assert!(before.contains(&own[0].to_lowercase()) && before.contains(own[1]), "the account stays until it is due");
    assert_eq!(stack.sweep().await["accounts_erased"], 0);
    stack.sql("UPDATE account_deletions SET erase_at = now()").await;
    assert_eq!(stack.sweep().await["accounts_erased"], 1);

    let (after, logs) = (stack.dump().await.to_lowercase(), stack.logs().to_lowercase());
    for text in own.map(|text| text.to_lowercase()) {
        assert!(!after.contains(&text) && !logs.contains(&text), "{text} is left");
    }
    assert!(after.contains(&bob.name.to_lowercase()) && after.contains(&bob.email), "other accounts stay");
    assert_only_the_ended_id_is_left(&stack, id, &ada).await;
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
    ada.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");
}

async fn signs_up_in_german<'a>(stack: &'a Stack, name: &str) -> Person<'a> {
    let person = stack.stranger(name);
    let body = json!({ "name": person.name, "email": person.email, "password": person.password });
    let reply = stack
        .send(Method::POST, "/api/signup", |request| {
            request.header("Accept-Language", "de-AT,de;q=0.9,en;q=0.5").json(&body)
        })
        .await;
    reply.assert_created();
    person
}

/// Opens the link of a mail. The page has this heading and is in German.
async fn open_link(browser: &Client, mail: &Mail, heading: &str) {
    browser.goto(&mail.link()).await.expect("the page opens");
    let html = browser.find(Locator::Css("html")).await.unwrap();
    assert_eq!(html.attr("lang").await.unwrap().as_deref(), Some("de"));
    wait_for_heading(browser, heading).await;
}

async fn account(person: &Person<'_>, tokens: &Tokens) -> Value {
    person.account(&tokens.access).await.json()
}

async fn user_id(person: &Person<'_>) -> i64 {
    account(person, &person.signs_in().await).await["user"]["id"].as_i64().expect("an id")
}

#[track_caller]
fn assert_ended(reply: &Reply) {
    reply.assert_refused(401, "token_revoked", "Token has been revoked");
}

async fn verifies_by_link(browser: &Client, ada: &Person<'_>) {
    let tokens = ada.signs_in().await;
    let user = account(ada, &tokens).await["user"].clone();
    assert_eq!((&user["locale"], &user["email_verified"]), (&json!("de"), &json!(false)));
    open_link(browser, &ada.newest_mail(VERIFICATION).await, "E-Mail-Adresse bestätigen").await;
    submit(browser, "not the password").await;
    wait_for_text(browser, "problem", "Das Passwort ist falsch.").await;
    submit(browser, &ada.password).await;
    wait_for_heading(browser, "Ihre Adresse ist bestätigt").await;
    assert_eq!(account(ada, &tokens).await["user"]["email_verified"], true);
}

async fn verifies_by_code(bob: &Person<'_>) {
    let tokens = bob.signs_in().await;
    let code = bob.newest_mail(VERIFICATION).await.code();
    let verified = Tokens::from(&bob.verifies_by_code(&tokens.access, &code).await);
    assert_eq!(account(bob, &verified).await["user"]["email_verified"], true);
}

/// Changes the address, undoes the change and resets the password. Returns the person with the new password.
async fn changes_the_address_and_undoes_it<'a>(browser: &Client, ada: &Person<'a>, new: &Person<'a>) -> Person<'a> {
    let tokens = ada.signs_in().await;
    assert_eq!(ada.requests_email_change(&tokens.access, &new.email).await.status, 202);
    assert_eq!(account(ada, &tokens).await["pending_email"], json!(new.email));
    ada.newest_mail(EMAIL_CHANGE_REQUESTED).await;
    open_link(browser, &new.newest_mail(EMAIL_CHANGE).await, "Neue E-Mail-Adresse bestätigen").await;
    submit(browser, &ada.password).await;
    wait_for_heading(browser, "Ihre neue Adresse gilt jetzt").await;
    assert_eq!(account(ada, &tokens).await["user"]["email"], json!(new.email), "the session lives on");
    new.signs_in().await;

    let undo = ada.newest_mail(EMAIL_CHANGED).await;
    open_link(browser, &undo, "Änderung Ihrer Adresse rückgängig machen").await;
    click_submit(browser).await;
    wait_for_heading(browser, "Ihre frühere Adresse gilt wieder").await;
    assert_ended(&ada.account(&tokens.access).await);
    new.newest_mail(EMAIL_RESTORED).await;
    new.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");
    open_link(browser, &undo, "Änderung Ihrer Adresse rückgängig machen").await;
    click_submit(browser).await;
    wait_for_heading(browser, "Dieser Link funktioniert nicht mehr").await;

    let ada = ada.with_password("ein neues Passwort");
    open_link(browser, &ada.newest_mail(PASSWORD_RESET).await, "Neues Passwort wählen").await;
    submit(browser, &ada.password).await;
    wait_for_heading(browser, "Ihr Passwort wurde zurückgesetzt").await;
    let user = account(&ada, &ada.signs_in().await).await["user"].clone();
    assert_eq!((&user["email"], &user["email_verified"]), (&json!(ada.email), &json!(true)));
    ada
}

/// Changes the password while a second session is open, which ends. Returns the same person with the new password.
async fn changes_the_password<'a>(stack: &Stack, ada: &Person<'a>) -> Person<'a> {
    let (phone, laptop) = (ada.signs_in().await, ada.signs_in().await);
    let changed = Tokens::from(&ada.changes_password(&phone.access, "das dritte Passwort").await);
    let ada = ada.with_password("das dritte Passwort");
    for ended in [&phone, &laptop] {
        assert_ended(&ada.dashboard(&ended.access).await);
        assert_eq!(ada.refreshes(&ended.refresh).await.status, 401);
    }
    assert_eq!(ada.dashboard(&changed.access).await.status, 200);
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0);
    ada.newest_mail(PASSWORD_CHANGED).await;
    ada
}

async fn lists_and_ends_sessions(ada: &Person<'_>) {
    let (phone, laptop, tablet) = (ada.signs_in().await, ada.signs_in().await, ada.signs_in().await);
    let list = ada.sessions(&phone.access).await.json()["sessions"].as_array().unwrap().clone();
    // One was opened by the change of the password.
    assert_eq!(list.len(), 4, "{list:?}");
    let id = jwt::claims(&laptop.access)["sid"].as_str().unwrap().to_owned();
    assert!(list.iter().any(|session| session["id"] == id && session["current"] == false), "{list:?}");
    assert_eq!(ada.ends_session(&phone.access, &id).await.status, 204);
    assert_ended(&ada.dashboard(&laptop.access).await);
    let others = ada.ends_other_sessions(&phone.access).await;
    others.assert_ok(&json!({ "message": "Other sessions ended", "ended": 2 }));
    assert_ended(&ada.dashboard(&tablet.access).await);
    assert_eq!(ada.logs_out(&phone.access).await.status, 200);
}

/// Deletes the account. Returns the tokens of a session that the deletion has ended.
async fn deletes_the_account(ada: &Person<'_>) -> Tokens {
    let (phone, laptop) = (ada.signs_in().await, ada.signs_in().await);
    assert_eq!(ada.deletes_account(&phone.access).await.status, 202);
    for ended in [&phone, &laptop] {
        assert_ended(&ada.dashboard(&ended.access).await);
    }
    ada.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");
    phone
}

async fn keeps_the_account(browser: &Client, ada: &Person<'_>) {
    open_link(browser, &ada.newest_mail(ACCOUNT_DELETED).await, "Konto behalten").await;
    click_submit(browser).await;
    wait_for_heading(browser, "Ihr Konto bleibt bestehen").await;
}

/// With sessions in DynamoDB, one item with the id stays for a session's lifetime, so that a session that is stored late is not live.
async fn assert_only_the_ended_id_is_left(stack: &Stack, id: i64, ada: &Person<'_>) {
    let traces = stack.traces_of(id, ada).await;
    let Some(table) = &stack.state_table else {
        assert_eq!(traces, [""; 0]);
        return;
    };
    assert_eq!(traces, [format!("u#{id} account")]);
    let items = table.items().await;
    let item = items.iter().find(|item| item["pk"]["S"] == format!("u#{id}")).unwrap();
    let attributes: BTreeSet<_> = item.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(attributes, BTreeSet::from(["expires_at", "minimum_version", "pk", "sk"]));
    let expires_at = item["expires_at"]["N"].as_str().unwrap();
    let lifetime = stack.sql_number(&format!("SELECT {expires_at} - extract(epoch FROM now())::bigint")).await;
    assert!((604_700..=604_801).contains(&lifetime), "{lifetime} seconds");
}
