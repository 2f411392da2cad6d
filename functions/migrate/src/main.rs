//! `migrate` brings a database to the schema of `migrations/`: an empty one, one of an earlier version, or the old service's.
//!
//! Not an endpoint: it is invoked by whoever deploys, with `{}`, or with `{"finish": true}` once the old service is gone for
//! good. It answers with a [`Report`] of what it did, or the invocation fails with a message that says what is wrong and what
//! to do about it. Everything happens in one transaction: refused means nothing changed.

mod attempts;
mod catalog;
mod error;
mod finish;
mod history;
mod preconditions;
mod request;
mod role;
mod takeover;
mod transaction;

use std::process::ExitCode;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use refinery::Target;
use serde::Serialize;
use serde_json::Value;
use shared::{
    db::ConnectionSettings,
    environment::{ConfigError, Environment},
    runtime,
};
use tracing::{Instrument, error, info};

use crate::{error::Error, request::Invocation, role::FunctionsRole, transaction::Transaction};

/// The first migration that the code of the release before this one cannot work with. `migrate` runs before the new code is live, so a database
/// that the old code may be using gets this migration from the next release. A new database gets it at once. Write `None` when the next
/// release begins.
const POSTPONED: Option<i32> = Some(5);

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let environment = Environment::of_this_process();
    let process = runtime::init_logging(&environment);
    serve(&environment).instrument(process).await
}

async fn serve(environment: &Environment) -> ExitCode {
    let app = match App::from_env(environment) {
        Ok(app) => app,
        Err(problem) => {
            error!(%problem, "the function cannot start");
            return ExitCode::FAILURE;
        }
    };
    match lambda_runtime::run(service_fn(|event| handle(&app, event))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!(%problem, "the Lambda runtime interface failed");
            ExitCode::FAILURE
        }
    }
}

/// Logs what came of an invocation.
async fn handle(app: &App, event: LambdaEvent<Value>) -> Result<Report, Diagnostic> {
    let span = runtime::request_span(&event);
    let outcome = answer(app, event.payload).instrument(span.clone()).await;
    span.in_scope(|| match &outcome {
        Ok(Report { schema_version, applied, postponed, dropped, granted_to }) => {
            info!(schema_version, ?applied, ?postponed, ?dropped, granted_to, "done");
        }
        Err(problem) => error!(error_type = problem.name(), %problem, "refused"),
    });
    Ok(outcome?)
}

/// Takes any JSON, so that a payload that is not understood is refused in our own words.
async fn answer(app: &App, payload: Value) -> Result<Report, Error> {
    let invocation = Invocation::parse(payload)?;
    attempts::run(app.connection.clone(), async |transaction| migrate(transaction, invocation, app).await).await
}

/// What happens to the database, in one transaction.
async fn migrate(transaction: &mut Transaction<'_>, invocation: Invocation, app: &App) -> Result<Report, Error> {
    let migrations = embedded::migrations::runner();
    let versions = || migrations.get_migrations().iter();
    let known = versions().map(refinery::Migration::version).max().unwrap_or_default();

    preconditions::refuse_other_encodings(transaction).await?;
    preconditions::refuse_two_schemas(transaction).await?;
    let found = history::version(transaction).await?;
    let target =
        found.zip(POSTPONED).filter(|(found, postponed)| found < postponed).map_or(known, |(_, first)| first - 1);
    match found {
        Some(found) if found > known => return Err(Error::SchemaIsNewer { found, known }),
        Some(found) if found >= target => {}
        _ if invocation.finish => return Err(Error::FinishBeforeMigrate),
        Some(found) if found < takeover::ADDRESSES_BY_ASCII => takeover::refuse_shared_addresses(transaction).await?,
        Some(_) => {}
        None => takeover::check(transaction).await?,
    }

    let postponed = versions().filter(|migration| migration.version() > target).map(ToString::to_string).collect();
    let applied = migrations.set_target(Target::Version(target)).run_async(transaction).await?;
    let dropped = if invocation.finish { finish::drop_old_tables(transaction).await? } else { Vec::new() };
    if let Some(role) = &app.functions_role {
        role::grant(transaction, role).await?;
    }
    Ok(Report {
        schema_version: found.unwrap_or_default().max(target),
        applied: applied.applied_migrations().iter().map(ToString::to_string).collect(),
        postponed,
        dropped,
        granted_to: app.functions_role.as_ref().map(|role| role.as_str().to_owned()),
    })
}

/// What an invocation did.
#[derive(Debug, Serialize)]
struct Report {
    /// The version the schema has now.
    schema_version: i32,
    /// The migrations that were applied, in order.
    applied: Vec<String>,
    /// The migrations that the next release will apply, in order.
    postponed: Vec<String>,
    /// The old service's tables that were dropped.
    dropped: Vec<&'static str>,
    /// The role that may use them, where one is configured.
    granted_to: Option<String>,
}

struct App {
    connection: ConnectionSettings,
    functions_role: Option<FunctionsRole>,
}

impl App {
    fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        Ok(Self { connection: ConnectionSettings::from_env(env)?, functions_role: FunctionsRole::from_env(env)? })
    }
}
