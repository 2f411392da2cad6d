//! Counters and sessions in DynamoDB instead of PostgreSQL.

use std::collections::BTreeSet;

use rstest::rstest;
use shared::domain::CounterKey;
use tests::{
    DynamoDbHealth, DynamoDbRequest, InterruptionPoint::AfterCommit, Person, Reply, Stack, Store::DynamoDb, Tokens,
    jwt::claims,
};

use crate::support::assert_role_allows;

/// The function opens the session and clears the counters at the same time. If it cannot clear them, the client still gets the tokens.
// Requirement 18.
#[tokio::test]
async fn a_sign_in_whose_counters_cannot_be_cleared_succeeds_and_stays_counted_until_the_next_one() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let before = table.counters().await.len();
    table.set_health(DynamoDbHealth::ThrottlingDeletes);
    ada.signs_in().await;
    assert_eq!(stack.sessions().live().await.len(), 1);
    assert_eq!(table.counters().await.len(), before + 3, "the attempt is still counted");

    table.set_health(DynamoDbHealth::Healthy);
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(stack.sessions().live().await.len(), 2);
    let left = table.counters().await.len() - before;
    assert!(
        (1..=2).contains(&left),
        "only items of the source are left, the counters of the account are cleared: {left}"
    );
}

/// The session is renewed or opened when the counters are cleared.
// Requirement 18.
#[tokio::test]
async fn a_proof_whose_counters_cannot_be_cleared_is_used_all_the_same() {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    table.set_health(DynamoDbHealth::ThrottlingDeletes);
    let tokens = Tokens::from(&ada.reauthenticates(&tokens.access).await);
    assert!(stack.log_of("reauthenticate").contains("could not be cleared"));

    // As a change of the password leaves the database if DynamoDB fails before the sessions have ended. The client repeats the request.
    let changed_in = claims(&tokens.access)["sid"].as_str().unwrap().to_owned();
    stack
        .sql(&format!(
            "UPDATE users SET credential_version = 2;
            INSERT INTO session_endings (user_id, minimum_version, changed_in) SELECT id, 2, '{changed_in}' FROM users"
        ))
        .await;
    let tokens = Tokens::from(&ada.changes_password(&tokens.access, &ada.password).await);
    assert!(stack.log_of("change-password").contains("could not be cleared"));
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(stack.sessions().live().await.len(), 1);
}

/// Tries to sign in, and runs `change` while the password is verified. Returns the answer.
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

/// Attempts that are under way when a counter becomes full must not reveal whether their passwords are right: not by the answer, and not by what they
/// leave in the table.
// Requirement 20.
#[rstest]
#[tokio::test]
async fn a_counter_that_becomes_full_while_the_password_is_verified_refuses_the_attempt_whatever_its_password(
    #[values(100, 0)] of_source: i64,
    #[values(100, 0)] of_account: i64,
) {
    let stack = Stack::with_state_in(DynamoDb).await;
    let table = stack.state_table.as_ref().unwrap();
    let mut traces = Vec::new();
    for name in ["Ada", "Bob"] {
        let person = stack.user(name).await.from_source(if name == "Ada" { "192.0.2.1" } else { "192.0.2.2" });
        let account =
            format!("user {} 1", stack.sql_number(&format!("SELECT id FROM users WHERE name = '{name}'")).await);
        let guess =
            if name == "Ada" { person.with_password("a guess") } else { person.with_password(&person.password) };
        assert_eq!(person.with_password("a guess").tries_to_sign_in().await.status, 401);
        let before = (table.requests().len(), table.counters().await);
        let reply = sign_in_while(&stack, &guess, async || {
            table.set_failures_of_source(&person.source, of_source).await;
            table.set_counter(CounterKey::of(&["signin", "account", &account]), of_account).await;
        })
        .await;
        assert_role_allows("signin", &table.requests()[before.0..]);
        if (of_source, of_account) == (0, 0) {
            assert_eq!(reply.status, if name == "Ada" { 401 } else { 200 }, "{}", reply.text);
            continue;
        }
        let wait: i64 = reply.header("retry-after").unwrap().parse().unwrap();
        let mut left = table.counters().await;
        left.retain(|counter| !before.1.iter().any(|earlier| earlier == counter));
        let mut attempts: Vec<_> = left.iter().map(|counter| counter["attempts"]["N"].to_string()).collect();
        attempts.sort();
        assert!((3590..=3600).contains(&wait), "{wait}");
        traces.push((reply.status, reply.text.clone(), attempts));
    }
    assert!(traces.windows(2).all(|pair| pair[0] == pair[1]), "{traces:#?}");
    assert!(traces.iter().all(|(status, ..)| *status == 429));
    assert!(stack.sessions().live().await.len() <= 1);
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
