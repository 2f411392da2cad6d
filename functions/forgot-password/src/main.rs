//! `POST /api/forgot-password`: mails a link to reset the password. Its answer tells nobody whether there is an account: the same
//! bytes after the same time (OWASP Forgot Password cheat sheet).

use std::{process::ExitCode, time::Duration};

use shared::{
    audit::{self, Event},
    config::{self, ConfigError, Environment},
    counters::{Counters, Table, counters},
    db::{
        Database,
        password_resets::{self, ResetRequest},
    },
    domain::{EmailLookup, MailId},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::{Mail, Mailer},
    outbox::Outbox,
    runtime::run,
    security::{Floor, ResetToken, policy, throttle::Attempt},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, forgot_password).await
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
    outbox: Outbox,
    floor: Duration,
    reset_url: Option<String>,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let config::ForgotPassword { floor, reset_url } = config::ForgotPassword::from_env(&env)?;
        let database = Database::new(config::Database::from_env(&env)?);
        let table = Table::new(config::StateTable::from_env(&env)?).await;
        Ok(Self {
            counters: counters(table, &database),
            outbox: Outbox::new(database.clone(), Mailer::new(config::Mail::from_env(&env)?).await),
            database,
            floor,
            reset_url,
        })
    }
}

fn parse(request: &Request) -> Result<EmailLookup, ApiError> {
    let [email] = request.texts(["email"])?;
    email.as_deref().map(EmailLookup::new).ok_or(ApiError::EmailRequired)
}

async fn forgot_password(app: &App, request: Request) -> Result<Reply, ApiError> {
    let email = parse(&request)?;
    let floor = Floor::start(app.floor);
    // This refusal depends on the source alone, so it is answered at once. It tells nothing about the address.
    app.counters.count(Attempt::ForgotPassword, &request.source(), request.now()).await?;
    let outcome = send_link(app, &request, &email, floor).await;
    floor.reached().await;
    outcome.map(|()| Reply::ok(&Message { message: "Password reset email sent" }))
}

async fn send_link(app: &App, request: &Request, email: &EmailLookup, floor: Floor) -> Result<(), ApiError> {
    let page = reset_page(app, request)?;
    let (token, attempt) = (ResetToken::random(&mut request.rng()), MailId::random(&mut request.rng()));
    let reset = ResetRequest { email, token: &token.hash(), mail: attempt, page: &page };
    let Some(account) = password_resets::request(&app.database, reset).await? else { return Ok(()) };
    audit::record(Event::PasswordResetRequested, Some(account.id));

    // From here on the mail is owed: one attempt is made now, and `sweep` makes the others. Within the floor, so that its time does not
    // show; without a floor, there is nothing to hide it in.
    let mail = Mail::password_reset(&page, &token, policy::RESET_TOKEN_LIFETIME);
    let within = floor.remaining().saturating_sub(policy::FLOOR_MARGIN);
    let limit = if app.floor.is_zero() { policy::MAIL_DEADLINE } else { within };
    app.outbox.attempt(attempt, account.id, &account.email, mail, limit).await;
    Ok(())
}

/// The page a mail's link leads to, without the token.
fn reset_page(app: &App, request: &Request) -> Result<String, ApiError> {
    let own = || request.domain_name().map(|host| format!("https://{host}/reset-password"));
    let page = app.reset_url.clone().or_else(own);
    page.ok_or_else(|| ApiError::Internal("RESET_PASSWORD_URL is not set, and the event has no domainName".into()))
}
