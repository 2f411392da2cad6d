//! Counters in DynamoDB instead of PostgreSQL.

use rstest::rstest;
use tests::{DynamoDbHealth, Reply, Stack, Store::DynamoDb, Tokens};

use crate::support::{assert_gateway_answer, get_example};

#[track_caller]
fn assert_unavailable(reply: &Reply) {
    reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
    assert!(reply.header("retry-after").is_some());
}

// Requirement 18.
#[rstest]
#[tokio::test]
async fn without_the_counter_table_only_throttled_requests_fail(
    #[values(DynamoDbHealth::Throttled, DynamoDbHealth::Hanging)] health: DynamoDbHealth,
) {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let link = ada.receives_reset_mail(1).await.reset_token();
    table.set_health(health);
    assert_unavailable(&ada.tries_to_sign_in().await);
    assert_unavailable(&stack.stranger("Bob").signs_up().await);
    assert_unavailable(&ada.resets_password(&link, "another password").await);
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(get_example(&stack, &tokens.access).await.status, 200, "the authorizer does not need the table");
    let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    assert_gateway_answer(&get_example(&stack, &tokens.access).await, 403, "Forbidden");

    table.set_health(DynamoDbHealth::Healthy);
    ada.signs_in().await;
    assert_eq!(ada.resets_password(&link, "another password").await.status, 200);
}

/// The function opens the session before it clears the counters. If it cannot clear them, the client gets no tokens of the session. So nobody
/// can use the session, and it expires.
// Requirement 18.
#[tokio::test]
async fn a_sign_in_whose_counters_cannot_be_cleared_is_unavailable_and_stays_counted_until_the_next_one() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let before = table.items().await.len();
    table.set_health(DynamoDbHealth::ThrottlingDeletes);
    assert_unavailable(&ada.tries_to_sign_in().await);
    let sessions = "SELECT count(*) FROM sessions";
    assert_eq!(stack.sql_number(sessions).await, 1, "PostgreSQL has the session");
    assert_eq!(table.items().await.len(), before + 3, "the attempt is still counted");

    table.set_health(DynamoDbHealth::Healthy);
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(stack.sql_number(sessions).await, 2);
    assert_eq!(
        table.items().await.len(),
        before + 1,
        "the counter of the source is left, those of the account are cleared"
    );
}

// Requirement 36.
#[tokio::test]
async fn every_read_of_the_table_is_strongly_consistent() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    ada.signs_in().await;
    ada.with_password("wrong").tries_to_sign_in().await;
    let requests = table.requests();
    let reads: Vec<_> = requests.iter().filter(|request| request.operation.contains("Get")).collect();
    assert!(reads.len() >= 2, "each sign-in reads its counters");
    for read in reads {
        assert_eq!(read.operation, "BatchGetItem");
        assert_eq!(read.body["RequestItems"][&table.name]["ConsistentRead"], true, "{}", read.body);
    }
}

// Requirement 37.
#[tokio::test]
async fn an_expired_counter_is_ignored_before_dynamodb_deletes_it() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    for _ in 0..5 {
        assert_eq!(ada.with_password("wrong").tries_to_sign_in().await.status, 401);
    }
    assert_eq!(ada.tries_to_sign_in().await.status, 429);
    table.let_time_pass(25 * 3600).await;
    assert!(!table.items().await.is_empty(), "DynamoDB deletes expired items days later");
    ada.signs_in().await;
}
