//! Statements that PostgreSQL keeps prepared on a connection.

use std::time::{Duration, Instant};

use tests::{InterruptionPoint, Person, PostgresProxy, Stack, Tokens};

use crate::fault::Fault;

/// A stack behind a proxy.
async fn stack_behind(proxy: &PostgresProxy, setting: &str) -> Stack {
    Stack::builder().with("DATABASE_PREPARED_STATEMENTS", setting).database_port(proxy.port).start().await
}

/// How often PostgreSQL had to parse a statement for one request to the dashboard.
async fn parsed_for_dashboard(proxy: &PostgresProxy, ada: &Person<'_>, tokens: &Tokens) -> usize {
    proxy.reset_counts();
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(proxy.statement_count(), 1, "a request needs one statement");
    proxy.parsed()
}

// Fault 6.
#[tokio::test]
async fn a_connection_prepares_a_statement_when_it_runs_for_the_second_time() {
    let proxy = PostgresProxy::to_the_shared_server().await;
    // The second run sends the text twice: once to run it, and once to prepare it in the same round trip.
    for (setting, expected) in [("on", [1, 2, 0, 0]), ("off", [1, 1, 1, 1])] {
        let stack = stack_behind(&proxy, setting).await;
        let ada = stack.user("Ada").await;
        let tokens = ada.signs_in().await;
        for parsed in expected {
            assert_eq!(parsed_for_dashboard(&proxy, &ada, &tokens).await, parsed, "{setting}");
            assert_eq!(proxy.pipelined(), usize::from(parsed == 2), "{setting}");
        }
    }
}

// Fault 6.
#[tokio::test]
async fn a_prepared_statement_that_no_longer_works_is_prepared_again() {
    let mut fault = Fault::new(
        6,
        "PostgreSQL has forgotten a prepared statement (26000), or a migration has changed a column (0A000)",
    );
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = stack_behind(&proxy, "on").await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    for _ in 0..3 {
        ada.dashboard(&tokens.access).await;
    }
    proxy.refuse_statements("26000", 1);
    fault.record_served(&ada.dashboard(&tokens.access).await);
    for expected in [1, 2, 0] {
        assert_eq!(parsed_for_dashboard(&proxy, &ada, &tokens).await, expected);
    }

    proxy.close_connection_at(1, InterruptionPoint::BeforeExecution);
    fault.record_served(&ada.dashboard(&tokens.access).await);
    proxy.stop_interrupting();
    for expected in [2, 0] {
        assert_eq!(parsed_for_dashboard(&proxy, &ada, &tokens).await, expected, "on another connection");
    }

    proxy.reset_counts();
    stack.sql("ALTER TABLE users ALTER COLUMN name TYPE varchar(200)").await;
    fault.record_served(&ada.dashboard(&tokens.access).await);
    assert_eq!(proxy.statement_count(), 2, "PostgreSQL refused to run the prepared statement");
}

// Fault 6.
#[tokio::test]
async fn a_request_does_not_wait_long_until_its_statement_is_prepared() {
    let mut fault = Fault::new(6, "PostgreSQL runs a statement, but a lock delays preparing it for later requests");
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = stack_behind(&proxy, "on").await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.dashboard(&tokens.access).await;
    let delay = Duration::from_secs(1);
    proxy.delay_preparing(delay);
    let began = Instant::now();
    fault.record_served(&ada.dashboard(&tokens.access).await);
    assert!(began.elapsed() < delay);
    fault.record_served(&ada.dashboard(&tokens.access).await);
}
