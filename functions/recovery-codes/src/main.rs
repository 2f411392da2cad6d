//! `/api/recovery-codes`: the recovery codes of the signed-in user, which stand in for a second factor.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    audit::{self, Event},
    db::{Database, factors::recovery_codes},
    domain::{MailId, UnixTime},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::RecoveryCode,
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, recovery_codes).await
}

async fn recovery_codes(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    match request.route() {
        "GET /api/recovery-codes" => count(app, &request).await,
        "POST /api/recovery-codes" => replace(app, &request).await,
        _ => Err(ApiError::unknown_route()),
    }
}

async fn count(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let session = app.sessions.presented(request).await?;
    let found = recovery_codes::count(&app.database, session).await?;
    let codes = app.sessions.or_refuse(&app.database, session.user_id, found).await?;
    Ok(Reply::ok(&Left { left: codes.left, created_at: codes.created_at.map(UnixTime::to_rfc3339) }))
}

/// Replaces the codes. The answer is the only place where the user can read them.
async fn replace(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let (caller, _) = app.sessions.authenticate_fresh_user(request, &app.database).await?;
    let session = caller.presented();
    let mut rng = request.rng();
    let (codes, notice) = (RecoveryCode::random_set(&mut rng), MailId::random(&mut rng));
    let replaced = recovery_codes::replace(&app.database, session, &codes, notice).await?;
    let has_factor = app.sessions.or_refuse(&app.database, session.user_id, replaced).await?;
    if !has_factor {
        return Err(ApiError::NoSecondFactor);
    }
    audit::record(Event::RecoveryCodesReplaced, Some(session.user_id));
    Ok(Reply::created(&NewCodes { recovery_codes: RecoveryCode::to_texts(&codes) }))
}

#[derive(Serialize)]
struct Left {
    left: i64,
    created_at: Option<String>,
}

#[derive(Serialize)]
struct NewCodes {
    recovery_codes: Vec<String>,
}

struct App {
    database: Database,
    sessions: Sessions,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self { sessions: Sessions::from_env(&env, Some(&database))?, database })
    }
}
