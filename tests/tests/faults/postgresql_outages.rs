//! A PostgreSQL server that stops, crashes, freezes, or is not there yet.

use std::cell::Cell;

use futures_util::future::join_all;
use tests::{Network, Postgres, PostgresProxy, Shutdown, Stack, Tokens, database::TestDatabase};

use crate::fault::{Fault, everything, warm};

async fn stack_on(server: &Postgres) -> Stack {
    Stack::builder().with_database(TestDatabase::on(server).await).start().await
}

// Fault 1.
#[tokio::test]
async fn a_restart_of_postgresql_is_unavailable_while_it_lasts_and_then_forgotten() {
    let mut fault = Fault::new(1, "PostgreSQL restarts");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;

    server.stop(Shutdown::Fast).await;
    fault.saw_unavailable(&everything(&ada, &stack.stranger("Bob"), &tokens).await);
    server.start_again().await;
    fault.has_ended(|| Box::pin(ada.dashboard(&tokens.access))).await;
    // Every other function has a connection that died: its very first request is served.
    fault.is_over(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 1.
#[tokio::test]
async fn whoever_asks_all_through_a_restart_sees_nothing_worse_than_unavailable() {
    let mut fault = Fault::new(1, "PostgreSQL restarts at once, under load");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let mut tokens = ada.signs_in().await;
    let over = Cell::new(false);
    let restart = async {
        server.stop(Shutdown::Fast).await;
        server.start_again().await;
        over.set(true);
    };
    let ask = async {
        while !over.get() {
            let (refreshed, signed_in) = (ada.refreshes(&tokens.refresh).await, ada.tries_to_sign_in().await);
            for reply in [&refreshed, &signed_in, &ada.dashboard(&tokens.access).await] {
                fault.saw(reply);
                assert!([200, 503].contains(&reply.status), "{}", reply.text);
            }
            if refreshed.status == 200 {
                tokens = Tokens::from(&refreshed);
            }
        }
    };
    tokio::join!(restart, ask);
    fault.has_ended(|| Box::pin(ada.refreshes(&tokens.refresh))).await;
}

// Fault 2.
#[tokio::test]
async fn a_crash_is_unavailable_until_the_server_has_recovered() {
    let mut fault = Fault::new(2, "PostgreSQL crashes, and recovers for a while");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;

    server.stop(Shutdown::Immediate).await;
    fault.saw_unavailable(&everything(&ada, &stack.stranger("Bob"), &tokens).await);
    server.start_slowly();
    while !stack.log_of("dashboard").contains("the database system is") {
        fault.saw_unavailable(&[ada.dashboard(&tokens.access).await]);
    }
    fault.saw_unavailable(&everything(&ada, &stack.stranger("Bob"), &tokens).await);
    server.wait_until_ready().await;
    fault.has_ended(|| Box::pin(ada.dashboard(&tokens.access))).await;
    fault.is_over(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 5.
#[tokio::test]
async fn a_frozen_server_is_not_waited_for() {
    let mut fault = Fault::new(5, "PostgreSQL freezes: it takes connections and says nothing");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;

    server.freeze().await;
    // By the connections that are there, then by new ones.
    for _ in 0..2 {
        fault.saw_unavailable(&everything(&ada, &stack.stranger("Bob"), &tokens).await);
    }
    server.thaw();
    // What was sent before the server froze may take effect now: of the session, it is not known whether it has been ended.
    fault.has_ended(|| Box::pin(ada.tries_to_sign_in())).await;
    let tokens = ada.signs_in().await;
    fault.is_over(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 5.
#[tokio::test]
async fn a_network_that_swallows_everything_is_not_waited_for() {
    let mut fault = Fault::new(5, "The network swallows everything");
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().database_port(proxy.port).start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;

    proxy.set_network(Network::Silent);
    for _ in 0..2 {
        fault.saw_unavailable(&everything(&ada, &stack.stranger("Bob"), &tokens).await);
    }
    proxy.set_network(Network::Healthy);
    fault.has_ended(|| Box::pin(ada.dashboard(&tokens.access))).await;
    fault.is_over(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 19.
#[tokio::test]
async fn a_function_that_starts_without_its_database_serves_as_soon_as_that_is_there() {
    let mut fault = Fault::new(19, "Functions start while PostgreSQL is down");
    let server = Postgres::start(&[]).await;
    let stack = stack_on(&server).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let cold = Stack::builder().with("DATABASE_URL", &stack.database.functions_url());
    let cold = cold.with_unprepared_database(TestDatabase::on(&server).await).start().await;
    let ada = cold.stranger("Ada").with_email(&ada.email);

    server.stop(Shutdown::Fast).await;
    fault.saw_unavailable(&everything(&ada, &cold.stranger("Bob"), &tokens).await);
    let public = join_all(["/", "/api/public", "/reset-password/x"].map(|path| cold.get(path))).await;
    assert!(public.iter().all(|reply| reply.status == 200), "what needs no database serves");
    server.start_again().await;
    fault.has_ended(|| Box::pin(ada.dashboard(&tokens.access))).await;
    fault.is_over(&ada, &cold.stranger("Bob"), &tokens).await;
}
