//! `/api/change-email` and `/api/undo-email-change`: changes the address of an account. A signed-in user requests the change. The new mailbox and the
//! password prove it. For three days, the earlier mailbox can undo it, whatever has happened to the account since.

use std::{process::ExitCode, time::Duration};

use shared::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{
        Database,
        email_changes::{self, EmailChange, EmailChangeRequest, EmailUndo, Requested},
    },
    domain::{Email, EmailChangeId, MailId, PresentedSession},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::{Link, LinkPages, Mail, Mailer, ResetPage},
    proofs::PasswordProofs,
    runtime::run,
    security::{Attempt, LinkToken, MailBudget, MinimumDuration, PasswordLink, policy, sign_up_privacy},
    sessions::{SessionEndings, Sessions},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, change_email).await
}

async fn change_email(app: &App, request: Request) -> Result<Reply, ApiError> {
    match request.route() {
        "POST /api/change-email" => request_change(app, &request).await,
        "POST /api/change-email/{token}" => change(app, &request).await,
        "POST /api/undo-email-change/{token}" => undo(app, &request).await,
        _ => Err(ApiError::unknown_route()),
    }
}

/// The answer does not reveal whether the new address has an account: with and without one, it has the same bytes and takes the same time.
async fn request_change(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let connection = app.database.connection_of_request();
    let session = app.sessions.authenticate_fresh(request).await?.presented();
    let email = new_address(request)?;
    let minimum = MinimumDuration::start(app.minimum_duration);
    let outcome = send_mails(app, request, session, &email, minimum).await;
    drop(connection);
    minimum.wait().await;
    outcome.map(|()| Reply::accepted(&Message { message: "Verification email sent" }))
}

fn new_address(request: &Request) -> Result<Email, ApiError> {
    let [email] = request.texts(["email"])?;
    Ok(Email::parse(&email.ok_or(ApiError::EmailRequired)?)?)
}

/// Stores the request and tries to send its mails. They are in the outbox then, so `sweep` sends what this attempt cannot send.
async fn send_mails(
    app: &App,
    request: &Request,
    session: PresentedSession,
    email: &Email,
    minimum: MinimumDuration,
) -> Result<(), ApiError> {
    let page = app.pages.page(request, "change-email")?;
    let mut rng = request.rng();
    let (token, mail, notice) = (LinkToken::random(&mut rng), MailId::random(&mut rng), MailId::random(&mut rng));
    let (token_hash, source, budget) = (token.hash(), request.source(), app.budget);
    let change =
        EmailChangeRequest { session, email, token: &token_hash, page: &page, mail, notice, source: &source, budget };
    let requested = email_changes::request(&app.database, change).await?;
    let requested = app.sessions.or_refuse(&app.database, session.user_id, requested).await?;
    let (user, mail_is_owed, notice_is_owed) = match requested {
        Requested::Pending { user, mail_is_owed, notice_is_owed } => (user, mail_is_owed, notice_is_owed),
        Requested::Limited { is_over_budget } => {
            if is_over_budget {
                MailBudget::report_used_up(Some(session.user_id));
            }
            return Ok(());
        }
        Requested::Unchanged => return Err(ApiError::EmailUnchanged),
    };
    audit::record(Event::EmailChangeRequested, Some(user.id));

    let limit = minimum.time_for_mail();
    let proof = async {
        if mail_is_owed {
            let mail_to_prove = Mail::EmailChange(Link { page: &page, token: &token });
            app.mailer.attempt_to(email.as_str(), mail, &user, &mail_to_prove, limit).await;
        }
    };
    let notice = async {
        if notice_is_owed {
            app.mailer.attempt(notice, &user, &Mail::EmailChangeRequested, limit).await;
        }
    };
    tokio::join!(proof, notice);
    Ok(())
}

/// Changes the address for somebody who has the mail to the new address and knows the password. The user stays signed in.
async fn change(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    let [password] = request.texts(["password"])?;
    let password = password.ok_or(ApiError::MissingRequiredFields)?;
    let token = request.link_token()?;
    let proof = app.proofs.prove_with_link(PasswordLink::EmailChange(&token), request, &password).await?;
    let (undo_page, mut rng) = (app.pages.page(request, "undo-email-change")?, request.rng());
    let (id, undo, mail) = (EmailChangeId::random(&mut rng), LinkToken::random(&mut rng), MailId::random(&mut rng));
    let change = EmailChange {
        token: &token,
        user: &proof.user,
        id,
        undo: &undo.hash(),
        undo_page: &undo_page,
        mail,
        counters_to_clear: &proof.counters,
    };
    let earlier = email_changes::change(&app.database, change).await?.ok_or(ApiError::InvalidOrExpiredToken)?;
    audit::record(Event::EmailChanged, Some(proof.user.id));
    let notice = Mail::EmailChanged(Link { page: &undo_page, token: &undo });
    let sent = app.mailer.attempt_to(&earlier, mail, &proof.user, &notice, policy::MAIL_DEADLINE);
    let (_, told) = tokio::join!(sent, app.sessions.tell_verified(&proof.user));
    told?;
    Ok(Reply::ok(&Message { message: "Email address changed" }))
}

/// Restores the earlier address and ends all sessions. Whoever changed the address may know the password, so the owner also gets a link to reset it.
async fn undo(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    let token = request.link_token()?;
    let (reset_page, mut rng) = (app.reset_page.url(request)?, request.rng());
    let (reset, mail, notice) = (LinkToken::random(&mut rng), MailId::random(&mut rng), MailId::random(&mut rng));
    let undo = EmailUndo {
        token: &token,
        reset: &reset.hash(),
        reset_page: &reset_page,
        mail,
        notice,
        factor_notice: MailId::random(&mut rng),
        factor_page: &app.pages.page(request, "undo-factor")?,
    };
    let Some(restored) = email_changes::undo(&app.database, undo).await? else {
        app.counters.count(Attempt::UndoEmailChange, &request.source(), request.arrived_at()).await?;
        return Err(ApiError::InvalidOrExpiredToken);
    };
    let user = restored.user;
    audit::record(Event::EmailRestored, Some(user.id));
    app.endings.settle(user.id, user.credential_version).await?;

    let reset_mail = Mail::PasswordReset(Link { page: &reset_page, token: &reset });
    let notice = async {
        if let Some(replaced) = restored.replaced {
            app.mailer.attempt_to(&replaced, notice, &user, &Mail::EmailRestored, policy::MAIL_DEADLINE).await;
        }
    };
    tokio::join!(app.mailer.attempt(mail, &user, &reset_mail, policy::MAIL_DEADLINE), notice);
    Ok(Reply::ok(&Message { message: "Email address restored" }))
}

struct App {
    database: Database,
    sessions: Sessions,
    endings: SessionEndings,
    counters: Box<dyn Counters>,
    proofs: PasswordProofs,
    mailer: Mailer,
    pages: LinkPages,
    reset_page: ResetPage,
    minimum_duration: Duration,
    budget: MailBudget,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?.with_unverified_accounts(),
            endings: SessionEndings::from_env(&env, &database)?,
            counters: counters::from_env(&env, &database)?,
            proofs: PasswordProofs::from_env(&env, &database)?,
            mailer: Mailer::from_env(&env, database.clone())?,
            pages: LinkPages::from_env(&env)?,
            reset_page: ResetPage::from_env(&env)?,
            minimum_duration: sign_up_privacy::minimum_duration(&env)?,
            budget: MailBudget::from_env(&env)?,
            database,
        })
    }
}
