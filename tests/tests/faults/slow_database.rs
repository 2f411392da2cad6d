//! Locked rows, a timeout of the server, and a slow network.

use std::time::Duration;

use tests::{Network, PostgresProxy, Reply, Stack};

use crate::fault::{Fault, assert_unavailable, warm_up};

/// The number of the functions' statements that PostgreSQL is running.
async fn running_statements(stack: &Stack) -> i64 {
    let role = stack.database.name();
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND state = 'active'");
    stack.sql_number(&query).await
}

// Fault 4.
#[tokio::test]
async fn a_request_waits_for_a_locked_row_until_the_deadline() {
    let mut fault = Fault::new(4, "Another transaction locks the session's row");
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;
    let mut rival = stack.database.connect().await;
    let held = rival.transaction().await.unwrap();
    held.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();

    let (refreshed, logged_out, dashboard) =
        tokio::join!(ada.refreshes(&tokens.refresh), ada.logs_out(&tokens.access), ada.dashboard(&tokens.access));
    fault.record_unavailable(&[refreshed, logged_out]);
    fault.record_served(&dashboard);
    assert_eq!(running_statements(&stack).await, 0, "the timed-out statements were cancelled");
    held.rollback().await.unwrap();
    fault.wait_for_recovery(|| Box::pin(ada.refreshes(&tokens.refresh))).await;
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 4.
#[tokio::test]
async fn a_statement_timeout_of_the_server_makes_a_request_unavailable() {
    let mut fault = Fault::new(4, "The server's `statement_timeout` ends a statement that waits for a lock");
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack.sql(&format!("ALTER ROLE {} SET statement_timeout = '300ms'", stack.database.name())).await;
    let mut rival = stack.database.connect().await;
    let held = rival.transaction().await.unwrap();
    held.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    let refused = ada.refreshes(&tokens.refresh).await;
    assert!(refused.took < Duration::from_secs(3), "before the deadline: {:?}", refused.took);
    fault.record_unavailable(&[refused]);
    assert!(stack.log_of("refresh").contains("57014"));
    held.rollback().await.unwrap();
    fault.wait_for_recovery(|| Box::pin(ada.refreshes(&tokens.refresh))).await;
}

// Fault 4.
#[tokio::test]
async fn requests_over_a_slow_network_are_served_within_the_deadline() {
    let mut fault = Fault::new(4, "The network delays each statement by 0.3 s, then by 5 s");
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;
    proxy.set_network(Network::Slow(Duration::from_millis(300)));
    for reply in [ada.tries_to_sign_in().await, ada.dashboard(&tokens.access).await] {
        fault.record_served(&reply);
    }
    proxy.set_network(Network::Slow(Duration::from_secs(5)));
    let (signed_in, dashboard) = tokio::join!(ada.tries_to_sign_in(), ada.dashboard(&tokens.access));
    fault.record_unavailable(&[signed_in, dashboard]);
    proxy.set_network(Network::Healthy);
    fault.wait_for_recovery(|| Box::pin(ada.dashboard(&tokens.access))).await;
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

/// Signs up while another transaction has inserted the same address and not committed. When the sign-up waits for it, the other
/// transaction runs `statement`, which ends it or keeps it open.
async fn sign_up_beside_a_rival(stack: &Stack, statement: &str) -> Reply {
    let ada = stack.stranger("Ada");
    let mut rival = stack.database.connect().await;
    let rival = rival.transaction().await.unwrap();
    let taken = "INSERT INTO users (name, email, password) VALUES ('Rival', $1, '-')";
    rival.execute(taken, &[&ada.email.to_uppercase()]).await.unwrap();
    let run_statement = async {
        stack.wait_for_blocked_statement().await;
        rival.batch_execute(statement).await.unwrap();
    };
    let (reply, ()) = tokio::join!(ada.signs_up(), run_statement);
    reply
}

// Fault 9.
#[tokio::test]
async fn a_sign_up_waits_for_a_concurrent_uncommitted_sign_up() {
    let mut fault = Fault::new(9, "Another sign-up with the same address has not committed");
    let stack = Stack::start().await;
    let taken = sign_up_beside_a_rival(&stack, "COMMIT").await;
    taken.assert_refused(400, "user_already_exists", "User already exists");
    let free = sign_up_beside_a_rival(&stack, "ROLLBACK").await;
    free.assert_created();
    let undecided = sign_up_beside_a_rival(&stack, "SELECT pg_sleep(5)").await;
    assert_unavailable(&undecided);
    for reply in [taken, free, undecided] {
        fault.record(&reply);
    }
    assert_eq!(running_statements(&stack).await, 0);
}
