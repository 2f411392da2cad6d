//! `sweep` runs every minute: it attempts again the mails that requests could not send, and deletes what has expired. Two at once, or
//! one that is cut short, do no harm: each mail and each row is taken by one of them, and what is left is there the next minute.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    config::{self, ConfigError, Environment},
    db::{
        Database, DbError,
        expired::{self, Table},
        outbox::{self, Kind, Owed},
    },
    deadline,
    domain::MailId,
    error::ApiError,
    mail::{Mail, Mailer},
    outbox::{Attempted, Outbox},
    runtime::{Scheduled, run_scheduled},
    security::{ResetToken, policy},
};
use tracing::{error, info, warn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_scheduled(App::from_env, sweep).await
}

struct App {
    database: Database,
    outbox: Outbox,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::new(config::Database::from_env(&env)?);
        let mailer = Mailer::new(config::Mail::from_env(&env)?).await;
        Ok(Self { outbox: Outbox::new(database.clone(), mailer), database })
    }
}

/// What an invocation did.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Mails it sent.
    mails_sent: u32,
    /// Mails it attempted without success. They are still owed.
    mails_failed: u32,
    /// Mails that SES refused for good. Nobody attempts them again.
    mails_refused: u32,
    /// Mails whose link nobody needs any more. They were not sent.
    mails_void: u32,
    /// Mails that are owed when it ends, whether or not they are due.
    mails_owed: i64,
    /// Mails that nobody needs any more, and nobody got.
    mails_given_up: i64,
    /// Rows of each kind that had expired.
    sessions_deleted: i64,
    password_resets_deleted: i64,
    counters_deleted: i64,
}

async fn sweep(app: &App, invocation: Scheduled) -> Result<Report, ApiError> {
    match sweep_tables(app, &invocation).await {
        // The schedule starts with the stack, before `migrate` has run, and must not raise an alarm then. Later the same error is a real fault:
        // the other functions answer 503 for it, which raises one.
        Err(problem) if problem.is_before_migrate() => {
            warn!(%problem, "there is nothing to sweep: invoke migrate first");
            log_swept(&Report::default());
            Ok(Report::default())
        }
        swept => Ok(swept?),
    }
}

async fn sweep_tables(app: &App, invocation: &Scheduled) -> Result<Report, DbError> {
    let mut report = Report::default();
    while deadline::remaining() > policy::SWEEP_RESERVE
        && let Some(outcome) = attempt_next(app, invocation).await?
    {
        *match outcome {
            Outcome::Attempted(Attempted::Sent) => &mut report.mails_sent,
            Outcome::Attempted(Attempted::Owed) => &mut report.mails_failed,
            Outcome::Attempted(Attempted::Refused) => &mut report.mails_refused,
            Outcome::Void => &mut report.mails_void,
        } += 1;
    }
    report.mails_given_up = delete(app, Table::Outbox).await?;
    report.sessions_deleted = delete(app, Table::Sessions).await?;
    report.password_resets_deleted = delete(app, Table::PasswordResets).await?;
    report.counters_deleted = delete(app, Table::Throttle).await?;
    report.mails_owed = outbox::count(&app.database).await?;

    if report.mails_given_up > 0 {
        error!(mails = report.mails_given_up, "mails were given up");
    }
    log_swept(&report);
    Ok(report)
}

/// The line that the metric of owed mails is made of.
fn log_swept(&Report { mails_sent, mails_failed, mails_refused, mails_owed, .. }: &Report) {
    info!(mails_sent, mails_failed, mails_refused, mails_owed, "swept");
}

/// What became of a mail that was due.
enum Outcome {
    Attempted(Attempted),
    Void,
}

/// Attempts the mail that is due longest. `None` where none is.
async fn attempt_next(app: &App, invocation: &Scheduled) -> Result<Option<Outcome>, DbError> {
    let mut rng = invocation.rng();
    let (attempt, token) = (MailId::random(&mut rng), ResetToken::random(&mut rng));
    let Some(Owed { user, email, attempts, kind }) = outbox::claim(&app.database, attempt, &token.hash()).await? else {
        return Ok(None);
    };
    let mail = match kind {
        Kind::PasswordReset { page } => Mail::password_reset(&page, &token, policy::RESET_TOKEN_LIFETIME),
        Kind::PasswordChanged => Mail::password_changed(),
        Kind::Void => return outbox::settle(&app.database, user, attempt).await.map(|()| Some(Outcome::Void)),
    };
    let attempted = app.outbox.attempt(attempt, user, &email, mail, policy::MAIL_DEADLINE).await;
    info!(user_id = user.0, attempts, outcome = ?attempted, "attempted a mail that was owed");
    Ok(Some(Outcome::Attempted(attempted)))
}

/// Deletes a table's expired rows, batch by batch, for as long as there is time.
async fn delete(app: &App, table: Table) -> Result<i64, DbError> {
    let mut deleted = 0;
    while deadline::remaining() > policy::DATABASE_DEADLINE {
        let batch = expired::delete_batch(&app.database, table).await?;
        deleted += batch;
        if batch < policy::SWEEP_BATCH {
            break;
        }
    }
    Ok(deleted)
}
