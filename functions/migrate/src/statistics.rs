//! The statistics with which PostgreSQL plans statements.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::Client;
use tracing::warn;

use crate::{error::DatabaseError, takeover};

/// Longest time to collect the statistics. PostgreSQL reads a sample of each table, so this usually takes some seconds.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Collects the statistics of all tables. An upgrade to another major version may lose them. A table that somebody else has locked is left out.
///
/// This runs after the migrations are committed. In their transaction, all statements on a changed table would wait until the statistics are
/// collected. If it fails, the migrations stay applied. It ends by `deadline`.
pub async fn collect(client: &Client, deadline: Instant) {
    let deadline = deadline.min(Instant::now() + TIMEOUT);
    let mut problems = Vec::new();
    for table in takeover::tables() {
        if let Err(problem) = analyze(client, table, deadline).await {
            problems.push(format!("{table}: {problem}"));
        }
    }
    if !problems.is_empty() {
        warn!(
            ?problems,
            "the statistics of some tables were not collected, so statements may be slow: run migrate again"
        );
    }
}

/// Collects the statistics of a table, in a transaction of its own. So they stay if another table takes too long.
async fn analyze(client: &Client, table: &str, deadline: Instant) -> Result<(), String> {
    let limit = deadline.saturating_duration_since(Instant::now()).as_millis();
    if limit == 0 {
        return Err("no time is left".to_owned());
    }
    // PostgreSQL ends the statement, too. It does not notice when this function stops waiting.
    let analyze = format!("SET LOCAL statement_timeout = {limit}; ANALYZE (SKIP_LOCKED) {table}");
    match timeout_at(deadline, client.batch_execute(&analyze)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(problem)) => Err(DatabaseError::from(problem).message().to_owned()),
        Err(_) => Err("not done in time".to_owned()),
    }
}
