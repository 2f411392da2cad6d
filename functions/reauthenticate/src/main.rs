//! `/api/reauthenticate`: proves the password or a second factor again in a session, for actions that require a recent proof (RFC 9470).

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    db::{Database, factors::passkeys::known_in_session},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    proofs::PasswordProofs,
    runtime::run,
    second_factors::{SecondFactor, SecondFactors},
    security::{
        token::{TokenReply, TokensWithMessage},
        webauthn::Purpose,
    },
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, reauthenticate).await
}

async fn reauthenticate(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    match request.route() {
        "POST /api/reauthenticate/options" => passkey_options(app, &request).await,
        "POST /api/reauthenticate" => prove(app, &request).await,
        _ => Err(ApiError::unknown_route()),
    }
}

/// Options with which a browser asks for one of the user's passkeys.
async fn passkey_options(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let passkeys = app.factors.passkeys()?;
    let session = app.sessions.presented(request).await?;
    let found = known_in_session(&app.database, session, passkeys.rp_id()).await?;
    let known = app.sessions.or_refuse(&app.database, session.user_id, found).await?;
    if known.is_empty() {
        return Err(ApiError::PasskeyNotFound);
    }
    Ok(Reply::ok(&passkeys.request_options(request, Purpose::Reauthenticate(session), &known)))
}

async fn prove(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let (tokens, recovery_codes_left) = match app.sessions.authenticate_before(request, Factor::parse(request)).await? {
        Factor::Password(password) => (by_password(app, request, &password).await?, None),
        Factor::Second(factor) => by_second_factor(app, request, &factor).await?,
    };
    let renewed = TokensWithMessage { message: "Reauthenticated", tokens };
    Ok(Reply::ok(&Reauthenticated { renewed, recovery_codes_left }))
}

/// If the account has a second factor, the password does not suffice. The attempt is then no failed one, and clears no earlier failures.
async fn by_password(app: &App, request: &Request, password: &str) -> Result<TokenReply, ApiError> {
    let started = app.proofs.begin(&app.sessions, request, false).await?;
    let proof = app.proofs.verify(&started, request, password).await?;
    if proof.factors.any() {
        app.proofs.uncount(&proof).await?;
        return Err(ApiError::SecondFactorRequired);
    }
    let (tokens, ()) = tokio::join!(app.sessions.renew(request, &proof), app.proofs.record_use(&proof));
    tokens
}

/// Also returns how many recovery codes are left, if one was used and few are left.
async fn by_second_factor(
    app: &App,
    request: &Request,
    factor: &SecondFactor,
) -> Result<(TokenReply, Option<i64>), ApiError> {
    let (session, shown) = app.factors.show_in_session(&app.sessions, request, factor).await?;
    let tokens = app.sessions.renew_with_factor(request, session, &shown.user, shown.methods).await?;
    Ok((tokens, shown.recovery_codes_left))
}

enum Factor {
    Password(String),
    Second(SecondFactor),
}

impl Factor {
    fn parse(request: &Request) -> Result<Self, ApiError> {
        let passkey = request.value("passkey")?;
        match (request.texts(["password", "totp", "recovery_code"])?, passkey) {
            ([Some(password), None, None], None) => Ok(Self::Password(password)),
            ([None, None, None], None) => Err(ApiError::MissingRequiredFields),
            ([None, totp, recovery_code], passkey) => {
                SecondFactor::parse(totp, recovery_code, passkey).map(Self::Second)
            }
            _ => Err(ApiError::MissingFactor),
        }
    }
}

#[derive(Serialize)]
struct Reauthenticated {
    #[serde(flatten)]
    renewed: TokensWithMessage,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes_left: Option<i64>,
}

struct App {
    database: Database,
    sessions: Sessions,
    proofs: PasswordProofs,
    factors: SecondFactors,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?.with_unverified_accounts(),
            proofs: PasswordProofs::from_env(&env, &database)?,
            factors: SecondFactors::from_env(&env, &database)?,
            database,
        })
    }
}
