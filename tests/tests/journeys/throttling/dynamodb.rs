//! Counters and sessions in DynamoDB instead of PostgreSQL.

use std::collections::BTreeSet;

use tests::{DynamoDbHealth, DynamoDbRequest, Reply, Stack, Store::DynamoDb, Tokens};

#[track_caller]
fn assert_unavailable(reply: &Reply) {
    reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
    assert!(reply.header("retry-after").is_some());
}

/// The function opens the session before it clears the counters. If it cannot clear them, the client gets no tokens of the session. So nobody
/// can use the session, and it expires.
// Requirement 18.
#[tokio::test]
async fn a_sign_in_whose_counters_cannot_be_cleared_is_unavailable_and_stays_counted_until_the_next_one() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let before = table.counters().await.len();
    table.set_health(DynamoDbHealth::ThrottlingDeletes);
    assert_unavailable(&ada.tries_to_sign_in().await);
    assert_eq!(stack.sessions().live().await.len(), 1, "the table has the session");
    assert_eq!(table.counters().await.len(), before + 3, "the attempt is still counted");

    table.set_health(DynamoDbHealth::Healthy);
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(stack.sessions().live().await.len(), 2);
    assert_eq!(
        table.counters().await.len(),
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
    let tokens = ada.signs_in().await;
    ada.with_password("wrong").tries_to_sign_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    let mut reads = BTreeSet::new();
    for DynamoDbRequest { operation, body, .. } in table.requests() {
        let read = match operation.as_str() {
            "BatchGetItem" => &body["RequestItems"][&table.name],
            "GetItem" | "Query" => &body,
            _ => continue,
        };
        assert_eq!(read["ConsistentRead"], true, "{operation}: {body}");
        reads.insert(operation);
    }
    assert_eq!(reads.into_iter().collect::<Vec<_>>(), ["BatchGetItem", "GetItem", "Query"]);
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
    table.let_time_pass_for_counters(25 * 3600).await;
    assert!(!table.counters().await.is_empty(), "DynamoDB deletes expired items days later");
    ada.signs_in().await;
}
