//! What a stolen database or DynamoDB table would reveal.

use serde_json::Value;
use tests::{Stack, Store::DynamoDb, jwt::claims};

// Requirement 12.
#[tokio::test]
async fn the_database_stores_no_token() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let mail = ada.receives_reset_mail(1).await;
    let resets = stack.sql_text("SELECT string_agg(r::text, ' ') FROM password_resets r").await;
    let rows = stack.sessions().as_text().await + &resets;
    for token in [tokens.access, tokens.refresh, mail.token()] {
        assert!(!rows.contains(&token));
    }
}

// Requirements 12, 38.
#[tokio::test]
async fn the_table_stores_no_token_no_email_address_and_no_password_and_counters_name_no_source() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.with_password("wrong").tries_to_sign_in().await;
    let reset = ada.receives_reset_mail(1).await.token();
    ada.resets_password(&reset, "another password").await;
    ada.with_password("another password").signs_in().await;
    let items = Value::from(table.items().await).to_string();
    assert!(items.contains("attempts") && items.contains("refresh_id"), "{items}");
    for secret in [&tokens.access, &tokens.refresh, &reset, &ada.email, "another password"] {
        assert!(!items.contains(secret), "{secret}");
    }
    let counters = Value::from(table.counters().await).to_string();
    assert!(!counters.contains(&ada.source), "{counters}");
    let ended = claims(&tokens.access)["sid"].as_str().unwrap().to_owned();
    assert!(!stack.sessions().live().await.contains(&ended), "a reset has ended the session");
}
