//! The authorizer in front of a route of another function: whom it lets through, and that it lets nobody through when it cannot tell.

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tests::{
    Health, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    database::TestDatabase,
};

async fn example(stack: &Stack, access_token: &str) -> Reply {
    stack.with_token(Method::GET, "/api/example", access_token).await
}

/// What API Gateway answers by itself.
#[track_caller]
fn assert_gateway_says(reply: &Reply, status: u16, message: &str) {
    assert_eq!((reply.status, reply.json()), (status, json!({ "message": message })));
}

#[track_caller]
fn assert_unavailable(reply: &Reply) {
    reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
    assert!(reply.header("retry-after").is_some());
}

fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[rstest]
#[tokio::test]
async fn a_live_session_gets_through_and_the_function_knows_whose_it_is(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let claims = claims(&tokens.access);
    let caller = json!({ "message": "The authorizer let you through", "sub": claims["sub"], "sid": claims["sid"] });
    example(&stack, &tokens.access).await.assert_ok(&caller);
    assert!(stack.log_of("authorizer").contains("authorized"));
}

#[rstest]
#[tokio::test]
async fn whoever_has_no_good_token_does_not_get_there(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let tokens = stack.user("Ada").await.signs_in().await;
    assert_gateway_says(&stack.get("/api/example").await, 401, "Unauthorized");
    for token in ["", "a.b.c", &tokens.refresh, &format!("{}x", tokens.access)] {
        assert_gateway_says(&example(&stack, token).await, 403, "Forbidden");
    }
    assert!(stack.log_of("example").is_empty(), "the function was not asked");
}

// Requirements 5, 18.
#[rstest]
#[tokio::test]
async fn a_logout_ends_its_session_there_too_and_no_other(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let (here, elsewhere) = (ada.signs_in().await, ada.signs_in().await);
    let refreshed = Tokens::from(&ada.refreshes(&here.refresh).await);
    assert_eq!(ada.logs_out(&here.access).await.status, 200);
    for ended in [&here, &refreshed] {
        assert_gateway_says(&example(&stack, &ended.access).await, 403, "Forbidden");
    }
    assert_eq!(example(&stack, &elsewhere.access).await.status, 200);
}

// Requirement 6.
#[rstest]
#[tokio::test]
async fn a_reset_ends_every_session_there_too_and_the_next_sign_in_serves_at_once(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, bob) = (stack.user("Ada").await, stack.user("Bob").await.signs_in().await);
    let before = [ada.signs_in().await, ada.signs_in().await];
    for (count, password) in [(1, "the second password"), (3, "the third password")] {
        let token = ada.receives_reset_mail(count).await.reset_token();
        assert_eq!(ada.resets_password(&token, password).await.status, 200);
        let after = ada.with_password(password).signs_in().await;
        assert_eq!(example(&stack, &after.access).await.status, 200);
        let refreshed = Tokens::from(&ada.refreshes(&after.refresh).await);
        assert_eq!(example(&stack, &refreshed.access).await.status, 200);
    }
    for tokens in before {
        assert_gateway_says(&example(&stack, &tokens.access).await, 403, "Forbidden");
    }
    assert_eq!(example(&stack, &bob.access).await.status, 200);
}

// Requirement 4.
#[rstest]
#[tokio::test]
async fn a_stolen_refresh_token_ends_its_session_there_too(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    let third = Tokens::from(&ada.refreshes(&second.refresh).await);
    assert_eq!(ada.refreshes(&first.refresh).await.status, 401);
    for tokens in [first, second, third] {
        assert_gateway_says(&example(&stack, &tokens.access).await, 403, "Forbidden");
    }
}

// Requirement 18.
#[rstest]
#[tokio::test]
async fn a_store_that_is_away_lets_nobody_through_and_is_no_refusal(
    #[values(Health::Throttled, Health::Hanging)] health: Health,
) {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    table.is(health);
    assert_gateway_says(&example(&stack, &tokens.access).await, 500, "Internal Server Error");
    assert_unavailable(&ada.tries_to_sign_in().await);
    assert_unavailable(&ada.logs_out(&tokens.access).await);
    assert_unavailable(&stack.stranger("Bob").signs_up().await);
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200, "what needs no table stays up");
    assert_eq!(stack.get("/api/public").await.status, 200);

    table.is(Health::Well);
    assert_eq!(example(&stack, &tokens.access).await.status, 200);
    ada.signs_in().await;
}

// Requirement 18.
#[tokio::test]
async fn a_database_that_is_away_lets_nobody_through_either() {
    let well = Stack::start().await;
    let token = well.user("Ada").await.signs_in().await.access;
    let away = Stack::builder().with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let stack = away.on(TestDatabase::empty().await).start().await;
    assert_gateway_says(&example(&stack, &token).await, 500, "Internal Server Error");
    assert!(stack.log_of("authorizer").contains("service_unavailable"));
}

/// Ending a session denies it first, and then commits: what fails in between is open nowhere, and a retry completes it.
#[tokio::test]
async fn a_logout_that_failed_half_way_is_completed_by_a_retry() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;

    let tokens = ada.signs_in().await;
    table.is(Health::Throttled);
    assert_unavailable(&ada.logs_out(&tokens.access).await);
    table.is(Health::Well);
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200, "nothing was committed");
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    assert_gateway_says(&example(&stack, &tokens.access).await, 403, "Forbidden");

    let tokens = ada.signs_in().await;
    stack.sql("ALTER TABLE sessions RENAME TO sessions_away").await;
    assert_eq!(ada.logs_out(&tokens.access).await.status, 500);
    assert_gateway_says(&example(&stack, &tokens.access).await, 403, "Forbidden");
    stack.sql("ALTER TABLE sessions_away RENAME TO sessions").await;
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn a_reset_that_failed_half_way_is_completed_by_a_retry() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let before = ada.signs_in().await;
    let token = ada.receives_reset_mail(1).await.reset_token();
    table.is(Health::Throttled);
    assert_unavailable(&ada.resets_password(&token, "another password").await);
    table.is(Health::Well);
    assert_eq!(example(&stack, &before.access).await.status, 200, "nothing was changed");
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    assert_gateway_says(&example(&stack, &before.access).await, 403, "Forbidden");
}

#[tokio::test]
async fn a_theft_that_could_not_be_told_to_the_table_is_told_by_the_next_refresh() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    let third = Tokens::from(&ada.refreshes(&second.refresh).await);
    table.is(Health::Throttled);
    assert_unavailable(&ada.refreshes(&first.refresh).await);
    table.is(Health::Well);
    ada.dashboard(&third.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
    assert_eq!(ada.refreshes(&third.refresh).await.status, 401);
    assert_gateway_says(&example(&stack, &third.access).await, 403, "Forbidden");
}

// Requirement 36.
#[tokio::test]
async fn every_read_of_the_table_is_strongly_consistent() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    example(&stack, &tokens.access).await;
    ada.logs_out(&tokens.access).await;
    let token = ada.receives_reset_mail(1).await.reset_token();
    ada.resets_password(&token, "another password").await;
    let asked = table.asked();
    let reads: Vec<_> = asked.iter().filter(|asked| asked.operation.contains("Get")).collect();
    assert!(reads.len() >= 3, "sign-in reads twice, the authorizer once");
    for read in reads {
        assert_eq!(read.operation, "BatchGetItem");
        assert_eq!(read.body["RequestItems"][&table.name]["ConsistentRead"], true, "{}", read.body);
    }
}

// Requirement 37.
#[tokio::test]
async fn what_has_expired_counts_for_nothing_though_it_is_still_there() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let token = ada.receives_reset_mail(1).await.reset_token();
    for _ in 0..5 {
        assert_eq!(ada.with_password("wrong").tries_to_sign_in().await.status, 401);
    }
    assert_eq!(ada.tries_to_sign_in().await.status, 429);
    table.pass(25 * 3600).await;
    ada.signs_in().await;
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    assert_gateway_says(&example(&stack, &tokens.access).await, 403, "Forbidden");
    // By then the token itself has expired; here it outlives its denial, to show that the denial has ended.
    table.pass(2 * 3600).await;
    assert!(!table.items().await.is_empty(), "DynamoDB deletes days later");
    assert_eq!(example(&stack, &tokens.access).await.status, 200);
}

// Requirements 12, 38.
#[tokio::test]
async fn the_table_holds_no_token_no_address_and_no_password() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.with_password("wrong").tries_to_sign_in().await;
    let reset = ada.receives_reset_mail(1).await.reset_token();
    ada.resets_password(&reset, "another password").await;
    ada.logs_out(&ada.with_password("another password").signs_in().await.access).await;
    let items = Value::from(table.items().await).to_string();
    assert!(items.contains("session ") && items.contains("user "), "{items}");
    for secret in [&tokens.access, &tokens.refresh, &reset, &ada.email, &ada.source, "another password"] {
        assert!(!items.contains(secret), "{secret}");
    }
    assert!(!items.contains(claims(&tokens.access)["jti"].as_str().unwrap()), "denied by session, not by token");
}

/// API Gateway hands on what the authorizer said, and nobody else can say it.
#[tokio::test]
async fn the_function_behind_it_serves_nobody_the_authorizer_did_not_let_through() {
    let stack = Stack::start().await;
    let mut event: Value = serde_json::from_str(&tests::documents::read("events/example.json")).unwrap();
    event["requestContext"].as_object_mut().unwrap().remove("authorizer");
    assert_eq!(stack.invoke("example", &event).await.unwrap()["statusCode"], 500);
    for authorizer in [json!({}), json!({ "lambda": {} }), json!({ "lambda": { "sub": "1" } }), json!({ "jwt": {} })] {
        event["requestContext"]["authorizer"] = authorizer;
        assert_eq!(stack.invoke("example", &event).await.unwrap()["statusCode"], 500);
    }
}
