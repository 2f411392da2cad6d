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

#[tokio::test]
async fn a_live_session_gets_through_and_the_function_knows_whose_it_is() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let claims = claims(&tokens.access);
    let caller = json!({ "message": "The authorizer let you through", "sub": claims["sub"], "sid": claims["sid"] });
    example(&stack, &tokens.access).await.assert_ok(&caller);
    assert!(stack.log_of("authorizer").contains("authorized"));
}

#[tokio::test]
async fn whoever_has_no_good_token_does_not_get_there() {
    let stack = Stack::start().await;
    let tokens = stack.user("Ada").await.signs_in().await;
    assert_gateway_says(&stack.get("/api/example").await, 401, "Unauthorized");
    for token in ["", "a.b.c", &tokens.refresh, &format!("{}x", tokens.access)] {
        assert_gateway_says(&example(&stack, token).await, 403, "Forbidden");
    }
    assert!(stack.log_of("example").is_empty(), "the function was not asked");
}

// Requirements 5, 18.
#[tokio::test]
async fn a_logout_ends_its_session_there_too_and_no_other() {
    let stack = Stack::start().await;
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
#[tokio::test]
async fn a_reset_ends_every_session_there_too_and_the_next_sign_in_serves_at_once() {
    let stack = Stack::start().await;
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
#[tokio::test]
async fn a_stolen_refresh_token_ends_its_session_there_too() {
    let stack = Stack::start().await;
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
#[tokio::test]
async fn a_database_that_is_away_lets_nobody_through_either() {
    let well = Stack::start().await;
    let token = well.user("Ada").await.signs_in().await.access;
    let away = Stack::builder().with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let stack = away.on(TestDatabase::empty().await).start().await;
    assert_gateway_says(&example(&stack, &token).await, 500, "Internal Server Error");
    assert!(stack.log_of("authorizer").contains("service_unavailable"));
}

// Requirement 18.
#[rstest]
#[tokio::test]
async fn a_counter_table_that_is_away_stops_what_is_counted_and_nothing_else(
    #[values(Health::Throttled, Health::Hanging)] health: Health,
) {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let link = ada.receives_reset_mail(1).await.reset_token();
    table.is(health);
    assert_unavailable(&ada.tries_to_sign_in().await);
    assert_unavailable(&stack.stranger("Bob").signs_up().await);
    assert_unavailable(&ada.resets_password(&link, "another password").await);
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(example(&stack, &tokens.access).await.status, 200, "nothing was changed");
    let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    assert_gateway_says(&example(&stack, &tokens.access).await, 403, "Forbidden");

    table.is(Health::Well);
    ada.signs_in().await;
    assert_eq!(ada.resets_password(&link, "another password").await.status, 200);
}

/// Both stores: a table of counters must have no part in which sessions live.
#[rstest]
#[tokio::test]
async fn a_reset_that_is_refused_or_fails_ends_no_session(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let before = ada.signs_in().await;
    let link = ada.receives_reset_mail(1).await.reset_token();

    // A newer request takes effect after the link was looked up and before it is used.
    let mut rival = stack.database.connect().await;
    for (supersedes, status) in [(false, 503), (true, 400)] {
        let rival = rival.transaction().await.unwrap();
        rival.execute("UPDATE password_resets SET token_hash = sha256('newer')", &[]).await.unwrap();
        let decide = async {
            if supersedes {
                waits_for_a_lock(&stack).await;
                rival.commit().await.unwrap();
            } else {
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                rival.rollback().await.unwrap();
            }
        };
        let (reset, ()) = tokio::join!(ada.resets_password(&link, "another password"), decide);
        assert_eq!(reset.status, status, "{}", reset.text);
        let after = ada.signs_in().await;
        for tokens in [&before, &after] {
            assert_eq!(example(&stack, &tokens.access).await.status, 200);
            assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
        }
    }
}

async fn waits_for_a_lock(stack: &Stack) {
    while stack.sql_number("SELECT count(*) FROM pg_locks WHERE NOT granted").await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Functions may differ in their settings, and settings change: what has ended stays ended.
#[rstest]
#[tokio::test]
async fn a_token_that_outlives_todays_lifetime_stays_revoked(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack =
        Stack::builder().state_in(store).with_for("logout", "JWT_ACCESS_TOKEN_EXPIRES", "1").processes(1).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    if let Some(table) = &stack.state_table {
        table.pass(3500).await;
    }
    assert_gateway_says(&example(&stack, &tokens.access).await, 403, "Forbidden");
}

// Requirement 36.
#[tokio::test]
async fn every_read_of_the_table_is_strongly_consistent() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    ada.signs_in().await;
    ada.with_password("wrong").tries_to_sign_in().await;
    let asked = table.asked();
    let reads: Vec<_> = asked.iter().filter(|asked| asked.operation.contains("Get")).collect();
    assert!(reads.len() >= 2, "each sign-in reads its counters");
    for read in reads {
        assert_eq!(read.operation, "BatchGetItem");
        assert_eq!(read.body["RequestItems"][&table.name]["ConsistentRead"], true, "{}", read.body);
    }
}

// Requirement 37.
#[tokio::test]
async fn an_expired_counter_counts_for_nothing_though_it_is_still_there() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    for _ in 0..5 {
        assert_eq!(ada.with_password("wrong").tries_to_sign_in().await.status, 401);
    }
    assert_eq!(ada.tries_to_sign_in().await.status, 429);
    table.pass(25 * 3600).await;
    assert!(!table.items().await.is_empty(), "DynamoDB deletes days later");
    ada.signs_in().await;
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
    assert!(items.contains("attempts"), "{items}");
    for secret in [&tokens.access, &tokens.refresh, &reset, &ada.email, &ada.source, "another password"] {
        assert!(!items.contains(secret), "{secret}");
    }
    assert!(!items.contains(claims(&tokens.access)["sid"].as_str().unwrap()), "PostgreSQL keeps the sessions");
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
