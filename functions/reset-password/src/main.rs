//! `POST /api/reset-password/{token}`: sets a new password and ends every session of the user. It opens no new session: the
//! user must sign in afterwards.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{Database, password_resets, users::Account},
    domain::{MailId, User},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::{Mail, Mailer},
    runtime::run,
    security::{Attempt, LinkTokenHash, Password, PasswordHasher, PasswordRules, policy},
    sessions::SessionEndings,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, reset_password).await
}

async fn reset_password(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    let [password] = request.texts(["password"])?;
    let password = password.ok_or(ApiError::NewPasswordRequired)?;
    let token = request.link_token()?;

    app.counters.count(Attempt::ResetPassword, &request.source(), request.arrived_at()).await?;
    match password_resets::find(&app.database, &token).await?.ok_or(ApiError::InvalidOrExpiredToken)? {
        password_resets::ResetToken::Valid(user) => redeem(app, &request, &token, &user, &password).await?,
        password_resets::ResetToken::Redeemed(account) => complete(app, &account, &password).await?,
    }
    Ok(Reply::ok(&Message { message: "Password reset successful" }))
}

/// Sets the password, ends the user's sessions, and tries to send the notice.
async fn redeem(
    app: &App,
    request: &Request,
    token: &LinkTokenHash,
    user: &User,
    password: &str,
) -> Result<(), ApiError> {
    // The token is used up last, so it stays valid if the password breaks a rule.
    let password = app.rules.accept(password, &user.name, &user.email)?;
    let hash = app.hasher.hash(password, &mut request.rng()).await?;
    let notice = MailId::random(&mut request.rng());
    let keep_token = app.endings.are_in_table();
    let version = password_resets::redeem(&app.database, token, user.id, &hash, notice, keep_token).await?;
    let version = version.ok_or(ApiError::InvalidOrExpiredToken)?;
    audit::record(Event::PasswordReset, Some(user.id));
    app.endings.settle(user.id, version).await?;

    // The password is set and the notice is in the outbox, so the answer does not depend on whether this attempt to send the notice succeeds.
    app.mailer.attempt(notice, user, &Mail::PasswordChanged, policy::MAIL_DEADLINE).await;
    Ok(())
}

/// Completes a reset that set the password but could not end the user's sessions in DynamoDB. The client must repeat the request with the same
/// password.
async fn complete(app: &App, account: &Account, password: &str) -> Result<(), ApiError> {
    if !app.hasher.verify(&Password::new(password), Some(&account.password_hash)).await? {
        return Err(ApiError::InvalidOrExpiredToken);
    }
    Ok(app.endings.settle(account.user.id, account.user.credential_version).await?)
}

struct App {
    database: Database,
    endings: SessionEndings,
    counters: Box<dyn Counters>,
    rules: PasswordRules,
    hasher: PasswordHasher,
    mailer: Mailer,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            counters: counters::from_env(&env, &database)?,
            endings: SessionEndings::from_env(&env, &database)?,
            mailer: Mailer::from_env(&env, database.clone())?,
            database,
            rules: PasswordRules::from_env(&env)?,
            hasher: PasswordHasher::new(),
        })
    }
}
