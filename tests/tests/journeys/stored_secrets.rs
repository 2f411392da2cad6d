//! What a stolen database or DynamoDB table would reveal.

use serde_json::Value;
use tests::{Stack, Store::DynamoDb};

use crate::support::claims;

// Requirement 12.
#[tokio::test]
async fn the_database_stores_no_token() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let mail = ada.receives_reset_mail(1).await;
    let rows = stack
        .sql_text("SELECT (SELECT string_agg(s::text, ' ') FROM sessions s) || (SELECT string_agg(r::text, ' ') FROM password_resets r)")
        .await;
    for token in [tokens.access, tokens.refresh, mail.reset_token()] {
        assert!(!rows.contains(&token));
    }
}

// Requirements 12, 38.
#[tokio::test]
async fn the_counter_table_stores_no_token_no_address_and_no_password() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.with_password("wrong").tries_to_sign_in().await;
    let reset = ada.receives_reset_mail(1).await.reset_token();
    ada.resets_password(&reset, "another password").await;
    ada.logs_out(&ada.with_password("another password").signs_in().await.access).await;
    let items = Value::from(table.items().await).to_string();
    assert!(items.contains("attempts"), "{items}");
    for secret in [&tokens.access, &tokens.refresh, &reset, &ada.email, &ada.source, "another password"] {
        assert!(!items.contains(secret), "{secret}");
    }
    assert!(!items.contains(claims(&tokens.access)["sid"].as_str().unwrap()), "the table stores no sessions");
}
