//! `POST /api/forgot-password`: mails a link to reset the password. Its answer tells nobody whether there is an account: the same
//! bytes after the same time (OWASP Forgot Password cheat sheet).

use std::{process::ExitCode, time::Duration};

use shared::{
    audit::{self, Event},
    config::{self, ConfigError, Environment},
    db::{Database, password_resets},
    domain::EmailLookup,
    error::ApiError,
    http::{JsonObject, Message, Reply, Request},
    mail::{Mail, Mailer},
    runtime::run,
    security::{Floor, ResetToken, policy, throttle::Attempt},
    state::{self, Table, Throttle},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, forgot_password).await
}

struct App {
    database: Database,
    throttle: Box<dyn Throttle>,
    mailer: Mailer,
    floor: Duration,
    reset_url: Option<String>,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let config::ForgotPassword { floor, reset_url } = config::ForgotPassword::from_env(&env)?;
        let database = Database::new(config::Database::from_env(&env)?);
        let table = Table::new(config::StateTable::from_env(&env)?).await;
        Ok(Self {
            throttle: state::throttle(table.as_ref(), &database),
            database,
            mailer: Mailer::new(config::Mail::from_env(&env)?).await,
            floor,
            reset_url,
        })
    }
}

fn parse(body: &JsonObject) -> Result<EmailLookup, ApiError> {
    body.text("email").map(EmailLookup::new).ok_or(ApiError::EmailRequired)
}

async fn forgot_password(app: &App, request: Request) -> Result<Reply, ApiError> {
    let email = parse(&request.json_object()?)?;
    let floor = Floor::start(app.floor);
    let outcome = send_link(app, &request, &email, floor).await;
    floor.reached().await;
    outcome.map(|()| Reply::ok(&Message { message: "Password reset email sent" }))
}

async fn send_link(app: &App, request: &Request, email: &EmailLookup, floor: Floor) -> Result<(), ApiError> {
    app.throttle.count(Attempt::ForgotPassword, &request.source(), request.now()).await??;
    let page = reset_page(app, request)?;
    let token = ResetToken::random(&mut request.rng());
    let account = password_resets::request(&app.database, email, &token.hash(), policy::RESET_TOKEN_LIFETIME).await?;
    let Some(account) = account else { return Ok(()) };
    audit::record(Event::PasswordResetRequested, Some(account.id));

    let mail = Mail::password_reset(&format!("{page}/{}", token.to_link_text()), policy::RESET_TOKEN_LIFETIME);
    // Within the floor, so that its time does not show; without a floor, there is nothing to hide it in.
    let within = floor.remaining().saturating_sub(policy::FLOOR_MARGIN);
    let deadline = if app.floor.is_zero() { policy::MAIL_DEADLINE } else { within };
    if let Err(problem) = app.mailer.send(&account.email, mail, deadline).await {
        tracing::error!(user_id = account.id.0, %problem, "the reset mail was not sent");
    }
    Ok(())
}

/// The page a mail's link leads to, without the token.
fn reset_page(app: &App, request: &Request) -> Result<String, ApiError> {
    let own = || request.domain_name().map(|host| format!("https://{host}/reset-password"));
    let page = app.reset_url.clone().or_else(own);
    page.ok_or_else(|| ApiError::Internal("RESET_PASSWORD_URL is not set, and the event has no domainName".into()))
}
