//! `GET /api/dashboard`: a protected route. Copy it for your own.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    config::{self, ConfigError, Environment},
    db::{
        Database,
        users::{self, Bearer},
    },
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::Tokens,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, dashboard).await
}

struct App {
    database: Database,
    tokens: Tokens,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            database: Database::new(config::Database::from_env(&env)?),
            tokens: Tokens::new(&config::Tokens::from_env(&env)?),
        })
    }
}

#[derive(Serialize)]
struct Dashboard {
    message: String,
    user: User,
}

#[derive(Serialize)]
struct User {
    name: String,
    email: String,
}

async fn dashboard(app: &App, request: Request) -> Result<Reply, ApiError> {
    let token = app.tokens.verify_access(request.bearer_token()?, request.now())?;
    match users::find_bearer(&app.database, token.user_id, token.session_id).await? {
        Bearer::Live(users::Profile { name, email }) => {
            Ok(Reply::ok(&Dashboard { message: format!("Welcome {name}!"), user: User { name, email } }))
        }
        Bearer::SessionEnded => Err(ApiError::TokenRevoked),
        Bearer::UserGone => Err(ApiError::UserNotFound),
    }
}
