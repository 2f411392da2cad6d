//! `POST /api/logout`: ends the session of the access token, and with it every token of that session, at once.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    config::{self, ConfigError, Environment},
    db::{
        Database,
        sessions::{self, Ended},
    },
    error::ApiError,
    http::{Message, Reply, Request},
    runtime::run,
    security::Tokens,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, logout).await
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

async fn logout(app: &App, request: Request) -> Result<Reply, ApiError> {
    // An access token past its time still names the session that its owner wants to end.
    let token = app.tokens.verify_access_of_any_age(request.bearer_token()?, request.now())?;
    match sessions::end(&app.database, token).await? {
        Ended::Now => {
            audit::record(Event::SignedOut, Some(token.user_id));
            Ok(Reply::ok(&Message { message: "Logout successful. Tokens revoked." }))
        }
        Ended::Before => Err(ApiError::TokenRevoked),
        Ended::UserGone => Err(ApiError::UserNotFound),
    }
}
