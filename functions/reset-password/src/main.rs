//! `POST /api/reset-password/{token}`: sets a new password and ends every session of the user. It opens no new session: the
//! user must sign in afterwards.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{Database, password_resets},
    domain::MailId,
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::{Mail, Mailer},
    runtime::run,
    security::{Attempt, PasswordHasher, PasswordRules, ResetToken, policy},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, reset_password).await
}

async fn reset_password(app: &App, request: Request) -> Result<Reply, ApiError> {
    let [password] = request.texts(["password"])?;
    let password = password.ok_or(ApiError::NewPasswordRequired)?;
    let token = request.path_token().and_then(ResetToken::parse).ok_or(ApiError::InvalidOrExpiredToken)?.hash();

    app.counters.count(Attempt::ResetPassword, &request.source(), request.now()).await?;
    // The token is used up last, so it stays valid if the password breaks a rule.
    let user = password_resets::find(&app.database, &token).await?.ok_or(ApiError::InvalidOrExpiredToken)?;
    let password = app.rules.accept(&password, &user.name, &user.email)?;
    let hash = app.hasher.hash(password, &mut request.rng()).await?;
    let notice = MailId::random(&mut request.rng());
    if !password_resets::redeem(&app.database, &token, user.id, &hash, notice).await? {
        return Err(ApiError::InvalidOrExpiredToken);
    }
    audit::record(Event::PasswordReset, Some(user.id));

    // The password is set and the notice is in the outbox, so the answer does not depend on whether this attempt to send the notice succeeds.
    app.mailer.attempt(notice, user.id, &user.email, Mail::password_changed(), policy::MAIL_DEADLINE).await;
    Ok(Reply::ok(&Message { message: "Password reset successful" }))
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
    rules: PasswordRules,
    hasher: PasswordHasher,
    mailer: Mailer,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            counters: counters::from_env(&env, &database).await?,
            mailer: Mailer::from_env(&env, database.clone()).await?,
            database,
            rules: PasswordRules::from_env(&env)?,
            hasher: PasswordHasher::new(),
        })
    }
}
