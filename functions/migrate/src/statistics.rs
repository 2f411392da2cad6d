//! The statistics with which PostgreSQL plans statements.

use std::time::Duration;

use tokio::time::{Instant, timeout};
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
    let limit = TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
    // PostgreSQL ends the statement, too. It does not notice when this function stops waiting.
    let analyze = format!(
        "BEGIN; SET LOCAL statement_timeout = {}; ANALYZE (SKIP_LOCKED) users, {}; COMMIT",
        limit.as_millis().max(1),
        takeover::NEW_TABLES.join(", ")
    );
    let problem = match timeout(limit, client.batch_execute(&analyze)).await {
        Ok(Ok(())) => return,
        Ok(Err(problem)) => DatabaseError::from(problem).to_string(),
        Err(_) => "not done in time".to_owned(),
    };
    warn!(%problem, "the statistics of the tables were not collected, so statements may be slow: run migrate again");
}
