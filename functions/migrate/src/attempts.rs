//! Runs one transaction, and runs it again when a lock of another transaction prevents it. Gives up after a fixed number of
//! attempts. After the transaction, collects the statistics of the tables.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::{Client, IsolationLevel, types::Type};
use tracing::warn;

use crate::{
    error::{DatabaseError, Error},
    finish,
    login::{Connected, Login},
    statistics, takeover,
    transaction::Transaction,
};

/// Longest time for all attempts and the statistics. It is shorter than the function's timeout, so that the caller gets an error with the reason.
/// PostgreSQL needs about three seconds to index a million users.
const DEADLINE: Duration = Duration::from_secs(280);
/// Longest time to connect and authenticate.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time to close the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Each attempt waits up to two seconds for the lock of a table. If each fails at its first lock, all attempts and the pauses take about twenty seconds.
const MAX_ATTEMPTS: u32 = 8;
/// Pause between two attempts. Transactions that queued behind our request for a lock run in this time.
const PAUSE: Duration = Duration::from_millis(500);

/// Only one invocation works at a time. The others wait for this lock before they read anything. The key is "migrate" in ASCII.
const ADVISORY_LOCK: &str = "
    SET LOCAL lock_timeout = '60s';
    SELECT pg_advisory_xact_lock(x'6d696772617465'::bigint)";

/// While this transaction waits for the lock of a table, later transactions on that table wait behind it. So each wait is short,
/// and the transaction is tried again. The other two timeouts end the transaction if this process is killed. Otherwise `users`
/// would stay locked.
const TIMEOUTS: &str = "
    SET LOCAL lock_timeout = '2s';
    SET LOCAL statement_timeout = '270s';
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// Connects, does `work` in one transaction, commits it, and collects the statistics of the tables.
///
/// # Errors
/// If `work` fails, if the database cannot be reached, if another invocation or a lock of another transaction blocks this one for
/// too long, or if all attempts together take too long. If `work` fails, the transaction is rolled back.
pub async fn run<T>(login: &Login, work: impl AsyncFn(&Transaction<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let Connected { mut client, connection, connector } = timeout(CONNECT_TIMEOUT, login.connect())
        .await
        .map_err(|_| Error::Unreachable(format!("no answer within {CONNECT_TIMEOUT:?}")))??;
    let cancel = client.cancel_token();
    let deadline = Instant::now() + DEADLINE;
    let outcome = timeout_at(deadline, with_retries(&mut client, work)).await.unwrap_or(Err(Error::Deadline(DEADLINE)));
    if outcome.is_ok() {
        statistics::collect(&client, deadline).await;
    }
    drop(client);
    // Errors are ignored, because they cannot change the outcome. If the server receives neither the cancellation nor the
    // end of the connection, the timeouts that are set in the server end the transaction.
    let _ = timeout(CLOSE_TIMEOUT, async {
        if matches!(outcome, Err(Error::Deadline(_))) {
            let _ = cancel.cancel_query(connector.tls()).await;
        }
        // Lambda freezes the process after the answer, so the connection must be closed before.
        connection.await
    })
    .await;
    outcome
}

async fn with_retries<T>(
    client: &mut Client,
    work: impl AsyncFn(&Transaction<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut attempt = 1;
    loop {
        match run_once(client, &work).await {
            Err(Error::Database(problem)) if problem.is_contention() && attempt < MAX_ATTEMPTS => {
                warn!(attempt, %problem, "another transaction prevented this attempt");
                sleep(PAUSE).await;
                attempt += 1;
            }
            Err(Error::Database(problem)) if problem.is_lock_timeout() => {
                let Ok(holders) = lock_holders(client).await else { return Err(problem.into()) };
                return Err(Error::Busy { attempts: MAX_ATTEMPTS, problem: problem.message().to_owned(), holders });
            }
            outcome => return outcome,
        }
    }
}

async fn run_once<T>(
    client: &mut Client,
    work: impl AsyncFn(&Transaction<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    // The default level of the database may be another one. With READ COMMITTED, a statement that waited for a lock sees what the
    // holder of the lock has committed.
    let begun = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false).start();
    let transaction = Transaction::new(begun.await.map_err(DatabaseError::from)?);
    transaction
        .execute(ADVISORY_LOCK)
        .await
        .map_err(|problem| if problem.is_lock_timeout() { Error::AnotherMigrates } else { Error::Database(problem) })?;
    transaction.execute(TIMEOUTS).await?;
    let result = work(&transaction).await?;
    transaction.commit().await?;
    Ok(result)
}

const LOCK_HOLDERS: &str = "
    SELECT DISTINCT l.relation::regclass::text AS name, l.pid
    FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.granted AND l.pid <> pg_backend_pid()
        AND l.relation = ANY (SELECT to_regclass(name) FROM unnest($1) AS name)
    ORDER BY name, pid";

/// The tables that a migration locks exclusively and on which others hold a lock, each with the id of the server process that
/// holds it.
async fn lock_holders(client: &Client) -> Result<Vec<(String, i32)>, DatabaseError> {
    let names: Vec<&str> = takeover::tables().chain(finish::old_tables()).collect();
    let rows = client.query_typed(LOCK_HOLDERS, &[(&names, Type::TEXT_ARRAY)]).await?;
    Ok(rows.iter().map(|row| (row.get("name"), row.get("pid"))).collect())
}
