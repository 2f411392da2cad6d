//! `sweep` runs every minute. It ends sessions that a request could not end, sends mails that a request could not send, erases accounts whose users
//! have deleted them, and deletes expired rows.
//!
//! Concurrent invocations do no harm: only one of them takes a mail or an expired row, and erasing an account a second time changes nothing. An
//! interrupted invocation does no harm either, because the invocation of the next minute does what is left.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    db::{
        Database, DbError,
        expired::{self, ExpiringTable},
        outbox::{self, ClaimedMail, MailKind},
    },
    deadline,
    domain::UserId,
    environment::{ConfigError, Environment},
    error::ApiError,
    mail::{Attempted, Link, Mail, Mailer},
    runtime::{Scheduled, run_scheduled},
    security::{EmailCode, EmailCodes, LinkToken, policy},
    sessions::{Erasures, SessionEndings},
};
use tracing::{error, info, warn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_scheduled(App::from_env, sweep).await
}

async fn sweep(app: &App, invocation: Scheduled) -> Result<Report, ApiError> {
    match sweep_tables(app, &invocation).await {
        // The schedule starts before the first `migrate` has created the tables. This is normal, so it must not raise an
        // alarm. If this error occurs later, the other functions answer 503, and that raises an alarm.
        Err(problem) if problem.is_before_migrate() => {
            warn!(%problem, "there are no tables yet, or the database refuses the login: invoke migrate first, or correct the login of the functions");
            log_swept(&Report::default());
            Ok(Report::default())
        }
        swept => Ok(swept?),
    }
}

async fn sweep_tables(app: &App, invocation: &Scheduled) -> Result<Report, DbError> {
    let _connection = app.database.connection_of_request();
    let mut report = Report::default();
    // Sessions are ended before mails are sent, because sending many mails may use up the time.
    let not_settled = settle_session_endings(app).await?;
    while deadline::remaining() > policy::SWEEP_RESERVE
        && let Some(outcome) = attempt_next(app, invocation).await?
    {
        *match outcome {
            Outcome::Attempted(Attempted::Sent) => &mut report.mails_sent,
            Outcome::Attempted(Attempted::Failed) => &mut report.mails_failed,
            Outcome::Attempted(Attempted::Refused) => &mut report.mails_refused,
            Outcome::Obsolete => &mut report.mails_void,
        } += 1;
    }
    let not_erased = erase_accounts(app, &mut report).await?;
    report.mails_given_up = delete(app, ExpiringTable::Outbox).await?;
    report.sessions_deleted = delete(app, ExpiringTable::Sessions).await?;
    report.password_resets_deleted = delete(app, ExpiringTable::PasswordResets).await?;
    report.counters_deleted = delete(app, ExpiringTable::Throttle).await?;
    for table in ExpiringTable::OF_LINKS {
        report.links_deleted += delete(app, table).await?;
    }
    for table in ExpiringTable::OF_FACTORS {
        report.factor_rows_deleted += delete(app, table).await?;
    }
    app.endings.delete_old().await?;
    report.mails_owed = outbox::count(&app.database).await?;
    report.sessions_owed = app.endings.count_owed().await?;

    if report.mails_given_up > 0 {
        error!(mails = report.mails_given_up, "mails expired before they could be sent");
    }
    log_swept(&report);
    // A failed invocation raises an alarm.
    not_settled.or(not_erased).map_or(Ok(report), Err)
}

/// Logs the line from which the metric of unsent mails is made (`MailsOwed` in `template.yaml`).
fn log_swept(report: &Report) {
    let &Report { mails_sent, mails_failed, mails_refused, mails_owed, sessions_owed, accounts_erased, .. } = report;
    info!(mails_sent, mails_failed, mails_refused, mails_owed, sessions_owed, accounts_erased, "swept");
}

/// The result for a mail that was due.
enum Outcome {
    Attempted(Attempted),
    Obsolete,
}

/// Tries to send the mail that has been due longest. `None` if no mail is due.
async fn attempt_next(app: &App, invocation: &Scheduled) -> Result<Option<Outcome>, DbError> {
    let mut rng = invocation.rng();
    let (token, code) = (LinkToken::random(&mut rng), EmailCode::random(&mut rng));
    let claimed = outbox::claim(&app.database, &token.hash(), &app.codes.hash(&code)).await?;
    let Some(ClaimedMail { id, user, recipient, attempts, kind }) = claimed else { return Ok(None) };
    let link = |page| Link { page, token: &token };
    let mail = match &kind {
        MailKind::PasswordReset { page } => &Mail::PasswordReset(link(page)),
        MailKind::PasswordChanged => &Mail::PasswordChanged,
        MailKind::Verification { page } => &Mail::Verification(link(page), &code),
        MailKind::SignUpAttempted => &Mail::SignUpAttempted,
        MailKind::EmailChange { page } => &Mail::EmailChange(link(page)),
        MailKind::EmailChangeRequested => &Mail::EmailChangeRequested,
        MailKind::EmailChanged { page } => &Mail::EmailChanged(link(page)),
        MailKind::EmailRestored => &Mail::EmailRestored,
        MailKind::TotpAdded { page } => &Mail::TotpAdded(link(page)),
        MailKind::TotpRemoved => &Mail::TotpRemoved,
        MailKind::PasskeyAdded { page } => &Mail::PasskeyAdded(link(page)),
        MailKind::PasskeyRemoved => &Mail::PasskeyRemoved,
        MailKind::PasskeyCopied => &Mail::PasskeyCopied,
        MailKind::RecoveryCodeUsed { left } => &Mail::RecoveryCodeUsed { left: *left },
        MailKind::RecoveryCodesReplaced => &Mail::RecoveryCodesReplaced,
        MailKind::SecondFactorFailed => &Mail::SecondFactorFailed,
        MailKind::AccountDeleted { page, erase_at } => &Mail::AccountDeleted { link: link(page), erase_at: *erase_at },
        MailKind::Obsolete => {
            return outbox::delete(&app.database, user.id, id).await.map(|()| Some(Outcome::Obsolete));
        }
    };
    let attempted = app.mailer.attempt_to(&recipient, id, &user, mail, policy::MAIL_DEADLINE).await;
    info!(user_id = user.id.0, attempts, outcome = ?attempted, "tried to send a mail");
    Ok(Some(Outcome::Attempted(attempted)))
}

/// Ends sessions in DynamoDB that a request could not end. Tries each user once. Stops after some failures, because then DynamoDB is probably not
/// available. Returns the last failure.
async fn settle_session_endings(app: &App) -> Result<Option<DbError>, DbError> {
    let (mut last, mut failures) = (UserId(i64::MIN), Vec::new());
    while deadline::remaining() > policy::SWEEP_RESERVE
        && failures.len() < policy::SWEEP_FAILURES
        && let Some((user, version)) = app.endings.next_owed(last).await?
    {
        last = user;
        if let Err(problem) = app.endings.settle(user, version).await {
            error!(user_id = user.0, %problem, "sessions could not be ended after a change of credentials, and are ended by a later sweep");
            failures.push(problem);
        }
    }
    Ok(failures.pop())
}

/// Erases the accounts that are due. Stops after some failures of a store that is not available. Returns the last failure of any kind. Runs after the
/// mails were tried, because the mail about a deletion comes before the erasure.
async fn erase_accounts(app: &App, report: &mut Report) -> Result<Option<DbError>, DbError> {
    let (mut last_failure, mut outages) = (None, 0);
    for account in app.erasures.due().await? {
        if deadline::remaining() <= policy::SWEEP_RESERVE_AFTER_ERASURES || outages >= policy::SWEEP_FAILURES {
            break;
        }
        match app.erasures.erase(account).await {
            Ok(is_erased) => report.accounts_erased += u32::from(is_erased),
            Err(problem) => {
                error!(user_id = account.user.0, %problem, "an account could not be erased, and is erased by a later sweep");
                outages += usize::from(matches!(problem, DbError::Unavailable(_)));
                last_failure = Some(problem);
            }
        }
    }
    Ok(last_failure)
}

/// Deletes a table's expired rows in batches while there is time.
async fn delete(app: &App, table: ExpiringTable) -> Result<i64, DbError> {
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

/// What an invocation did. [`log_swept`] logs some of the numbers under these names.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Mails that were sent.
    mails_sent: u32,
    /// Mails that SES did not accept. They stay in the outbox.
    mails_failed: u32,
    /// Mails that SES refuses permanently. They are not tried again.
    mails_refused: u32,
    /// Mails whose link is obsolete. They were not sent.
    mails_void: u32,
    /// Mails in the outbox at the end, whether or not they are due.
    mails_owed: i64,
    /// Mails that could not be sent before they expired.
    mails_given_up: i64,
    /// Users whose sessions in DynamoDB must still end.
    sessions_owed: i64,
    /// Accounts that were erased.
    accounts_erased: u32,
    /// Expired rows that were deleted.
    sessions_deleted: i64,
    password_resets_deleted: i64,
    counters_deleted: i64,
    links_deleted: i64,
    factor_rows_deleted: i64,
}

struct App {
    database: Database,
    endings: SessionEndings,
    erasures: Erasures,
    mailer: Mailer,
    codes: EmailCodes,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            endings: SessionEndings::from_env(&env, &database)?,
            erasures: Erasures::from_env(&env, &database)?,
            mailer: Mailer::from_env(&env, database.clone())?,
            database,
            codes: EmailCodes::from_env(&env)?,
        })
    }
}
