//! The harness: everything a journey needs to happen for real.
//!
//! A [`Stack`] is the whole service for one test: a database of its own on a real PostgreSQL server, the real function binaries,
//! started over the Lambda runtime interface when they are first called, and the local API Gateway of the crate `toolkit`. Mail goes to a local SES and is read back from there. What happens in it is told by a [`Person`].
//!
//! Servers are shared by all tests and come from the environment; `cargo xtask test` starts them and sets it:
//!
//! | variable | what it names |
//! | --- | --- |
//! | `TEST_DATABASE_URL` | a PostgreSQL server where databases may be made and dropped |
//! | `TEST_DATABASE_LOG` | the file that server logs to |
//! | `TEST_SES_URL` | a local SES whose mails are read back |
//! | `TEST_DYNAMODB_URL` | a DynamoDB Local, one for all credentials and regions: each test makes a table with a name of its own |
//! | `TEST_POSTGRES`, `TEST_POSTGRES_USER`, `TEST_POSTGRES_FOLDER` | the folder of PostgreSQL's programs, whom they run as (`uid:gid`, empty if this user), and a folder of theirs |
//! | `TEST_PGBOUNCER` | the program `pgbouncer` |
//! | `TEST_FAULTS` | the file where each test of a fault writes what users saw of it |
//! | `TEST_ISOLATION` | the isolation level of the functions' transactions, where it is not to be the server's default |
//! | `TEST_WEBDRIVER_URL` | a chromedriver, for the browser's tests |
//! | `TEST_PYTHON`, `TEST_NODE_PACKAGES` | a Python and a folder of npm packages, for the verifiers' tests |
#![expect(clippy::missing_panics_doc, reason = "a test that cannot go on panics: that is how it fails")]

pub mod database;
pub mod documents;
mod functions;
pub mod keys;
pub mod mailbox;
mod person;
mod postgres;
mod proxy;
mod reply;
mod ses;
pub mod stack;
mod state_table;
pub mod traffic;
mod walk_through;

pub use person::{Person, Tokens};
pub use postgres::{PgBouncer, Postgres, Shutdown};
pub use proxy::{Moment, Network, Proxy, Statement};
pub use reply::Reply;
pub use ses::{Ses, SesHealth, Taken};
pub use stack::{Stack, StackBuilder};
pub use state_table::{Health, StateTable, Store};
pub use walk_through::walk_through;

/// A variable that `cargo xtask test` sets.
#[must_use]
pub fn server(variable: &str) -> String {
    optional(variable).unwrap_or_else(|| panic!("{variable} is not set: run the tests with `cargo xtask test`"))
}

/// A variable that may be set.
#[expect(clippy::disallowed_methods, reason = "a harness is configured by its environment")]
pub(crate) fn optional(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}
