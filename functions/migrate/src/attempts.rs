//! One transaction, run again for as long as somebody else's lock is in its way, and never longer than we can wait.

use std::time::Duration;

use shared::db::{ConnectionSettings, Connector};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, IsolationLevel, types::Type};
use tracing::warn;

use crate::{
    error::{DatabaseError, Error},
    finish,
    transaction::Transaction,
};

/// Longest time for everything: below the function's timeout, so that whoever waits is told what was going on. A million users
/// take about three seconds to index.
const DEADLINE: Duration = Duration::from_secs(280);
/// Longest time to reach the database and be let in.
const CONNECTING: Duration = Duration::from_secs(10);
/// Longest time to say goodbye.
const CLOSING: Duration = Duration::from_secs(2);
/// How often we try to get past other people's locks. With two seconds for each, twenty in all.
const ATTEMPTS: u32 = 8;
/// Between two attempts: everybody who queued up behind our wait for a lock gets a turn.
const PAUSE: Duration = Duration::from_millis(500);

/// Of several invocations at once, the others wait here, before they look at anything. The key is "migrate" in ASCII.
const ALONE: &str = "
    SET LOCAL lock_timeout = '60s';
    SELECT pg_advisory_xact_lock(x'6d696772617465'::bigint)";

/// Who waits for a lock makes everybody wait who comes after, so we give up soon and come again. The other two are for the
/// case that this process is no more: what it left open must not keep `users` locked.
const PATIENCE: &str = "
    SET LOCAL lock_timeout = '2s';
    SET LOCAL statement_timeout = '270s';
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// Connects, does `work` in one transaction and commits it.
///
/// # Errors
/// Those of `work`, after which nothing has changed. Where the database cannot be reached, where another invocation or other
/// people's locks are in the way for too long, or where all of it takes too long.
pub async fn run<T>(
    mut settings: ConnectionSettings,
    work: impl AsyncFn(&mut Transaction<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    settings.connection.application_name("jwt-auth migrate");
    let connector = Connector::new(settings);
    let (mut client, driver) = timeout(CONNECTING, Box::pin(connector.connect()))
        .await
        .map_err(|_| Error::Unreachable(format!("no answer within {CONNECTING:?}")))?
        .map_err(|problem| Error::Unreachable(DatabaseError::from(problem).message().to_owned()))?;
    let driver = tokio::spawn(driver);
    let cancel = client.cancel_token();
    let outcome = timeout(DEADLINE, until_done(&mut client, work)).await.unwrap_or(Err(Error::Deadline(DEADLINE)));
    drop(client);
    // Neither may fail what has been decided: a server that does not hear us finds out by its own timeouts.
    let _ = timeout(CLOSING, async {
        if matches!(outcome, Err(Error::Deadline(_))) {
            let _ = cancel.cancel_query(connector.tls()).await;
        }
        // Lambda freezes the process as soon as we answer; the server should have heard of the end by then.
        driver.await
    })
    .await;
    outcome
}

async fn until_done<T>(
    client: &mut Client,
    work: impl AsyncFn(&mut Transaction<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut attempt = 1;
    loop {
        match once(client, &work).await {
            Err(Error::Database(problem)) if problem.is_contention() && attempt < ATTEMPTS => {
                warn!(attempt, %problem, "somebody else was in the way");
                sleep(PAUSE).await;
                attempt += 1;
            }
            Err(Error::Database(problem)) if problem.is_lock_timeout() => {
                return Err(Error::Busy { attempts: ATTEMPTS, holders: holders(client).await? });
            }
            decided => return decided,
        }
    }
}

async fn once<T>(
    client: &mut Client,
    work: impl AsyncFn(&mut Transaction<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    // Each statement has to see what the one we waited for has committed, whatever the database's own default is.
    let begun = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false).start();
    let mut transaction = Transaction::new(begun.await.map_err(DatabaseError::from)?);
    transaction
        .execute(ALONE)
        .await
        .map_err(|problem| if problem.is_lock_timeout() { Error::AnotherMigrates } else { Error::Database(problem) })?;
    transaction.execute(PATIENCE).await?;
    let done = work(&mut transaction).await?;
    transaction.commit().await?;
    Ok(done)
}

const HOLDERS: &str = "
    SELECT DISTINCT l.relation::regclass::text AS name, l.pid
    FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.granted AND l.pid <> pg_backend_pid()
        AND l.relation = ANY (SELECT to_regclass(name) FROM unnest($1) AS name)
    ORDER BY name, pid";

/// Which server process holds a lock on which of the tables we need alone.
async fn holders(client: &Client) -> Result<Vec<(String, i32)>, DatabaseError> {
    let names: Vec<&str> = ["users"].into_iter().chain(finish::old_tables()).collect();
    let rows = client.query_typed(HOLDERS, &[(&names, Type::TEXT_ARRAY)]).await?;
    Ok(rows.iter().map(|row| (row.get("name"), row.get("pid"))).collect())
}
