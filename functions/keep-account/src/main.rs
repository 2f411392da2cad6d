//! `POST /api/keep-account/{token}`: keeps an account that its user has deleted. It opens no session, and it does not verify the address.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{Database, account_deletions},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    runtime::run,
    security::{Attempt, LinkToken},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, keep_account).await
}

async fn keep_account(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    let token = request.link_token()?;
    app.counters.count(Attempt::KeepAccount, &request.source(), request.arrived_at()).await?;
    let mark = LinkToken::random(&mut request.rng()).hash();
    let kept = account_deletions::keep(&app.database, &token, &mark).await?;
    let kept = kept.ok_or(ApiError::InvalidOrExpiredToken)?;
    audit::record(Event::AccountKept, kept.user);
    Ok(Reply::ok(&Message { message: "Account kept" }))
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self { counters: counters::from_env(&env, &database)?, database })
    }
}
