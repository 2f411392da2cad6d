//! `POST /api/signin/second-factor`: completes a sign-in of an account that has a second factor.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    counters::{self, Counters},
    db::Database,
    domain::{Methods, SignInCounters},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    second_factors::{SecondFactor, SecondFactors, ShownFactor},
    security::{LinkToken, token::SignedIn},
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, signin_second_factor).await
}

async fn signin_second_factor(app: &App, request: Request) -> Result<Reply, ApiError> {
    let Body { token, factor } = Body::parse(&request)?;
    let shown = app.factors.show_at_sign_in(&app.sessions, &request, &token, &factor).await?;
    let ShownFactor { user, methods, recovery_codes_left } = shown;
    let counters = SignInCounters::of(&user, &request.source());
    let open = app.sessions.open_with_factor(&request, &app.database, &user, Methods::PASSWORD.and(methods));
    let (tokens, cleared) = tokio::join!(open, app.counters.clear_failures(&counters));
    let tokens = tokens?;
    counters::log_uncleared(user.id, cleared);
    Ok(Reply::ok(&Completed { signed_in: SignedIn::of(user, tokens), recovery_codes_left }))
}

/// The token of the sign-in, and the factor.
struct Body {
    token: LinkToken,
    factor: SecondFactor,
}

impl Body {
    fn parse(request: &Request) -> Result<Self, ApiError> {
        let [token, totp, recovery_code] = request.texts(["mfa_token", "totp", "recovery_code"])?;
        let token = token.ok_or(ApiError::MissingRequiredFields)?;
        let factor = SecondFactor::parse(totp, recovery_code, request.value("passkey")?)?;
        Ok(Self { token: LinkToken::parse(&token).ok_or(ApiError::InvalidMfaToken)?, factor })
    }
}

#[derive(Serialize)]
struct Completed {
    #[serde(flatten)]
    signed_in: SignedIn,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes_left: Option<i64>,
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
    sessions: Sessions,
    factors: SecondFactors,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            counters: counters::from_env(&env, &database)?,
            sessions: Sessions::from_env(&env, Some(&database))?,
            factors: SecondFactors::from_env(&env, &database)?,
            database,
        })
    }
}
