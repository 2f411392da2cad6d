//! What the integration tests share.
//!
//! A [`Stack`] is the whole service for one test. It has a database of its own on a real PostgreSQL server (a copy
//! of one that `migrate` has migrated) and runs the real
//! function binaries, which speak the Lambda runtime interface, behind the local API Gateway of the crate `toolkit`. Mail goes to
//! a local stand-in for SES, where tests read it. A [`Person`] sends the requests of one user.
//!
//! All tests share the servers. `cargo xtask test` starts them and sets these variables:
//!
//! | variable | value |
//! | --- | --- |
//! | `TEST_DATABASE_URL` | a PostgreSQL server where the tests may create and drop databases |
//! | `TEST_DATABASE_LOG` | the log file of that server |
//! | `TEST_SES_URL` | a local stand-in for SES |
//! | `TEST_DYNAMODB_URL` | a DynamoDB Local that shares its tables among all credentials and regions; each test creates a table with a unique name |
//! | `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` | for tests that call DynamoDB in their own process |
//! | `TEST_POSTGRES_VERSION` | the major version of that server |
//! | `TEST_POSTGRES_18`, … | the folder of PostgreSQL's programs, for each major version that a test may start |
//! | `TEST_POSTGRES_USER`, `TEST_POSTGRES_FOLDER` | the user who runs these programs (`uid:gid`; empty for the current user), and a folder to which this user may write |
//! | `TEST_PGBOUNCER` | the path of `pgbouncer` |
//! | `TEST_FAULTS` | the file to which each test of a fault appends the answers that it saw |
//! | `TEST_ISOLATION` | the isolation level of the functions' transactions; the server's default if unset |
//! | `TEST_STATE` | `dynamodb`: sessions and counters are in DynamoDB; in PostgreSQL if unset |
//! | `TEST_WEBDRIVER_URL` | a chromedriver, for the tests in a browser |
//! | `TEST_PYTHON`, `TEST_NODE_PACKAGES` | a Python interpreter and a folder of npm packages, for the tests with other JWT libraries |
#![expect(clippy::missing_panics_doc, reason = "a test fails by panicking")]

pub mod authenticator;
pub mod database;
pub mod documents;
mod dynamodb_proxy;
mod functions;
pub mod jwt;
pub mod keys;
pub mod mailbox;
pub mod passkey;
mod person;
mod postgres;
mod postgres_proxy;
mod rds;
mod reply;
mod ses;
pub mod stack;
mod state_table;
mod stored_sessions;
mod traces;
pub mod traffic;
mod walk_through;

use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;

pub use dynamodb_proxy::{DynamoDbHealth, DynamoDbRequest};
pub use functions::binary;
pub use person::{Person, Tokens};
pub use postgres::{PgBouncer, Postgres, Shutdown};
pub use postgres_proxy::{InterruptionPoint, Network, PostgresProxy};
pub use rds::{LoginToken, Rds};
pub use reply::Reply;
pub use ses::{AcceptedMail, Ses, SesHealth};
pub use stack::{Stack, StackBuilder};
pub use state_table::{StateTable, Store};
pub use stored_sessions::StoredSessions;
pub use walk_through::walk_through;

/// The value of a variable that `cargo xtask test` sets.
#[must_use]
pub fn server(variable: &str) -> String {
    optional(variable).unwrap_or_else(|| panic!("{variable} is not set: run the tests with `cargo xtask test`"))
}

/// The value of an optional variable.
#[expect(clippy::disallowed_methods, reason = "the test harness is configured by environment variables")]
#[must_use]
pub fn optional(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// A client for the servers that all tests share. A server may close an idle connection at the moment in which a client uses it again. So this client
/// closes idle connections earlier than the servers do.
fn client_of_shared_servers() -> Client {
    Client::builder().pool_idle_timeout(Duration::from_secs(2)).build().expect("a client")
}

/// The sample event of a function, from the folder `events`.
#[must_use]
pub fn sample_event(function: &str) -> Value {
    serde_json::from_str(&documents::read(&format!("events/{function}.json"))).expect("a sample event is JSON")
}

/// Waits until a condition holds. Fails after 30 seconds.
pub async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(30), "still not true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
