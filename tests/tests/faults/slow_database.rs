//! A database that takes its time: locks, limits of its own, a slow network.

use std::time::Duration;

use tests::{Network, PostgresProxy, Reply, Stack};

use crate::fault::{Fault, assert_unavailable, warm};

/// How many statements of the functions PostgreSQL is still at.
async fn under_way(stack: &Stack) -> i64 {
    let role = stack.database.name();
    let under_way = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND state = 'active'");
    stack.sql_number(&under_way).await
}

// Fault 4.
#[tokio::test]
async fn a_row_that_somebody_else_holds_is_waited_for_until_the_deadline_and_no_longer() {
    let mut fault = Fault::new(4, "Somebody holds a lock on the session's row");
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;
    let mut somebody = stack.database.connect().await;
    let held = somebody.transaction().await.unwrap();
    held.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();

    let (refreshed, logged_out, dashboard) =
        tokio::join!(ada.refreshes(&tokens.refresh), ada.logs_out(&tokens.access), ada.dashboard(&tokens.access));
    fault.saw_unavailable(&[refreshed, logged_out]);
    fault.saw_served(&dashboard);
    assert_eq!(under_way(&stack).await, 0, "what nobody waits for any more was called off");
    held.rollback().await.unwrap();
    fault.has_ended(|| Box::pin(ada.refreshes(&tokens.refresh))).await;
    fault.is_over(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 4.
#[tokio::test]
async fn a_statement_timeout_of_the_servers_own_is_unavailable_too() {
    let mut fault = Fault::new(4, "The server's own `statement_timeout` ends what waits for a lock");
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack.sql(&format!("ALTER ROLE {} SET statement_timeout = '300ms'", stack.database.name())).await;
    let mut somebody = stack.database.connect().await;
    let held = somebody.transaction().await.unwrap();
    held.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    let refused = ada.refreshes(&tokens.refresh).await;
    assert!(refused.took < Duration::from_secs(3), "before the deadline: {:?}", refused.took);
    fault.saw_unavailable(&[refused]);
    assert!(stack.log_of("refresh").contains("57014"));
    held.rollback().await.unwrap();
    fault.has_ended(|| Box::pin(ada.refreshes(&tokens.refresh))).await;
}

// Fault 4.
#[tokio::test]
async fn a_slow_network_is_borne_while_answers_come_in_time() {
    let mut fault = Fault::new(4, "The network delays each statement by 0.3 s, then by 5 s");
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;
    proxy.set_network(Network::Slow(Duration::from_millis(300)));
    for reply in [ada.tries_to_sign_in().await, ada.dashboard(&tokens.access).await] {
        fault.saw_served(&reply);
    }
    proxy.set_network(Network::Slow(Duration::from_secs(5)));
    let (signed_in, dashboard) = tokio::join!(ada.tries_to_sign_in(), ada.dashboard(&tokens.access));
    fault.saw_unavailable(&[signed_in, dashboard]);
    proxy.set_network(Network::Healthy);
    fault.has_ended(|| Box::pin(ada.dashboard(&tokens.access))).await;
    fault.is_over(&ada, &stack.stranger("Bob"), &tokens).await;
}

/// What becomes of a sign-up while somebody else is signing up with its address, and has not committed.
async fn signs_up_beside_a_rival(stack: &Stack, outcome: &str) -> Reply {
    let ada = stack.stranger("Ada");
    let mut rival = stack.database.connect().await;
    let rival = rival.transaction().await.unwrap();
    let taken = "INSERT INTO users (name, email, password) VALUES ('Rival', $1, '-')";
    rival.execute(taken, &[&ada.email.to_uppercase()]).await.unwrap();
    let ends = async {
        while under_way(stack).await == 0 {}
        rival.batch_execute(outcome).await.unwrap();
    };
    let (reply, ()) = tokio::join!(ada.signs_up(), ends);
    reply
}

// Fault 9.
#[tokio::test]
async fn a_sign_up_waits_for_a_rival_that_has_not_made_up_its_mind() {
    let mut fault = Fault::new(9, "Somebody else is signing up with the same address");
    let stack = Stack::start().await;
    let taken = signs_up_beside_a_rival(&stack, "COMMIT").await;
    taken.assert_refused(400, "user_already_exists", "User already exists");
    let free = signs_up_beside_a_rival(&stack, "ROLLBACK").await;
    free.assert_created();
    let undecided = signs_up_beside_a_rival(&stack, "SELECT pg_sleep(5)").await;
    assert_unavailable(&undecided);
    for reply in [taken, free, undecided] {
        fault.saw(&reply);
    }
    assert_eq!(under_way(&stack).await, 0);
}
