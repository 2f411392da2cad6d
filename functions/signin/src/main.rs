//! `POST /api/signin`: opens a session for a user who knows the password.

use std::{process::ExitCode, time::Duration};

use serde::Serialize;
use shared::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{
        Database,
        factors::attempts,
        users::{self, Account},
    },
    domain::{EmailLookup, SignInCounters},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    passkeys::Passkeys,
    runtime::run,
    security::{
        LinkToken, MinimumDuration, Password, PasswordHasher, SignInAttempt, policy, sign_up_privacy,
        token::{SignedIn, TokenReply},
        webauthn::{Purpose, RequestOptions},
    },
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, signin).await
}

async fn signin(app: &App, request: Request) -> Result<Reply, ApiError> {
    let minimum = MinimumDuration::start(app.minimum_duration_of_failures);
    let credentials = Credentials::parse(&request)?;
    let outcome = sign_in(app, &request, credentials).await;
    if let Err(ApiError::InvalidCredentials) = outcome {
        minimum.wait().await;
    }
    outcome
}

async fn sign_in(app: &App, request: &Request, credentials: Credentials) -> Result<Reply, ApiError> {
    let Credentials { email, password } = credentials;
    let (source, now) = (request.source(), request.arrived_at());
    let attempt = SignInAttempt { email: &email, source: &source, only_verified: app.only_verified };
    let counted = app.counters.count_sign_in(attempt, now).await?;
    let account = counted.account.as_ref();
    // If there is no account, `verify` does the same work, so that its duration does not reveal whether there is an account. Nobody learns its result
    // if the attempt is refused.
    let (is_right, counters) = tokio::join!(
        app.hasher.verify(&password, account.map(|account| &account.password_hash)),
        app.counters.complete_sign_in_count(&counted, &source, now),
    );
    let (counters, is_right) = (counters?, is_right?);
    let Some(account) = account.filter(|_| is_right) else {
        audit::record(Event::SignInFailed, account.map(|account| account.user.id));
        return Err(ApiError::InvalidCredentials);
    };
    replace_outdated_hash(app, request, account, &password).await?;
    let user = &account.user;
    if account.factors.any() {
        return ask_for_second_factor(app, request, account, &counters).await;
    }
    let tokens = open_session(app, request, account, &counters).await?;
    Ok(Reply::ok(&SignedIn::of(user.clone(), tokens)))
}

/// Answers with a token, with which the client can show a second factor. This is not counted as a failed sign-in, and does not clear earlier failures.
async fn ask_for_second_factor(
    app: &App,
    request: &Request,
    Account { user, factors, .. }: &Account,
    counters: &SignInCounters,
) -> Result<Reply, ApiError> {
    let token = LinkToken::random(&mut request.rng());
    let hash = token.hash();
    let issue = attempts::issue(&app.database, &hash, user, app.passkeys.as_ref().map(Passkeys::rp_id));
    let (others, uncounted) = tokio::join!(issue, app.counters.uncount_sign_in(counters));
    uncounted?;
    let others = others?.ok_or(ApiError::InvalidCredentials)?;
    audit::record(Event::SecondFactorRequired, Some(user.id));
    let passkeys = app.passkeys.as_ref().filter(|_| !others.passkeys.is_empty());
    let purpose = Purpose::SecondFactor(user.id, &hash);
    let passkey_options = passkeys.map(|passkeys| passkeys.request_options(request, purpose, &others.passkeys));
    let usable =
        [(factors.totp, "totp"), (passkey_options.is_some(), "passkey"), (others.recovery_codes > 0, "recovery_code")];
    Ok(Reply::unauthorized(&SecondFactorRequired {
        message: ApiError::SecondFactorRequired.to_string(),
        code: ApiError::SecondFactorRequired.code(),
        mfa_token: token.to_link_text(),
        factors: usable.into_iter().filter(|(has, _)| *has).map(|(_, factor)| factor).collect(),
        passkey_options,
        expires_in: policy::MFA_TOKEN_LIFETIME.as_secs(),
    }))
}

/// Replaces a hash of an older kind. Only a sign-in can do that, because a new hash needs the password, and only a sign-in request contains it.
async fn replace_outdated_hash(
    app: &App,
    request: &Request,
    account: &Account,
    password: &Password,
) -> Result<(), ApiError> {
    if app.replace_outdated_hashes && !account.password_hash.is_current() {
        let hash = app.hasher.rehash(password, &mut request.rng()).await?;
        users::replace_hash(&app.database, account.user.id, &account.password_hash, &hash).await?;
    }
    Ok(())
}

/// Opens the session and undoes the counting of the attempt. If sessions and counters are in PostgreSQL, one statement does both.
async fn open_session(
    app: &App,
    request: &Request,
    account: &Account,
    counters: &SignInCounters,
) -> Result<TokenReply, ApiError> {
    if app.counters.are_in_database() {
        return app.sessions.open(request, &app.database, account, Some(counters)).await;
    }
    let open = app.sessions.open(request, &app.database, account, None);
    let (tokens, cleared) = tokio::join!(open, app.counters.record_success(counters));
    let tokens = tokens?;
    counters::log_uncleared(account.user.id, cleared);
    Ok(tokens)
}

struct Credentials {
    email: EmailLookup,
    password: Password,
}

impl Credentials {
    fn parse(request: &Request) -> Result<Self, ApiError> {
        let [Some(email), Some(password)] = request.texts(["email", "password"])? else {
            return Err(ApiError::MissingEmailOrPassword);
        };
        Ok(Self { email: EmailLookup::new(&email), password: Password::new(&password) })
    }
}

#[derive(Serialize)]
struct SecondFactorRequired {
    message: String,
    code: &'static str,
    mfa_token: String,
    factors: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passkey_options: Option<RequestOptions>,
    expires_in: u64,
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
    hasher: PasswordHasher,
    sessions: Sessions,
    passkeys: Option<Passkeys>,
    replace_outdated_hashes: bool,
    minimum_duration_of_failures: Duration,
    /// Whether users may sign in only after their address is verified ([`sign_up_privacy::sign_up_tells`]).
    only_verified: bool,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            counters: counters::from_env(&env, &database)?,
            sessions: Sessions::from_env(&env, Some(&database))?,
            passkeys: Passkeys::from_env(&env, &database)?,
            database,
            hasher: PasswordHasher::new(),
            replace_outdated_hashes: env.switch("PASSWORD_REHASH", true)?,
            minimum_duration_of_failures: env.milliseconds("SIGNIN_FLOOR_MS", Duration::ZERO)?,
            only_verified: !sign_up_privacy::sign_up_tells(&env)?,
        })
    }
}
