//! `migrate` applies the migrations in `migrations/` to an empty database, to a database of an earlier version, or to the
//! database of the old service.
//!
//! It is not an endpoint. The operator invokes it with `{}` at each deployment, and with `{"finish": true}` after the old service was switched off
//! for good. With `{"verified": true}`, the accounts that it takes over from the old service count as verified. It answers with a [`Report`] of what
//! it did. If it fails, the error says what is wrong and what to do. Every change happens in one transaction, so a failed invocation changes nothing, unless
//! it failed during COMMIT.

mod attempts;
mod catalog;
mod error;
mod finish;
mod history;
mod login;
mod migrations;
mod payload;
mod preconditions;
mod role;
mod statistics;
mod takeover;
mod transaction;

use std::process::ExitCode;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{
    environment::{ConfigError, Environment},
    runtime,
};
use tracing::{Instrument, error, info};

use crate::{
    error::Error, history::History, login::Login, migrations::MIGRATIONS, payload::Payload, role::FunctionsRole,
    transaction::Transaction,
};

/// The version of the first migration that a database in use does not get yet, because the code of the previous release cannot work with it. That code is
/// still live while `migrate` runs. Such a database gets only the migrations before this one. A new database gets all of them. `None` postpones nothing.
///
/// Set it to `None` when work on the next release begins. That release then applies the migration.
const FIRST_POSTPONED: Option<i32> = None;

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

/// Handles an invocation and logs its outcome.
async fn handle(app: &App, LambdaEvent { payload, context }: LambdaEvent<Box<RawValue>>) -> Result<Report, Diagnostic> {
    let span = runtime::request_span(&payload, &context);
    let outcome = answer(app, &payload).instrument(span.clone()).await;
    span.in_scope(|| match &outcome {
        Ok(Report { schema_version, applied, postponed, dropped, granted_to }) => {
            info!(schema_version, ?applied, ?postponed, ?dropped, granted_to, "done");
        }
        Err(problem) => error!(error_type = problem.name(), %problem, "refused"),
    });
    Ok(outcome?)
}

/// Accepts any JSON, so that the error for an invalid payload is our own and not the runtime's.
async fn answer(app: &App, json: &RawValue) -> Result<Report, Error> {
    let payload = Payload::parse(json)?;
    attempts::run(&app.login, async |transaction| migrate(transaction, payload, app).await).await
}

/// Checks the database and changes it, in one transaction.
async fn migrate(transaction: &Transaction<'_>, payload: Payload, app: &App) -> Result<Report, Error> {
    let known = MIGRATIONS.last().map_or(0, |newest| newest.version);

    preconditions::refuse_other_encodings(transaction).await?;
    preconditions::refuse_two_schemas(transaction).await?;
    let history = History::read(transaction).await?;
    let found = history.version();
    let target =
        found.zip(FIRST_POSTPONED).filter(|(found, postponed)| found < postponed).map_or(known, |(_, first)| first - 1);
    let takes_over = found.is_none() && takeover::has_users_table(transaction).await?;
    match found {
        Some(found) if found > known => return Err(Error::SchemaIsNewer { found, known }),
        Some(found) if found >= target && !payload.verified => {}
        _ if payload.finish => return Err(Error::FinishBeforeMigrate),
        _ if payload.verified && !takes_over => return Err(Error::NothingToTakeOver),
        Some(found) if found < takeover::ADDRESSES_BY_ASCII => takeover::refuse_shared_addresses(transaction).await?,
        Some(_) => {}
        None => takeover::check(transaction).await?,
    }

    if found.is_none_or(|found| found < target) {
        preconditions::refuse_invalid_indexes(transaction).await?;
    }
    let applied = history.apply_up_to(target, transaction).await?;
    if payload.verified {
        transaction.execute(takeover::VERIFY_ADDRESSES).await?;
    }
    let dropped = if payload.finish { finish::drop_old_tables(transaction).await? } else { Vec::new() };
    if let Some(role) = &app.functions_role {
        role::grant(transaction, role, app.login.is_with_iam()).await?;
    }
    Ok(Report {
        schema_version: found.unwrap_or_default().max(target),
        applied: applied.iter().map(ToString::to_string).collect(),
        postponed: MIGRATIONS.iter().filter(|migration| migration.version > target).map(ToString::to_string).collect(),
        dropped,
        granted_to: app.functions_role.as_ref().map(|role| role.as_str().to_owned()),
    })
}

/// What an invocation did.
#[derive(Debug, Serialize)]
struct Report {
    /// The version of the schema after the invocation.
    schema_version: i32,
    /// The migrations that were applied, in order.
    applied: Vec<String>,
    /// The migrations that the next release will apply, in order.
    postponed: Vec<String>,
    /// The old service's tables that were dropped.
    dropped: Vec<&'static str>,
    /// The role that was granted access to the tables, if one is configured.
    granted_to: Option<String>,
}

struct App {
    login: Login,
    functions_role: Option<FunctionsRole>,
}

impl App {
    fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        Ok(Self { login: Login::from_env(env)?, functions_role: FunctionsRole::from_env(env)? })
    }
}
