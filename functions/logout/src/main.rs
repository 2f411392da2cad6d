//! `POST /api/logout`: ends the session of the access token. Every token of the session is invalid from then on.

use std::process::ExitCode;

use shared::{
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    runtime::run,
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, logout).await
}

async fn logout(app: &App, request: Request) -> Result<Reply, ApiError> {
    app.sessions.end(&request).await?;
    Ok(Reply::ok(&Message { message: "Logout successful. Tokens revoked." }))
}

struct App {
    sessions: Sessions,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        Ok(Self { sessions: Sessions::from_env(&env, None)?.with_unverified_accounts() })
    }
}
