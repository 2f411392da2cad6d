//! The authorizer: which requests pass it, and that none passes while it cannot decide.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use tests::{
    DynamoDbHealth, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    database::TestDatabase,
    jwt::claims,
};

use crate::support::{assert_gateway_answer, get_example};

#[tokio::test]
async fn a_live_session_passes_and_the_function_receives_its_ids() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let claims = claims(&tokens.access);
    let caller = json!({ "message": "The authorizer let you through", "sub": claims["sub"], "sid": claims["sid"] });
    get_example(&stack, &tokens.access).await.assert_ok(&caller);
    assert!(stack.log_of("authorizer").contains("authorized"));
}

#[tokio::test]
async fn a_request_without_a_valid_access_token_does_not_reach_the_function() {
    let stack = Stack::start().await;
    let tokens = stack.user("Ada").await.signs_in().await;
    assert_gateway_answer(&stack.get("/api/example").await, 401, "Unauthorized");
    for token in ["", "a.b.c", &tokens.refresh, &format!("{}x", tokens.access)] {
        assert_gateway_answer(&get_example(&stack, token).await, 403, "Forbidden");
    }
    assert!(stack.log_of("example").is_empty(), "the function was not called");
}

// Requirements 5, 18.
#[tokio::test]
async fn the_authorizer_refuses_a_session_after_logout_and_no_other() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let (here, elsewhere) = (ada.signs_in().await, ada.signs_in().await);
    let refreshed = Tokens::from(&ada.refreshes(&here.refresh).await);
    assert_eq!(ada.logs_out(&here.access).await.status, 200);
    for ended in [&here, &refreshed] {
        assert_gateway_answer(&get_example(&stack, &ended.access).await, 403, "Forbidden");
    }
    assert_eq!(get_example(&stack, &elsewhere.access).await.status, 200);
}

// Requirement 6.
#[tokio::test]
async fn the_authorizer_refuses_every_session_opened_before_a_reset_and_none_after_it() {
    let stack = Stack::start().await;
    let (ada, bob) = (stack.user("Ada").await, stack.user("Bob").await.signs_in().await);
    let before = [ada.signs_in().await, ada.signs_in().await];
    for (count, password) in [(1, "the second password"), (3, "the third password")] {
        let token = ada.receives_reset_mail(count).await.token();
        assert_eq!(ada.resets_password(&token, password).await.status, 200);
        let after = ada.with_password(password).signs_in().await;
        assert_eq!(get_example(&stack, &after.access).await.status, 200);
        let refreshed = Tokens::from(&ada.refreshes(&after.refresh).await);
        assert_eq!(get_example(&stack, &refreshed.access).await.status, 200);
    }
    for tokens in before {
        assert_gateway_answer(&get_example(&stack, &tokens.access).await, 403, "Forbidden");
    }
    assert_eq!(get_example(&stack, &bob.access).await.status, 200);
}

// Requirement 4.
#[tokio::test]
async fn the_authorizer_refuses_a_session_whose_refresh_token_was_reused() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    let third = Tokens::from(&ada.refreshes(&second.refresh).await);
    assert_eq!(ada.refreshes(&first.refresh).await.status, 401);
    for tokens in [first, second, third] {
        assert_gateway_answer(&get_example(&stack, &tokens.access).await, 403, "Forbidden");
    }
}

/// With sessions in DynamoDB, the authorizer works without PostgreSQL until the table fails too.
// Requirement 18.
#[rstest]
#[tokio::test]
async fn the_authorizer_refuses_everyone_while_the_store_of_sessions_is_down(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let healthy = Stack::with_state_in(store).await;
    let token = healthy.user("Ada").await.signs_in().await.access;
    let builder = Stack::builder().state_in(store).with_table_of(&healthy);
    let builder = builder.with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let stack = builder.with_unprepared_database(TestDatabase::empty().await).start().await;
    if let Some(table) = &healthy.state_table {
        assert_eq!(get_example(&stack, &token).await.status, 200);
        table.set_health(DynamoDbHealth::Throttled);
    }
    assert_gateway_answer(&get_example(&stack, &token).await, 500, "Internal Server Error");
    assert!(stack.log_of("authorizer").contains("service_unavailable"));
}

/// Here `JWT_ACCESS_TOKEN_EXPIRES` is shorter for `logout` than for `signin`, which issued the token. After the logout, the token must be refused
/// until its own lifetime is over, and not only for the shorter time.
#[rstest]
#[tokio::test]
async fn a_logged_out_session_stays_refused_although_the_token_lifetime_was_shortened(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack =
        Stack::builder().state_in(store).with_for("logout", "JWT_ACCESS_TOKEN_EXPIRES", "1").processes(1).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    assert_gateway_answer(&get_example(&stack, &tokens.access).await, 403, "Forbidden");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_gateway_answer(&get_example(&stack, &tokens.access).await, 403, "Forbidden");
}
