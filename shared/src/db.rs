//! The SQL. Each file has the statements of a table or of a task. Each query is one constant and one function. The SQL contains no security rules, except
//! rules that must be checked in the statement that reads or changes the data.
//!
//! Every statement is a transaction of its own. The second run of an undo also locks the account first, in the same transaction. If the answer of a
//! statement was lost, [`Database`] runs the statement again. This is safe, because constraints and conditions in the statement decide what it does: the second run finds what the first run did. Only counters may count twice.

pub mod account_deletions;
mod connection_settings;
mod connector;
pub mod email_changes;
pub mod email_verifications;
pub mod expired;
pub mod factors;
pub mod outbox;
pub mod password_changes;
pub mod password_resets;
pub mod personal_data;
mod prepared_statements;
mod rules;
pub mod session_endings;
pub mod sessions;
pub mod sign_up_notices;
mod statement;
pub mod throttle;
mod times;
pub mod users;

use std::time::Duration;

use deadpool_postgres::{Client, Hook, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use rand::Rng;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::{
    Row,
    error::SqlState,
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use self::{
    connection_settings::ConnectionSettings, connector::Connector, rules::SESSION_IS_LIVE, statement::AnyStatement,
};
use self::{prepared_statements::PreparedStatements, statement::Statement};
use crate::{
    deadline,
    environment::{ConfigError, Environment},
    security::policy::{self, Pauses},
    system,
};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a statement has no result.
#[derive(Debug, Error)]
pub enum DbError {
    /// The database cannot be reached, does not answer in time, or is too busy. The client should try again.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Cause),
    /// The database refused the statement, because of a defect or a schema of another version.
    #[error("the statement failed: {0}")]
    Failed(#[source] Cause),
}

/// The value of a parameter.
type Value<'a> = &'a (dyn ToSql + Sync);

/// All statements of this crate.
#[must_use]
pub fn statements() -> Vec<&'static dyn AnyStatement> {
    [
        &account_deletions::STATEMENTS[..],
        &email_changes::STATEMENTS,
        &email_verifications::STATEMENTS,
        &expired::STATEMENTS,
        &factors::STATEMENTS,
        &factors::attempts::STATEMENTS,
        &factors::passkeys::STATEMENTS,
        &factors::totp::STATEMENTS,
        &factors::recovery_codes::STATEMENTS,
        &factors::removals::STATEMENTS,
        &outbox::STATEMENTS,
        &password_changes::STATEMENTS,
        &password_resets::STATEMENTS,
        &personal_data::STATEMENTS,
        &session_endings::STATEMENTS,
        &sessions::STATEMENTS,
        &sign_up_notices::STATEMENTS,
        &throttle::STATEMENTS,
        &throttle::sign_in::STATEMENTS,
        &users::STATEMENTS,
    ]
    .concat()
}

/// The database. It connects when it runs its first statement. Clones share one connection.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    /// `None` if statements are never prepared.
    prepared: Option<PreparedStatements>,
    tls: MakeRustlsConnect,
}

impl Database {
    /// The number of connections on which a statement is tried. The first may have died while Lambda froze the process, the second while
    /// PostgreSQL restarts.
    const CONNECTIONS: u32 = 3;

    /// The database of the settings that [`ConnectionSettings::from_env`] reads.
    ///
    /// # Errors
    /// If a setting is missing or malformed.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        ConnectionSettings::from_env(env).map(Self::new)
    }

    /// A pool of one connection, because a Lambda process serves one request at a time. It does not connect yet. So a function starts even if its
    /// database is not available. It answers 503 until the database is available.
    ///
    /// # Panics
    /// Never: a pool without timeouts needs no runtime.
    fn new(settings: ConnectionSettings) -> Self {
        // A check before every use would cost each request a round trip. If the connection died while the process was frozen, its first
        // statement fails and runs again on a new connection.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let prepared = settings.prepared_statements.then(PreparedStatements::default);
        let connector = Connector::new(settings);
        let tls = connector.tls();
        // The connector has the configuration, so the manager's is empty.
        let manager = Manager::from_connect(tokio_postgres::Config::new(), connector, recycling);
        let of_connection = prepared.clone();
        let new_connection = Hook::sync_fn(move |_, _| {
            of_connection.iter().for_each(PreparedStatements::clear);
            Ok(())
        });
        let pool = Pool::builder(manager).max_size(1).post_create(new_connection).build();
        Self { pool: pool.expect("a pool without timeouts"), prepared, tls }
    }

    /// The connection of this request, which is closed when the returned value is dropped. Functions that are rarely called begin with this. Between
    /// two requests, their processes would otherwise keep connections that other functions need.
    #[must_use = "the connection is closed when this value is dropped"]
    pub fn connection_of_request(&self) -> ConnectionOfRequest<'_> {
        ConnectionOfRequest(&self.pool)
    }

    /// Runs a statement and returns its rows, within [`policy::DATABASE_DEADLINE`] and the time that the request has left.
    async fn query<const N: usize>(
        &self,
        statement: &Statement<N>,
        values: [Value<'_>; N],
    ) -> Result<Vec<Row>, DbError> {
        self.query_at(Isolation::OfServer, statement, values).await
    }

    /// Like [`Database::query`]. The first run of the statement is at this isolation level.
    async fn query_at<const N: usize>(
        &self,
        mut isolation: Isolation,
        statement: &Statement<N>,
        values: [Value<'_>; N],
    ) -> Result<Vec<Row>, DbError> {
        let deadline = deadline::at_most(policy::DATABASE_DEADLINE);
        let parameters: Vec<_> = values.into_iter().zip(statement.types.iter().cloned()).collect();
        let (mut conflicts, mut refusals, mut connections, mut ran_again) = (0, 0, 1, false);
        loop {
            match self.run(deadline, isolation, statement.sql, &parameters).await {
                Err(Failure::Conflict(cause)) => {
                    isolation = isolation.after_conflict();
                    let why = "a statement conflicted with another transaction and runs again";
                    wait_to_retry(policy::CONFLICT_PAUSES, &mut conflicts, deadline, why, cause).await?;
                }
                Err(Failure::NoConnection(cause)) => {
                    let why = "all connections are in use, so this function waits for one";
                    wait_to_retry(policy::CONNECTION_PAUSES, &mut refusals, deadline, why, cause).await?;
                }
                Err(Failure::Disconnected(cause)) if connections < Self::CONNECTIONS => {
                    tracing::warn!(connections, %cause, "a connection died during a statement, which runs again on another");
                    sleep(Duration::from_millis(5) * connections).await;
                    connections += 1;
                }
                Err(Failure::Disconnected(cause) | Failure::Unavailable(cause)) => {
                    return Err(DbError::Unavailable(cause));
                }
                Err(Failure::Defect(cause)) => return Err(DbError::Failed(cause)),
                // The run on the dead connection may have committed after this run took its snapshot. One more run sees the committed rows.
                Ok(rows) if rows.is_empty() && connections > 1 && !ran_again => ran_again = true,
                Ok(rows) => return Ok(rows),
            }
        }
    }

    /// Like [`Database::query`], for a statement that returns at most one row.
    async fn query_opt<const N: usize>(
        &self,
        statement: &Statement<N>,
        values: [Value<'_>; N],
    ) -> Result<Option<Row>, DbError> {
        Ok(self.query(statement, values).await?.into_iter().next())
    }

    /// Like [`Database::query_opt`], for a statement that changes the user of the session that a request presents, and returns no row if the session is
    /// not live. If it waited while another request of the session added or removed a factor, it has seen the higher credential version of the user, but
    /// not that of the session. So it runs once more. If the session has ended, the second run costs a round trip and changes nothing.
    async fn query_in_session<const N: usize>(
        &self,
        statement: &Statement<N>,
        values: [Value<'_>; N],
    ) -> Result<Option<Row>, DbError> {
        match self.query_opt(statement, values).await? {
            None => self.query_opt(statement, values).await,
            row => Ok(row),
        }
    }

    /// Like [`Database::query`], for a statement that always returns one row.
    async fn query_one<const N: usize>(
        &self,
        statement: &Statement<N>,
        values: [Value<'_>; N],
    ) -> Result<Row, DbError> {
        let row = self.query_opt(statement, values).await?;
        row.ok_or_else(|| DbError::Failed("a statement that always returns a row returned none".into()))
    }

    /// Like [`Database::query_opt`], for a statement that changes an account unless another request has changed it since the statement began. If one has,
    /// the row of the statement has no `id`. Then the statement runs again, after `lock`, which locks the row of the account. `$1` is the same in both.
    async fn query_unless_account_changes<const N: usize>(
        &self,
        statement: &Statement<N>,
        values: [Value<'_>; N],
        lock: &'static Statement<1>,
    ) -> Result<Option<Row>, DbError> {
        match self.query_opt(statement, values).await? {
            Some(row) if row.get::<_, Option<i64>>("id").is_none() => {
                let isolation = Isolation::ReadCommitted { lock: Some(lock) };
                Ok(self.query_at(isolation, statement, values).await?.into_iter().next())
            }
            result => Ok(result),
        }
    }

    async fn run(
        &self,
        deadline: Instant,
        isolation: Isolation,
        sql: &'static str,
        parameters: &[(Value<'_>, Type)],
    ) -> Result<Vec<Row>, Failure> {
        let client = match timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(client)) => client,
            Ok(Err(PoolError::Backend(problem))) => return Err(Failure::of_connecting(&problem)),
            Ok(Err(problem)) => return Err(Failure::Unavailable(problem.into())),
            Err(_) => return Err(Failure::Unavailable("PostgreSQL accepted no connection in time".into())),
        };
        // `timeout_at` would begin the statement even if no time is left for it.
        if Instant::now() >= deadline {
            return Err(Failure::Unavailable("no time is left for the statement".into()));
        }
        let rows = async {
            match (isolation, &self.prepared) {
                (Isolation::ReadCommitted { lock }, _) => query_at_read_committed(&client, lock, sql, parameters).await,
                (Isolation::OfServer, Some(prepared)) => prepared.query(&client, sql, parameters).await,
                (Isolation::OfServer, None) => client.query_typed(sql, parameters).await,
            }
        };
        match timeout_at(deadline, rows).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(problem)) => {
                let failure = Failure::from(problem);
                // After a conflict or a defect, the connection can still be used.
                if !matches!(failure, Failure::Conflict(_) | Failure::Defect(_)) {
                    discard(client);
                }
                Err(failure)
            }
            Err(_) => {
                // The caller does not wait any longer, so the statement must not take effect later, or continue to wait for a lock.
                let _ = timeout(policy::DATABASE_CANCEL, client.cancel_token().cancel_query(self.tls.clone())).await;
                discard(client);
                Err(Failure::Unavailable("PostgreSQL did not answer in time".into()))
            }
        }
    }
}

/// Closes the connection when it is dropped.
pub struct ConnectionOfRequest<'a>(&'a Pool);

impl Drop for ConnectionOfRequest<'_> {
    fn drop(&mut self) {
        self.0.retain(|_, _| false);
    }
}

/// The isolation level at which a statement runs.
#[derive(Clone, Copy)]
enum Isolation {
    /// The default of the server.
    OfServer,
    /// `read committed`. A statement waits for transactions that change the same rows, and then sees their changes. At `repeatable read`, it would fail
    /// whenever one of them commits. So it might fail at every try if many requests change one row.
    ReadCommitted {
        /// A statement before it in the same transaction, with the same `$1`. Its locks ensure that the statement sees the newest state.
        lock: Option<&'static Statement<1>>,
    },
}

impl Isolation {
    fn after_conflict(self) -> Self {
        match self {
            Self::OfServer => Self::ReadCommitted { lock: None },
            Self::ReadCommitted { .. } => self,
        }
    }
}

/// Runs a statement in a transaction at `read committed`. Takes one round trip, so the transaction does not wait for this process. If a part fails,
/// PostgreSQL refuses the next ones, and rolls back at COMMIT.
async fn query_at_read_committed(
    client: &Client,
    lock: Option<&Statement<1>>,
    sql: &'static str,
    parameters: &[(Value<'_>, Type)],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let lock = async {
        if let (Some(lock), Some((first, _))) = (lock, parameters.first()) {
            let [type_] = lock.types.clone();
            client.query_typed(lock.sql, &[(*first, type_)]).await?;
        }
        Ok(())
    };
    // Each part sends its messages when it is polled for the first time, and `join!` does this in their order.
    let (begun, locked, rows, committed) = tokio::join!(
        client.batch_execute("START TRANSACTION ISOLATION LEVEL READ COMMITTED"),
        lock,
        client.query_typed(sql, parameters),
        client.batch_execute("COMMIT"),
    );
    begun.and(locked).and(committed).and(rows)
}

/// Closes a connection, because its next answer might belong to an earlier statement.
fn discard(client: Client) {
    drop(Object::take(client));
}

/// Waits before a statement is tried again. Returns an error instead if no time is left until the deadline. Logs `why` only once for each statement,
/// because conflicts are frequent where every transaction is `repeatable read`.
async fn wait_to_retry(
    pauses: Pauses,
    failures: &mut u32,
    deadline: Instant,
    why: &str,
    cause: Cause,
) -> Result<(), DbError> {
    let pause = backoff(pauses, *failures);
    if Instant::now() + pause >= deadline {
        return Err(DbError::Unavailable(cause));
    }
    if *failures == 0 {
        tracing::warn!(%cause, "{why}");
    }
    sleep(pause).await;
    *failures += 1;
    Ok(())
}

/// How long a statement waits before it is tried again. The longest possible wait doubles with each failure. The wait is a random time between half
/// of it and all of it, so that statements that failed at the same time are not tried at the same time again.
fn backoff(Pauses { first, longest }: Pauses, failures: u32) -> Duration {
    let longest = first.saturating_mul(1 << failures.min(16)).min(longest);
    longest / 2 + (longest / 2).mul_f64(f64::from(system::rng().next_u32()) / f64::from(u32::MAX))
}

/// Why one run of a statement failed.
enum Failure {
    /// PostgreSQL rolled it back because of another transaction. It should run again while there is time.
    Conflict(Cause),
    /// PostgreSQL has no free connection. The statement should be tried again while there is time.
    NoConnection(Cause),
    /// Its connection died, or its server is shutting down. It should run again on another connection.
    Disconnected(Cause),
    /// The database is not available.
    Unavailable(Cause),
    /// The statement itself is wrong.
    Defect(Cause),
}

impl Failure {
    fn of_connecting(problem: &tokio_postgres::Error) -> Self {
        let cause = Box::new(LoggedError::from(problem));
        let is_full = problem.code() == Some(&SqlState::TOO_MANY_CONNECTIONS);
        if is_full { Self::NoConnection(cause) } else { Self::Unavailable(cause) }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let conflicted = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
        let disconnected = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::IDLE_SESSION_TIMEOUT,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ];
        let cause = Box::new(LoggedError::from(&error));
        match error.code() {
            Some(code) if conflicted.contains(code) => Self::Conflict(cause),
            Some(code) if disconnected.contains(code) => Self::Disconnected(cause),
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Self::Unavailable(cause),
            // 08: connection exception, from a pooler. 53: insufficient resources. 57: operator intervention, such as a statement timeout.
            Some(code) if ["08", "53", "57"].contains(&&code.code()[..2]) => Self::Unavailable(cause),
            None if error.is_closed() || is_io(&error) => Self::Disconnected(cause),
            _ => Self::Defect(cause),
        }
    }
}

/// An error of PostgreSQL without its details, which quote rows with addresses and hashes. So it can be logged.
#[derive(Debug, Error)]
#[error("{message}")]
struct LoggedError {
    code: Option<SqlState>,
    message: String,
}

impl From<&tokio_postgres::Error> for LoggedError {
    fn from(error: &tokio_postgres::Error) -> Self {
        let message = match error.as_db_error() {
            Some(refusal) => format!("{} ({})", refusal.message(), refusal.code().code()),
            // The reason, such as an invalid certificate, is among the causes of the driver's error.
            None => in_one_line(error),
        };
        Self { code: error.code().cloned(), message }
    }
}

/// An error and its causes in one line, separated by colons. A driver's error often says only "db error", and its cause says the reason.
#[must_use]
pub fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error + 'static>::is::<std::io::Error>)
}

impl DbError {
    /// PostgreSQL's code for the error, if PostgreSQL reported it.
    fn code(&self) -> Option<&SqlState> {
        let (Self::Unavailable(cause) | Self::Failed(cause)) = self;
        cause.downcast_ref::<LoggedError>()?.code.as_ref()
    }

    /// Whether the database is in the state before the first `migrate`: it has no tables, or it refuses the login of the functions' role.
    #[must_use]
    pub fn is_before_migrate(&self) -> bool {
        let refuses_login = |code: &SqlState| code.code().starts_with("28");
        self.code().is_some_and(|code| *code == SqlState::UNDEFINED_TABLE || refuses_login(code))
    }

    /// Whether the row that a foreign key refers to has been deleted at the same time.
    fn is_foreign_key_violation(&self) -> bool {
        self.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION)
    }

    /// Whether another row has the same value in a unique index.
    fn is_unique_violation(&self) -> bool {
        self.code() == Some(&SqlState::UNIQUE_VIOLATION)
    }
}

/// A duration in seconds, as a parameter that SQL multiplies by an interval.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list is written by hand, because a list that is collected by a library would need code that runs when a function starts.
    #[test]
    fn the_list_of_statements_is_complete() {
        let is_statement = |line: &&str| line.starts_with("static ") && line.contains(": Statement<");
        let files = files(concat!(env!("CARGO_MANIFEST_DIR"), "/src/db").as_ref());
        let declared: usize = files.iter().map(|text| text.lines().filter(is_statement).count()).sum();
        assert_eq!(declared, statements().len(), "add the new statement to STATEMENTS of its file");
    }

    /// The texts of all files in a folder and its subfolders.
    fn files(folder: &std::path::Path) -> Vec<String> {
        let paths = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        paths
            .flat_map(|path| if path.is_dir() { files(&path) } else { vec![std::fs::read_to_string(path).unwrap()] })
            .collect()
    }
}
