//! `migrate` applies the migrations in `migrations/` to an empty database, to a database of an earlier version, or to the
//! database of the old service.
//!
//! It is not an endpoint. The operator invokes it with `{}` at each deployment, and with `{"finish": true}` after the old service was switched off
//! for good. With `{"verified": true}`, the accounts that it takes over from the old service count as verified. It answers with a [`Report`] of what
//! it did. If it fails, the error says what is wrong and what to do. Every change happens in one transaction, so a failed invocation changes nothing.

mod attempts;
mod catalog;
mod error;
mod finish;
mod history;
mod login;
mod payload;
mod preconditions;
mod role;
mod statistics;
mod takeover;
mod transaction;

use std::process::ExitCode;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use refinery::Target;
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{
    environment::{ConfigError, Environment},
    runtime,
};
use tracing::{Instrument, error, info};

use crate::{error::Error, login::Login, payload::Payload, role::FunctionsRole, transaction::Transaction};

/// The version of the first migration that a database in use does not get yet, because the code of the previous release cannot work with it. That code is
/// still live while `migrate` runs. Such a database gets only the migrations before this one. A new database gets all of them. `None` postpones nothing.
///
/// Set it to `None` when work on the next release begins. That release then applies the migration.
const FIRST_POSTPONED: Option<i32> = None;

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
async fn migrate(transaction: &mut Transaction<'_>, payload: Payload, app: &App) -> Result<Report, Error> {
    let migrations = embedded::migrations::runner();
    let versions = || migrations.get_migrations().iter();
    let known = versions().map(refinery::Migration::version).max().unwrap_or_default();

    preconditions::refuse_other_encodings(transaction).await?;
    preconditions::refuse_two_schemas(transaction).await?;
    let found = history::version(transaction).await?;
    let target =
        found.zip(FIRST_POSTPONED).filter(|(found, postponed)| found < postponed).map_or(known, |(_, first)| first - 1);
    let takes_over = found.is_none() && takeover::has_accounts(transaction).await?;
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
    let postponed = versions().filter(|migration| migration.version() > target).map(ToString::to_string).collect();
    let applied = migrations.set_target(Target::Version(target)).run_async(transaction).await?;
    if payload.verified {
        transaction.execute(takeover::VERIFY_ADDRESSES).await?;
    }
    let dropped = if payload.finish { finish::drop_old_tables(transaction).await? } else { Vec::new() };
    if let Some(role) = &app.functions_role {
        role::grant(transaction, role, app.login.is_with_iam()).await?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `migrate` refuses a database to which a file was applied that has another checksum now. So only the checksum of a migration that is not released yet
    /// may change here.
    #[test]
    fn each_migration_has_its_checksum() {
        let checksums: Vec<u64> =
            embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::checksum).collect();
        let expected = [
            13_730_241_733_254_750_285,
            9_281_595_300_191_837_261,
            2_558_344_918_324_024_453,
            11_947_927_417_301_250_443,
            13_324_980_697_033_482_583,
            8_315_144_725_602_351_685,
            17_781_134_353_428_299_169,
            17_587_521_830_349_355_758,
            17_415_420_618_493_127_548,
            12_524_581_799_598_599_913,
            1_794_611_891_716_732_140,
            60_522_656_140_668_656,
        ];
        assert_eq!(checksums, expected);
    }

    #[test]
    fn each_table_that_a_migration_creates_is_listed() {
        let runner = embedded::migrations::runner();
        let lines = runner.get_migrations().iter().flat_map(|migration| migration.sql().unwrap_or_default().lines());
        let created = lines.filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split(' ').next());
        // V1 creates `users` with IF NOT EXISTS.
        let created: BTreeSet<_> = created.filter(|name| *name != "IF").collect();
        assert_eq!(created, BTreeSet::from(takeover::NEW_TABLES));
    }
}
