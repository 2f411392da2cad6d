//! `POST /api/reauthenticate`: proves the password again in a session, for actions that require a recent proof (RFC 9470).

use std::process::ExitCode;

use shared::{
    db::Database,
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    proofs::PasswordProofs,
    runtime::run,
    security::token::TokensWithMessage,
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, reauthenticate).await
}

async fn reauthenticate(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    let password = app.sessions.authenticate_before(&request, password(&request)).await?;
    let started = app.proofs.begin(&app.sessions, &request, false).await?;
    let proof = app.proofs.verify(&started, &request, &password).await?;
    let (tokens, ()) = tokio::try_join!(app.sessions.renew(&request, &proof), app.proofs.forgive_in_table(&proof))?;
    Ok(Reply::ok(&TokensWithMessage { message: "Reauthenticated", tokens }))
}

fn password(request: &Request) -> Result<String, ApiError> {
    let [password] = request.texts(["password"])?;
    password.ok_or(ApiError::MissingRequiredFields)
}

struct App {
    database: Database,
    sessions: Sessions,
    proofs: PasswordProofs,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?.with_unverified_accounts(),
            proofs: PasswordProofs::from_env(&env, &database)?,
            database,
        })
    }
}
