//! `POST /api/forgot-password`: mails a link to reset the password. The answer does not reveal whether there is an account: with and without one, it
//! has the same bytes and takes the same time (OWASP Forgot Password cheat sheet). If the account is deleted, the link keeps it.

use std::{process::ExitCode, time::Duration};

use shared::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{
        Database,
        password_resets::{self, RequestedMail, ResetRequest},
    },
    domain::{EmailLookup, MailId},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::{Link, LinkPages, Mail, Mailer, ResetPage},
    runtime::run,
    security::{Attempt, LinkToken, MinimumDuration, sign_up_privacy},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, forgot_password).await
}

async fn forgot_password(app: &App, request: Request) -> Result<Reply, ApiError> {
    let connection = app.database.connection_of_request();
    let email = email(&request)?;
    let minimum = MinimumDuration::start(app.minimum_duration);
    // This refusal depends on the source alone and reveals nothing about the address, so it does not wait.
    app.counters.count(Attempt::ForgotPassword, &request.source(), request.arrived_at()).await?;
    let outcome = send_link(app, &request, &email, minimum).await;
    drop(connection);
    minimum.wait().await;
    outcome.map(|()| Reply::ok(&Message { message: "Password reset email sent" }))
}

fn email(request: &Request) -> Result<EmailLookup, ApiError> {
    let [email] = request.texts(["email"])?;
    email.as_deref().map(EmailLookup::new).ok_or(ApiError::EmailRequired)
}

async fn send_link(
    app: &App,
    request: &Request,
    email: &EmailLookup,
    minimum: MinimumDuration,
) -> Result<(), ApiError> {
    let (page, keep_page) = (app.reset_page.url(request)?, app.pages.page(request, "keep-account")?);
    let (token, attempt) = (LinkToken::random(&mut request.rng()), MailId::random(&mut request.rng()));
    let reset = ResetRequest { email, token: &token.hash(), mail: attempt, page: &page, keep_page: &keep_page };
    let requested = password_resets::request(&app.database, reset).await?;
    let Some(RequestedMail { user, erase_at }) = requested else { return Ok(()) };
    audit::record(Event::PasswordResetRequested, Some(user.id));

    // The mail is in the outbox now. This is the first attempt to send it, and `sweep` makes the others.
    let mail = match erase_at {
        None => Mail::PasswordReset(Link { page: &page, token: &token }),
        Some(erase_at) => Mail::AccountDeleted { link: Link { page: &keep_page, token: &token }, erase_at },
    };
    app.mailer.attempt(attempt, &user, &mail, minimum.time_for_mail()).await;
    Ok(())
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
    mailer: Mailer,
    minimum_duration: Duration,
    reset_page: ResetPage,
    pages: LinkPages,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            counters: counters::from_env(&env, &database)?,
            mailer: Mailer::from_env(&env, database.clone())?,
            database,
            minimum_duration: sign_up_privacy::minimum_duration(&env)?,
            reset_page: ResetPage::from_env(&env)?,
            pages: LinkPages::from_env(&env)?,
        })
    }
}
