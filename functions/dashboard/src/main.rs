//! `GET /api/dashboard`: an example of a protected route.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    db::Database,
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    sessions::{Authenticated, Sessions},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, dashboard).await
}

async fn dashboard(app: &App, request: Request) -> Result<Reply, ApiError> {
    let Authenticated { user, .. } = app.sessions.authenticate(&request).await?;
    let message = format!("Welcome {}!", user.name);
    Ok(Reply::ok(&Dashboard { message, user: Profile { name: user.name, email: user.email } }))
}

#[derive(Serialize)]
struct Dashboard {
    message: String,
    user: Profile,
}

#[derive(Serialize)]
struct Profile {
    name: String,
    email: String,
}

struct App {
    sessions: Sessions,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        Ok(Self { sessions: Sessions::from_env(&env, Database::from_env(&env)?)? })
    }
}
