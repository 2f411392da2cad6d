//! `POST /api/reset-password/{token}`: sets a new password and ends every session of the user. It does not sign in.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    config::{self, ConfigError, Environment},
    counters::{Counters, Table, counters},
    db::{Database, password_resets},
    domain::MailId,
    error::ApiError,
    http::{Message, Reply, Request},
    mail::{Mail, Mailer},
    outbox::Outbox,
    runtime::run,
    security::{PasswordHasher, PasswordRules, ResetToken, policy, throttle::Attempt},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, reset_password).await
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
    rules: PasswordRules,
    hasher: PasswordHasher,
    outbox: Outbox,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::new(config::Database::from_env(&env)?);
        let table = Table::new(config::StateTable::from_env(&env)?).await;
        Ok(Self {
            counters: counters(table, &database),
            outbox: Outbox::new(database.clone(), Mailer::new(config::Mail::from_env(&env)?).await),
            database,
            rules: PasswordRules::new(&config::PasswordRules::from_env(&env)?),
            hasher: PasswordHasher::new(),
        })
    }
}

async fn reset_password(app: &App, request: Request) -> Result<Reply, ApiError> {
    let [password] = request.texts(["password"])?;
    let password = password.ok_or(ApiError::NewPasswordRequired)?;
    let token = request.path_token().and_then(ResetToken::parse).ok_or(ApiError::InvalidOrExpiredToken)?.hash();

    app.counters.count(Attempt::ResetPassword, &request.source(), request.now()).await?;
    // The token is looked up first and used up last: a password that breaks a rule leaves the link good.
    let account = password_resets::find(&app.database, &token).await?.ok_or(ApiError::InvalidOrExpiredToken)?;
    let password = app.rules.accept(&password, &account.name, &account.email)?;
    let hash = app.hasher.hash(password, &mut request.rng()).await?;
    let notice = MailId::random(&mut request.rng());
    if !password_resets::redeem(&app.database, &token, account.id, &hash, notice).await? {
        return Err(ApiError::InvalidOrExpiredToken);
    }
    audit::record(Event::PasswordReset, Some(account.id));

    // What was committed stands, and the notice is owed, whatever becomes of this attempt.
    app.outbox.attempt(notice, account.id, &account.email, Mail::password_changed(), policy::MAIL_DEADLINE).await;
    Ok(Reply::ok(&Message { message: "Password reset successful" }))
}
