//! `GET /api/dashboard`: an example of a protected route.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    db::Database,
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, dashboard).await
}

async fn dashboard(app: &App, request: Request) -> Result<Reply, ApiError> {
    let (_, user) = app.sessions.authenticate_user(&request, &app.database).await?;
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
    database: Database,
    sessions: Sessions,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self { sessions: Sessions::from_env(&env, Some(&database))?, database })
    }
}
