//! More function processes than database connections.

use std::time::Duration;

use futures_util::future::join_all;
use tests::{PgBouncer, Postgres, Stack, Store::PostgreSql, database::TestDatabase, server, walk_through};
use tokio::time::sleep;
use tokio_postgres::{Config, NoTls, error::SqlState};

use crate::fault::{Fault, request_every_endpoint};

// Fault 6.
#[tokio::test]
async fn the_service_answers_503_until_a_database_connection_is_free() {
    let mut fault = Fault::new(6, "All connections of PostgreSQL are in use");
    let postgres = Postgres::start(&["max_connections=16"]).await;
    let stack = Stack::builder().with_database(TestDatabase::on(&postgres).await).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    // Kills two functions, so that they must open new connections.
    for function in ["signup", "signin"] {
        stack.kill(function).await;
    }
    let mut others = Vec::new();
    let refusal = loop {
        match tokio_postgres::connect(&stack.database.functions_url(), NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                others.push(client);
            }
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    fault.record_unavailable(&request_every_endpoint(&ada, &stack.stranger("Bob"), &tokens).await);
    drop(others);
    fault.wait_for_recovery(|| Box::pin(ada.dashboard(&tokens.access))).await;
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

/// A function that finds no free connection waits for one.
// Fault 6.
#[tokio::test]
async fn a_request_waits_for_a_connection_until_the_deadline() {
    let mut fault = Fault::new(6, "A connection becomes free after a second");
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = stack.user("Ada").await;
    stack.limit_connections(0).await;
    let (reply, ()) = tokio::join!(ada.tries_to_sign_in(), async {
        sleep(Duration::from_secs(1)).await;
        stack.limit_connections(1).await;
    });
    fault.record_served(&reply);
}

/// A function that is rarely called closes its connection after each request. If it did not, each of its processes would keep one between two
/// requests.
// Fault 6.
#[tokio::test]
async fn functions_that_are_rarely_called_keep_no_connection() {
    let mut fault = Fault::new(6, "Fewer connections than processes: one for all functions that are rarely called");
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = stack.user("Ada").await;
    stack.limit_connections(1).await;
    for round in 0..3 {
        fault.record_served(&stack.stranger("Bob").signs_up().await);
        let token = ada.receives_reset_mail(2 * round + 1).await.token();
        fault.record_served(&ada.resets_password(&token, "another password").await);
        stack.sweep().await;
    }
}

// Fault 6.
#[tokio::test]
async fn through_pgbouncer_many_functions_share_two_connections() {
    let mut fault = Fault::new(6, "PgBouncer shares two connections among all functions (transaction mode)");
    let shared_server: Config = server("TEST_DATABASE_URL").parse().unwrap();
    let database = TestDatabase::empty().await;
    let bouncer = PgBouncer::start(shared_server.get_ports()[0], 2, database.name()).await;
    let builder = Stack::builder().with("DATABASE_PREPARED_STATEMENTS", "off").with_database(database);
    let stack = builder.database_port(bouncer.port).processes(4).start().await;
    join_all((0..4).map(|_| walk_through(&stack))).await;
    let count_connections =
        format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", stack.database.name());
    assert!((1..=2).contains(&stack.sql_number(&count_connections).await));

    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    // Ends PgBouncer's connections to PostgreSQL, so that it must open new ones.
    let terminate_connections = count_connections.replace("count(*)", "count(pg_terminate_backend(pid, 5000))");
    stack.sql_number(&terminate_connections).await;
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}
