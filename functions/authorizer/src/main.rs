//! The Lambda authorizer for routes of other functions (HTTP API, payload format 2.0, simple response). It lets a request through if its access token
//! is valid and its session is live, and passes the ids of the user and the session on to the route's function. See `docs/authorizer.md`.

use std::process::ExitCode;

use shared::{
    environment::{ConfigError, Environment},
    error::ApiError,
    http::Request,
    runtime::run_authorizer,
    sessions::{Authenticated, Sessions},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_authorizer(App::from_env, authorize).await
}

async fn authorize(app: &App, request: Request) -> Result<Authenticated, ApiError> {
    app.sessions.authenticate(&request).await
}

struct App {
    sessions: Sessions,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        Ok(Self { sessions: Sessions::from_env(&env, None)? })
    }
}
