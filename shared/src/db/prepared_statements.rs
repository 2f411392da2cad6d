//! Preparing statements on a connection, so that PostgreSQL need not parse and plan them at every run.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::{Either, select};
use tokio::time::timeout;
use tokio_postgres::{
    Client, Error, Row, Statement,
    error::SqlState,
    types::{ToSql, Type},
};

use crate::security::policy;

/// The statements that have run on the current connection. Clones share them.
#[derive(Clone, Default)]
pub(super) struct PreparedStatements(Arc<Mutex<HashMap<&'static str, Run>>>);

/// How a statement runs.
#[derive(Clone)]
enum Run {
    /// It has not run on this connection. It is not prepared yet, because many connections run a statement only once.
    First,
    /// It has run once. The second run sends its text again, and also prepares it, in one round trip.
    Second,
    /// It is prepared.
    Later(Statement),
}

impl PreparedStatements {
    /// Forgets all statements. A new connection has no prepared statements.
    pub fn clear(&self) {
        self.change(HashMap::clear);
    }

    /// Runs a statement. Takes one round trip. It takes another one if PostgreSQL cannot run the prepared statement any more. If PostgreSQL does not
    /// prepare the statement in time, the rows are returned anyway, and the next run tries to prepare it again.
    pub async fn query(
        &self,
        client: &Client,
        sql: &'static str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Error> {
        match self.next_run_of(sql) {
            Run::First => client.query_typed(sql, parameters).await,
            Run::Second => {
                let types: Vec<_> = parameters.iter().map(|(_, type_)| type_.clone()).collect();
                let (running, preparing) = (client.query_typed(sql, parameters), client.prepare_typed(sql, &types));
                let (rows, prepared) = match select(pin!(running), pin!(preparing)).await {
                    Either::Left((rows, preparing)) => (rows, timeout(policy::DATABASE_PREPARE, preparing).await),
                    Either::Right((prepared, running)) => (running.await, Ok(prepared)),
                };
                if let Ok(Ok(prepared)) = prepared {
                    self.change(|statements| statements.insert(sql, Run::Later(prepared)));
                }
                rows
            }
            Run::Later(prepared) => {
                let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
                match client.query(&prepared, &values).await {
                    Err(problem) if is_unusable(&problem) => {
                        self.change(|statements| statements.remove(sql));
                        client.query_typed(sql, parameters).await
                    }
                    result => result,
                }
            }
        }
    }

    fn next_run_of(&self, sql: &'static str) -> Run {
        self.change(|statements| {
            let run = statements.get(sql).cloned().unwrap_or(Run::First);
            statements.entry(sql).or_insert(Run::Second);
            run
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<&'static str, Run>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether PostgreSQL refused to run a prepared statement because the statement does not exist any more (26000), or because a migration has changed
/// the types of its result ("cached plan must not change result type", 0A000). In both cases, the statement did not run.
fn is_unusable(problem: &Error) -> bool {
    [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::FEATURE_NOT_SUPPORTED]
        .iter()
        .any(|code| problem.code() == Some(code))
}
