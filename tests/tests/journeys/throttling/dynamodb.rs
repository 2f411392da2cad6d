//! Counters and sessions in DynamoDB instead of PostgreSQL.

use std::collections::BTreeSet;

use rstest::rstest;
use tests::{
    DynamoDbHealth, DynamoDbRequest, InterruptionPoint::AfterCommit, Person, Reply, Stack, Store::DynamoDb, Tokens,
};

use crate::support::assert_role_allows;

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
    assert_eq!(table.counters().await.len(), before + 1, "the attempt is still counted");

    table.set_health(DynamoDbHealth::Healthy);
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(stack.sessions().live().await.len(), 2);
    assert_eq!(table.counters().await.len(), before, "the counters are cleared");
}

/// What an attempt to sign in, with this password, is answered if something changes the table while the password is verified.
async fn sign_in_while(stack: &Stack, person: &Person<'_>, change: impl AsyncFnOnce()) -> Reply {
    let table = stack.state_table.as_ref().unwrap();
    // The first two requests are sent at once, before the password is verified.
    table.hold_request(2, AfterCommit);
    let (reply, ()) = tokio::join!(person.tries_to_sign_in(), async {
        table.wait_until_held().await;
        change().await;
        table.stop_interrupting();
    });
    reply
}

/// Attempts that are under way when a counter becomes full must not reveal whether their passwords are right.
// Requirement 20.
#[rstest]
#[tokio::test]
async fn a_counter_that_becomes_full_while_the_password_is_verified_refuses_the_attempt(
    #[values("source", "account")] counter: &str,
    #[values(true, false)] password_is_right: bool,
) {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    ada.tries_to_sign_in().await;
    stack.sessions().end_in(-1).await;
    let (source, user) = (ada.source.clone(), format!("user {} 1", stack.sql_number("SELECT id FROM users").await));
    let name = ["signin", counter, if counter == "source" { &source } else { &user }];
    let guess = ada.with_password(if password_is_right { &ada.password } else { "a guess" });
    assert_eq!(ada.with_password("a guess").tries_to_sign_in().await.status, 401);

    let before = table.requests().len();
    let reply = sign_in_while(&stack, &guess, async || table.set_counter(&name, 100).await).await;
    assert_role_allows("signin", &table.requests()[before..]);
    assert_eq!((reply.status, reply.text_at("code").as_str()), (429, "too_many_attempts"), "{}", reply.text);
    assert_eq!(reply.text.contains("Reset your password"), counter == "account", "{}", reply.text);
    assert!(stack.sessions().live().await.is_empty());

    // Three more guesses lead to a wait, whether the password was right or wrong.
    table.set_counter(&name, 0).await;
    for _ in 0..3 {
        assert_eq!(ada.with_password("a guess").tries_to_sign_in().await.status, 401);
    }
    assert_eq!(ada.tries_to_sign_in().await.status, 429);
}

/// The session of an attempt that is refused at its end must not help other attempts from its source.
// Requirement 20.
#[tokio::test]
async fn a_session_does_not_prove_its_source_at_once() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    ada.signs_in().await;
    let user = format!("user {} 1", stack.sql_number("SELECT id FROM users").await);
    let close = async || table.set_counter(&["signin", "account", &user], 100).await;
    close().await;
    assert_eq!(ada.tries_to_sign_in().await.status, 429);
    stack.sessions().move_opening_back(10).await;
    assert_eq!(sign_in_while(&stack, &ada, close).await.status, 200);
    ada.from_source("192.0.2.99").signs_in().await;
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
