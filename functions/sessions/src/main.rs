//! `/api/sessions`: lists the sessions of the signed-in user, and ends one of them or all others.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    domain::{ListedSession, SessionId},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, sessions).await
}

async fn sessions(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.sessions.connection_of_request();
    match request.route() {
        "GET /api/sessions" => list(app, &request).await,
        "DELETE /api/sessions" => end_others(app, &request).await,
        "DELETE /api/sessions/{id}" => end_one(app, &request).await,
        _ => Err(ApiError::unknown_route()),
    }
}

async fn list(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let (current, sessions) = app.sessions.list(request).await?;
    let listed = |session: ListedSession| Listed { current: session.id == current, session };
    let sessions = sessions.into_iter().map(listed).collect();
    Ok(Reply::ok(&SessionList { sessions }))
}

async fn end_others(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let caller = app.sessions.authenticate_fresh(request).await?;
    let ended = app.sessions.end_others(request, caller).await?;
    Ok(Reply::ok(&OthersEnded { message: "Other sessions ended", ended }))
}

/// Ends one session. To end the session of the request, the user need not prove the password again.
async fn end_one(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let id = request.path_id().and_then(SessionId::parse);
    let caller = app.sessions.authenticate_fresh_unless(request, |caller| id == Some(caller.session_id)).await?;
    app.sessions.end_one(request, caller.user_id, id.ok_or(ApiError::SessionNotFound)?).await?;
    Ok(Reply::no_content())
}

#[derive(Serialize)]
struct SessionList {
    sessions: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    session: ListedSession,
    /// Whether it is the session of this request.
    current: bool,
}

#[derive(Serialize)]
struct OthersEnded {
    message: &'static str,
    ended: i64,
}

struct App {
    sessions: Sessions,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        Ok(Self { sessions: Sessions::from_env(&env, None)?.with_unverified_accounts() })
    }
}
