//! `POST /api/refresh`: exchanges a refresh token for its successor and a new access token (RFC 6749 §6, with rotation as in RFC 9700 §4.14.2).

use std::process::ExitCode;

use shared::{
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::token::TokensWithMessage,
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, refresh).await
}

async fn refresh(app: &App, request: Request) -> Result<Reply, ApiError> {
    let tokens = app.sessions.refresh(&request).await?;
    Ok(Reply::ok(&TokensWithMessage { message: "Token refreshed successfully", tokens }))
}

struct App {
    sessions: Sessions,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        Ok(Self { sessions: Sessions::from_env(&env, None)?.with_unverified_accounts() })
    }
}
