//! `/api/signin/passkey`: opens a session for a user who shows a passkey. Neither an address nor a password is needed, because the passkey names the
//! account, and its authenticator has verified the user.

use std::process::ExitCode;

use shared::{
    db::{
        Database,
        factors::attempts::{self, FactorUse},
    },
    domain::{FactorChangeId, MailId, Methods},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    passkeys::{self, Passkeys, ShownPasskey},
    runtime::run,
    security::{
        token::SignedIn,
        webauthn::{Purpose, Rejected},
    },
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, signin_passkey).await
}

async fn signin_passkey(app: &App, request: Request) -> Result<Reply, ApiError> {
    let passkeys = app.passkeys.as_ref().ok_or(ApiError::PasskeysNotConfigured)?;
    match request.route() {
        "POST /api/signin/passkey/options" => Ok(Reply::ok(&passkeys.request_options(&request, Purpose::SignIn, &[]))),
        "POST /api/signin/passkey" => sign_in(app, &request, passkeys).await,
        _ => Err(ApiError::unknown_route()),
    }
}

async fn sign_in(app: &App, request: &Request, passkeys: &Passkeys) -> Result<Reply, ApiError> {
    let assertion = passkeys::parse(request.object()?)?;
    let shown = passkeys.verify_assertion(request, Purpose::SignIn, &assertion, None).await?;
    let ShownPasskey { user, counters, factor } = shown;
    let mut rng = request.rng();
    let (change, notice) = (FactorChangeId::random(&mut rng), MailId::random(&mut rng));
    let used = attempts::use_factor(&app.database, &user, &counters, None, factor, change, notice).await?;
    let FactorUse::UsedUp { .. } = used else {
        return Err(passkeys::rejected(Rejected::Replayed, Some(user.id)));
    };
    let tokens = app.sessions.open_with_factor(request, &app.database, &user, Methods::PASSKEY_ALONE).await?;
    Ok(Reply::ok(&SignedIn::of(user, tokens)))
}

struct App {
    database: Database,
    sessions: Sessions,
    passkeys: Option<Passkeys>,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?,
            passkeys: Passkeys::from_env(&env, &database)?,
            database,
        })
    }
}
