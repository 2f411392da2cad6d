//! A PostgreSQL server that stops, crashes, freezes, or has not started yet.

use std::cell::Cell;

use futures_util::future::join_all;
use tests::{Network, Postgres, PostgresProxy, Shutdown, Stack, Tokens, database::TestDatabase};

use crate::fault::{Fault, request_every_endpoint, warm_up};

async fn stack_on(server: &Postgres) -> Stack {
    Stack::builder().with_database(TestDatabase::on(server).await).start().await
}

// Fault 1.
#[tokio::test]
async fn requests_are_unavailable_during_a_restart_of_postgresql_and_work_afterwards() {
    let mut fault = Fault::new(1, "PostgreSQL restarts");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;

    server.stop(Shutdown::Fast).await;
    fault.record_unavailable(&request_every_endpoint(&ada, &stack.stranger("Bob"), &tokens).await);
    server.start_again().await;
    fault.wait_for_recovery(|| Box::pin(ada.dashboard(&tokens.access))).await;
    // The other functions have not been called since the restart. The first request to each of them must be served.
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 1.
#[tokio::test]
async fn requests_throughout_a_restart_are_served_or_unavailable() {
    let mut fault = Fault::new(1, "PostgreSQL restarts at once, under load");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let mut tokens = ada.signs_in().await;
    let restarted = Cell::new(false);
    let restart = async {
        server.stop(Shutdown::Fast).await;
        server.start_again().await;
        restarted.set(true);
    };
    let send_requests = async {
        while !restarted.get() {
            let (refreshed, signed_in) = (ada.refreshes(&tokens.refresh).await, ada.tries_to_sign_in().await);
            for reply in [&refreshed, &signed_in, &ada.dashboard(&tokens.access).await] {
                fault.record(reply);
                assert!([200, 503].contains(&reply.status), "{}", reply.text);
            }
            if refreshed.status == 200 {
                tokens = Tokens::from(&refreshed);
            }
        }
    };
    tokio::join!(restart, send_requests);
    fault.wait_for_recovery(|| Box::pin(ada.refreshes(&tokens.refresh))).await;
}

// Fault 2.
#[tokio::test]
async fn requests_are_unavailable_until_postgresql_has_recovered_from_a_crash() {
    let mut fault = Fault::new(2, "PostgreSQL crashes and needs time to recover");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;

    server.stop(Shutdown::Immediate).await;
    fault.record_unavailable(&request_every_endpoint(&ada, &stack.stranger("Bob"), &tokens).await);
    server.start_slowly();
    while !stack.log_of("dashboard").contains("the database system is") {
        fault.record_unavailable(&[ada.dashboard(&tokens.access).await]);
    }
    fault.record_unavailable(&request_every_endpoint(&ada, &stack.stranger("Bob"), &tokens).await);
    server.wait_until_ready().await;
    fault.wait_for_recovery(|| Box::pin(ada.dashboard(&tokens.access))).await;
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 5.
#[tokio::test]
async fn requests_to_a_frozen_server_end_at_the_deadline() {
    let mut fault = Fault::new(5, "PostgreSQL freezes: it accepts connections and does not answer");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;

    server.freeze().await;
    // In the first round the functions use their open connections, in the second round new ones.
    for _ in 0..2 {
        fault.record_unavailable(&request_every_endpoint(&ada, &stack.stranger("Bob"), &tokens).await);
    }
    server.thaw();
    // The server now runs the statements that it received while it was frozen. The statement of the logout may end the session,
    // so the next requests need new tokens.
    fault.wait_for_recovery(|| Box::pin(ada.tries_to_sign_in())).await;
    let tokens = ada.signs_in().await;
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 5.
#[tokio::test]
async fn requests_over_a_silent_network_end_at_the_deadline() {
    let mut fault = Fault::new(5, "The network drops everything");
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;

    proxy.set_network(Network::Silent);
    for _ in 0..2 {
        fault.record_unavailable(&request_every_endpoint(&ada, &stack.stranger("Bob"), &tokens).await);
    }
    proxy.set_network(Network::Healthy);
    fault.wait_for_recovery(|| Box::pin(ada.dashboard(&tokens.access))).await;
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 19.
#[tokio::test]
async fn a_function_that_started_without_its_database_works_once_it_is_up() {
    let mut fault = Fault::new(19, "Functions start while PostgreSQL is down");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let cold = Stack::builder().with("DATABASE_URL", &stack.database.functions_url());
    let cold = cold.with_unprepared_database(TestDatabase::on(&server).await).start().await;
    let ada = cold.stranger("Ada").with_email(&ada.email);

    server.stop(Shutdown::Fast).await;
    fault.record_unavailable(&request_every_endpoint(&ada, &cold.stranger("Bob"), &tokens).await);
    let public = join_all(["/", "/api/public", "/reset-password/x"].map(|path| cold.get(path))).await;
    assert!(public.iter().all(|reply| reply.status == 200), "pages without a database work");
    server.start_again().await;
    fault.wait_for_recovery(|| Box::pin(ada.dashboard(&tokens.access))).await;
    fault.assert_recovered(&ada, &cold.stranger("Bob"), &tokens).await;
}
