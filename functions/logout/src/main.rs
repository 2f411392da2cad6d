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
    state::{self, Revocations, Table},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, logout).await
}

struct App {
    database: Database,
    revocations: Box<dyn Revocations>,
    tokens: Tokens,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::new(config::Database::from_env(&env)?);
        let table = Table::new(config::StateTable::from_env(&env)?).await;
        Ok(Self {
            revocations: state::revocations(table.as_ref(), &database),
            database,
            tokens: Tokens::new(&config::Tokens::from_env(&env)?),
        })
    }
}

async fn logout(app: &App, request: Request) -> Result<Reply, ApiError> {
    let token = app.tokens.verify_access(request.bearer_token()?, request.now())?;
    app.revocations.deny_session(token.session_id, request.now()).await?;
    match sessions::end(&app.database, token).await? {
        Ended::Now => {
            audit::record(Event::SignedOut, Some(token.user_id));
            Ok(Reply::ok(&Message { message: "Logout successful. Tokens revoked." }))
        }
        Ended::Before => Err(ApiError::TokenRevoked),
        Ended::UserGone => Err(ApiError::UserNotFound),
    }
}
