//! A Lambda authorizer for the routes of other functions (HTTP API, payload format 2.0, simple response): it lets a request through whose
//! access token is good and whose session lives, and tells the route's function whose it is. See `docs/authorizer.md`.

use std::process::ExitCode;

use shared::{
    config::{self, ConfigError, Environment},
    db::Database,
    error::ApiError,
    http::Request,
    runtime::run_authorizer,
    security::{Tokens, token::Verified},
    state::{Revocations, Table},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_authorizer(App::from_env, authorize).await
}

struct App {
    revocations: Box<dyn Revocations>,
    tokens: Tokens,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let tokens = Tokens::new(&config::Tokens::from_env(&env)?);
        // With a table it needs no database, nor a way to one.
        let revocations: Box<dyn Revocations> = match Table::new(config::StateTable::from_env(&env)?).await {
            Some(table) => Box::new(table),
            None => Box::new(Database::new(config::Database::from_env(&env)?)),
        };
        Ok(Self { revocations, tokens })
    }
}

async fn authorize(app: &App, request: Request) -> Result<Verified, ApiError> {
    let token = app.tokens.verify_access(request.bearer_token()?, request.now())?;
    if app.revocations.is_live(token, request.now()).await? { Ok(token) } else { Err(ApiError::TokenRevoked) }
}
