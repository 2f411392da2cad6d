//! A Lambda authorizer for the routes of other functions (HTTP API, payload format 2.0, simple response): it lets a request through whose
//! access token is good and whose session lives, and tells the route's function whose it is. See `docs/authorizer.md`.

use std::process::ExitCode;

use shared::{
    config::{self, ConfigError, Environment},
    db::{
        Database,
        users::{self, Bearer},
    },
    error::ApiError,
    http::Request,
    runtime::run_authorizer,
    security::{Tokens, token::Verified},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_authorizer(App::from_env, authorize).await
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

async fn authorize(app: &App, request: Request) -> Result<Verified, ApiError> {
    let token = app.tokens.verify_access(request.bearer_token()?, request.now())?;
    match users::find_bearer(&app.database, token.user_id, token.session_id).await? {
        Bearer::Live(_) => Ok(token),
        Bearer::SessionEnded | Bearer::UserGone => Err(ApiError::TokenRevoked),
    }
}
