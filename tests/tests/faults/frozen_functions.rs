//! Lambda freezes a function between two requests. Its database connection may end meanwhile, which clients must not notice.

use std::time::Duration;

use tests::{PostgresProxy, Stack};
use tokio::time::sleep;

use crate::fault::{Fault, warm_up};

const FUNCTIONS: [&str; 6] = ["signup", "signin", "dashboard", "refresh", "forgot-password", "logout"];

/// Freezes the functions, lets `event` happen, sends the requests, and only then thaws the functions. `logout` gets its request last, because it
/// ends the session that the other requests use.
async fn assert_unnoticed_while_frozen(fault: &mut Fault, stack: &Stack, event: impl Future<Output = ()>) {
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;
    for function in FUNCTIONS {
        stack.freeze(function);
    }
    event.await;
    let bob = stack.stranger("Bob");
    let requests = async {
        tokio::join!(
            bob.signs_up(),
            ada.tries_to_sign_in(),
            ada.dashboard(&tokens.access),
            ada.refreshes(&tokens.refresh),
            ada.forgets_password(),
        )
    };
    let thaw = async {
        sleep(Duration::from_millis(100)).await;
        for function in FUNCTIONS {
            stack.thaw(function);
        }
    };
    let ((signed_up, signed_in, dashboard, refreshed, forgot), ()) = tokio::join!(requests, thaw);
    for reply in [signed_up, signed_in, dashboard, refreshed, forgot, ada.logs_out(&tokens.access).await] {
        fault.record_served(&reply);
    }
}

// Fault 7.
#[tokio::test]
async fn clients_do_not_notice_a_connection_closed_while_its_function_was_frozen() {
    let mut fault = Fault::new(7, "A function's connection is closed while it is frozen");
    let stack = Stack::start().await;
    let close_connections = async {
        let role = stack.database.name();
        let ended =
            format!("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = '{role}'");
        assert!(stack.sql_number(&ended).await >= 3, "the functions that are often called keep a connection");
    };
    assert_unnoticed_while_frozen(&mut fault, &stack, close_connections).await;
}

// Fault 7.
#[tokio::test]
async fn clients_do_not_notice_an_idle_session_timeout() {
    let mut fault = Fault::new(7, "The server ends idle connections (`idle_session_timeout`)");
    let stack = Stack::start().await;
    stack.sql(&format!("ALTER ROLE {} SET idle_session_timeout = '1s'", stack.database.name())).await;
    assert_unnoticed_while_frozen(&mut fault, &stack, sleep(Duration::from_secs(2))).await;
}

// Fault 7.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_do_not_notice_a_connection_that_the_network_dropped() {
    let mut fault = Fault::new(7, "The network drops a function's connection while it is frozen");
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).start().await;
    assert_unnoticed_while_frozen(&mut fault, &stack, async { proxy.drop_open_connections() }).await;
}
