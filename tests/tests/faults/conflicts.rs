//! Transactions that PostgreSQL undoes because they are in each other's way.

use tests::{PostgresProxy, Stack};

use crate::fault::{Fault, wait_for_blocked_statement, warm};

// Fault 8.
#[tokio::test]
async fn whoever_loses_a_deadlock_tries_again() {
    let mut fault = Fault::new(8, "A deadlock with somebody else (40P01)");
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let link = ada.receives_reset_mail(1).await.reset_token();
    let mut rival = stack.database.connect().await;
    // Whoever looks first loses: after a second, that is the function.
    rival.batch_execute("SET deadlock_timeout = '10s'").await.unwrap();
    let rival = rival.transaction().await.unwrap();
    rival.execute("SELECT FROM users FOR UPDATE", &[]).await.unwrap();
    let meets_it = async {
        wait_for_blocked_statement(&stack).await;
        rival.execute("SELECT FROM password_resets FOR UPDATE", &[]).await.unwrap();
        rival.rollback().await.unwrap();
    };
    let (reset, ()) = tokio::join!(ada.resets_password(&link, "another password"), meets_it);
    fault.saw_served(&reset);
    assert!(stack.log_of("reset-password").contains("40P01"));
    assert_eq!(stack.sql_number("SELECT credential_version::bigint FROM users").await, 2, "once");
    ada.with_password("another password").signs_in().await;
}

// Fault 8.
#[tokio::test]
async fn a_conflict_is_retried_until_the_deadline_with_growing_pauses() {
    let mut fault = Fault::new(8, "PostgreSQL undoes a statement (40001), ten times and for good");
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;
    for code in ["40001", "40P01"] {
        proxy.refuse_statements(code, 10);
        fault.saw_served(&ada.dashboard(&tokens.access).await);
    }
    proxy.clear_statements();
    proxy.refuse_statements("40001", 1000);
    fault.saw_unavailable(&[ada.dashboard(&tokens.access).await]);
    let attempts = proxy.statements().len();
    assert!((15..60).contains(&attempts), "{attempts} attempts in three seconds");
    proxy.refuse_statements("40001", 0);
    fault.has_ended(|| Box::pin(ada.dashboard(&tokens.access))).await;
}
