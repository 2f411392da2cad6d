//! Lambda freezes a function between two requests. What happened to its connection meanwhile is nobody's concern.

use std::time::Duration;

use tests::{PostgresProxy, Stack};
use tokio::time::sleep;

use crate::fault::{Fault, warm};

const FUNCTIONS: [&str; 6] = ["signup", "signin", "dashboard", "refresh", "forgot-password", "logout"];

/// Freezes every function, lets something happen, and asks each before it is thawed: it finds the question and what
/// happened at once.
async fn frozen_while(fault: &mut Fault, stack: &Stack, happens: impl Future<Output = ()>) {
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;
    for function in FUNCTIONS {
        stack.freeze(function);
    }
    happens.await;
    let bob = stack.stranger("Bob");
    let asked = async {
        tokio::join!(
            bob.signs_up(),
            ada.tries_to_sign_in(),
            ada.dashboard(&tokens.access),
            ada.refreshes(&tokens.refresh),
            ada.forgets_password(),
        )
    };
    let thawed = async {
        sleep(Duration::from_millis(100)).await;
        for function in FUNCTIONS {
            stack.thaw(function);
        }
    };
    let ((signed_up, signed_in, dashboard, refreshed, forgot), ()) = tokio::join!(asked, thawed);
    for reply in [signed_up, signed_in, dashboard, refreshed, forgot, ada.logs_out(&tokens.access).await] {
        fault.saw_served(&reply);
    }
}

// Fault 7.
#[tokio::test]
async fn a_connection_that_was_ended_while_its_function_was_frozen_costs_nobody_an_error() {
    let mut fault = Fault::new(7, "A function's connection is ended while it is frozen");
    let stack = Stack::start().await;
    let ended = async {
        let role = stack.database.name();
        let ended =
            format!("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = '{role}'");
        assert!(stack.sql_number(&ended).await >= 6);
    };
    frozen_while(&mut fault, &stack, ended).await;
}

// Fault 7.
#[tokio::test]
async fn nor_does_one_that_was_idle_for_longer_than_the_server_bears() {
    let mut fault = Fault::new(7, "The server ends idle connections (`idle_session_timeout`)");
    let stack = Stack::start().await;
    stack.sql(&format!("ALTER ROLE {} SET idle_session_timeout = '1s'", stack.database.name())).await;
    frozen_while(&mut fault, &stack, sleep(Duration::from_secs(2))).await;
}

// Fault 7.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn nor_does_one_that_the_network_has_forgotten() {
    let mut fault = Fault::new(7, "The network forgets a function's connection while it is frozen");
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).start().await;
    frozen_while(&mut fault, &stack, async { proxy.drop_open_connections() }).await;
}
