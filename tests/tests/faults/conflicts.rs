//! Transactions that PostgreSQL aborts because of a conflict or a deadlock.

use tests::{PostgresProxy, Stack};

use crate::fault::{Fault, warm_up};

// Fault 8.
#[tokio::test]
async fn a_function_that_loses_a_deadlock_retries() {
    let mut fault = Fault::new(8, "A deadlock with another transaction (40P01)");
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let link = ada.receives_reset_mail(1).await.token();
    let mut rival = stack.database.connect().await;
    // PostgreSQL aborts the transaction whose deadlock timeout ends first. The function has the default timeout of one second, so PostgreSQL aborts
    // the function's transaction and not the rival's.
    rival.batch_execute("SET deadlock_timeout = '10s'").await.unwrap();
    let rival = rival.transaction().await.unwrap();
    rival.execute("SELECT FROM users FOR UPDATE", &[]).await.unwrap();
    let cause_deadlock = async {
        stack.wait_for_blocked_statement().await;
        rival.execute("SELECT FROM password_resets FOR UPDATE", &[]).await.unwrap();
        rival.rollback().await.unwrap();
    };
    let (reset, ()) = tokio::join!(ada.resets_password(&link, "another password"), cause_deadlock);
    fault.record_served(&reset);
    assert!(stack.log_of("reset-password").contains("40P01"));
    assert_eq!(
        stack.sql_number("SELECT credential_version::bigint FROM users").await,
        2,
        "the password was changed once"
    );
    ada.with_password("another password").signs_in().await;
}

// Fault 8.
#[tokio::test]
async fn a_conflict_is_retried_until_the_deadline_with_growing_pauses() {
    let mut fault = Fault::new(
        8,
        "PostgreSQL aborts the first ten attempts of a statement (40001). For another request, it aborts every attempt",
    );
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;
    for code in ["40001", "40P01"] {
        proxy.refuse_statements(code, 10);
        fault.record_served(&ada.dashboard(&tokens.access).await);
    }
    proxy.reset_counts();
    proxy.refuse_statements("40001", 1000);
    fault.record_unavailable(&[ada.dashboard(&tokens.access).await]);
    // Each attempt but the first one also sends the begin and the end of a transaction.
    let attempts = proxy.statement_count() / 3;
    assert!((15..60).contains(&attempts), "{attempts} attempts in three seconds");
    proxy.refuse_statements("40001", 0);
    fault.wait_for_recovery(|| Box::pin(ada.dashboard(&tokens.access))).await;
}
