//! The SQL. One query, one named function, one constant; it runs and reports, and never decides.
//!
//! Every statement on the request path is a transaction of its own, typed and unnamed (`query_typed`), so that a proxy between
//! us and PostgreSQL can share connections. It leaves the decision to constraints and conditions, and it may be run twice:
//! a second run after an answer that was lost finds what the first one did, but for counters, which may then count twice. That is what
//! lets [`Database`] retry.

mod connector;
pub mod expired;
pub mod outbox;
pub mod password_resets;
pub mod sessions;
pub mod throttle;
pub mod users;

use std::time::Duration;

use deadpool_postgres::{Client, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use rand::Rng;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::{
    Row,
    error::SqlState,
    types::{ToSql, Type},
};

use tokio_postgres_rustls::MakeRustlsConnect;

pub use self::connector::Connector;
use crate::{config, deadline, security::policy, system};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a statement has no result.
#[derive(Debug, Error)]
pub enum DbError {
    /// The database cannot be reached, does not answer in time, or is too busy. Worth trying again.
    #[error("the database is away: {0}")]
    Away(#[source] Cause),
    /// The database refused the statement: a defect, or a schema that is not the one this code knows.
    #[error("the statement failed: {0}")]
    Failed(#[source] Cause),
}

/// The parameters of a statement, each with its type.
type Params<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// The database, connected to when it is first asked. A clone shares its connection.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    tls: MakeRustlsConnect,
}

impl Database {
    /// How many connections a statement is tried on. A process that Lambda froze may hold a dead one; its replacement may die in a restart.
    const CONNECTIONS: u32 = 3;

    /// A pool of one connection: a Lambda process serves one request at a time. Nothing is connected yet, so a function starts
    /// without its database, answers 503, and recovers.
    ///
    /// # Panics
    /// Never: a pool without timeouts of its own needs no runtime.
    #[must_use]
    pub fn new(config: config::Database) -> Self {
        // Fast: a check before every use would cost each request a round trip. A connection that died while the process was
        // frozen is found out by its first statement, which is then run again on a new one.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connector = Connector::new(config);
        let tls = connector.tls();
        // The connector knows where to; what the manager would tell it is left empty.
        let manager = Manager::from_connect(tokio_postgres::Config::new(), connector, recycling);
        Self { pool: Pool::builder(manager).max_size(1).build().expect("a pool without timeouts of its own"), tls }
    }

    /// Runs one statement, which yields at most one row, within [`policy::DATABASE_DEADLINE`] and the request's own time.
    async fn query_opt(&self, sql: &'static str, params: Params<'_>) -> Result<Option<Row>, DbError> {
        let deadline = deadline::at_most(policy::DATABASE_DEADLINE);
        let (mut conflicts, mut connections, mut ran_again) = (0, 1, false);
        loop {
            match self.attempt(deadline, sql, params).await {
                Err(Attempt::Conflicted(cause)) => {
                    let pause = backoff(conflicts, system::rng().next_u32());
                    if Instant::now() + pause >= deadline {
                        return Err(DbError::Away(cause));
                    }
                    // Once for each statement: where every transaction is `repeatable read`, there are many.
                    if conflicts == 0 {
                        tracing::warn!(%cause, "another transaction undid a statement, which is run again");
                    }
                    sleep(pause).await;
                    conflicts += 1;
                }
                Err(Attempt::Disconnected(cause)) if connections < Self::CONNECTIONS => {
                    tracing::warn!(connections, %cause, "a connection died under a statement, which is run again on another");
                    sleep(Duration::from_millis(5) * connections).await;
                    connections += 1;
                }
                Err(Attempt::Disconnected(cause) | Attempt::Away(cause)) => return Err(DbError::Away(cause)),
                Err(Attempt::Failed(cause)) => return Err(DbError::Failed(cause)),
                // The run on the dead connection may still have been under way when this one began. One more run sees what it committed.
                Ok(None) if connections > 1 && !ran_again => ran_again = true,
                Ok(row) => return Ok(row),
            }
        }
    }

    /// Like [`Database::query_opt`], for a statement that yields exactly one row.
    async fn query_one(&self, sql: &'static str, params: Params<'_>) -> Result<Row, DbError> {
        let row = self.query_opt(sql, params).await?;
        row.ok_or_else(|| DbError::Failed("a statement that always yields a row yielded none".into()))
    }

    async fn attempt(&self, deadline: Instant, sql: &str, params: Params<'_>) -> Result<Option<Row>, Attempt> {
        let client = match timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(client)) => client,
            Ok(Err(PoolError::Backend(problem))) => return Err(Attempt::Away(Box::new(Problem::from(&problem)))),
            Ok(Err(problem)) => return Err(Attempt::Away(problem.into())),
            Err(_) => return Err(Attempt::Away("PostgreSQL took no connection in time".into())),
        };
        match timeout_at(deadline, client.query_typed_opt(sql, params)).await {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(problem)) => {
                let verdict = Attempt::from(problem);
                // After a conflict, as after a refusal, the connection is good.
                if !matches!(verdict, Attempt::Conflicted(_) | Attempt::Failed(_)) {
                    discard(client);
                }
                Err(verdict)
            }
            Err(_) => {
                // Nobody waits for it any more, so it must not take effect later, or hold its place in a queue of locks.
                let _ = timeout(policy::DATABASE_CANCEL, client.cancel_token().cancel_query(self.tls.clone())).await;
                discard(client);
                Err(Attempt::Away("PostgreSQL did not answer in time".into()))
            }
        }
    }
}

/// Closes a connection whose next answer might be to somebody else's question.
fn discard(client: Client) {
    drop(Object::take(client));
}

/// How long a statement waits before it is run again that a conflict undid for the `conflicts`th time: twice as long each time, and
/// anything between half and all of it (`random`), so that those who met once do not meet again.
fn backoff(conflicts: u32, random: u32) -> Duration {
    let longest =
        policy::CONFLICT_FIRST_PAUSE.saturating_mul(1 << conflicts.min(16)).min(policy::CONFLICT_LONGEST_PAUSE);
    longest / 2 + (longest / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Why one attempt at a statement has no result.
enum Attempt {
    /// PostgreSQL undid it because of another transaction: worth running again, for as long as there is time.
    Conflicted(Cause),
    /// Its connection died under it, or its server is going away: worth running again on another connection.
    Disconnected(Cause),
    /// The database is away.
    Away(Cause),
    /// The statement itself is at fault.
    Failed(Cause),
}

impl From<tokio_postgres::Error> for Attempt {
    fn from(error: tokio_postgres::Error) -> Self {
        let conflicted = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
        let disconnected = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::IDLE_SESSION_TIMEOUT,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ];
        let cause = Box::new(Problem::from(&error));
        match error.code() {
            Some(code) if conflicted.contains(code) => Self::Conflicted(cause),
            Some(code) if disconnected.contains(code) => Self::Disconnected(cause),
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Self::Away(cause),
            // 08: the connection, as a pooler says it. 53: insufficient resources. 57: operator intervention, a statement
            // timeout among them.
            Some(code) if ["08", "53", "57"].contains(&&code.code()[..2]) => Self::Away(cause),
            None if error.is_closed() || is_io(&error) => Self::Disconnected(cause),
            _ => Self::Failed(cause),
        }
    }
}

/// What PostgreSQL said, as far as a log may hold it: its details quote rows, and rows hold addresses and hashes.
#[derive(Debug, Error)]
#[error("{message}")]
struct Problem {
    code: Option<SqlState>,
    message: String,
}

impl From<&tokio_postgres::Error> for Problem {
    fn from(error: &tokio_postgres::Error) -> Self {
        let message = match error.as_db_error() {
            Some(refusal) => format!("{} ({})", refusal.message(), refusal.code().code()),
            // The driver says that something failed, and its causes why: a certificate, for one.
            None => std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(": "),
        };
        Self { code: error.code().cloned(), message }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error + 'static>::is::<std::io::Error>)
}

impl DbError {
    /// What PostgreSQL calls it, if PostgreSQL said it.
    fn code(&self) -> Option<&SqlState> {
        let (Self::Away(cause) | Self::Failed(cause)) = self;
        cause.downcast_ref::<Problem>()?.code.as_ref()
    }

    /// Whether the database looks as it does before the first `migrate`: it has no tables, or lets the functions' role not in.
    #[must_use]
    pub fn is_before_migrate(&self) -> bool {
        let not_let_in = |code: &SqlState| code.code().starts_with("28");
        self.code().is_some_and(|code| *code == SqlState::UNDEFINED_TABLE || not_let_in(code))
    }

    /// Whether a statement failed because the row a foreign key points to has just gone.
    fn is_foreign_key_violation(&self) -> bool {
        self.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION)
    }
}

/// A duration as PostgreSQL takes it: seconds, to be multiplied by an interval.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
