//! `POST /api/signin`: opens a session for a user who knows the password.

use std::{process::ExitCode, time::Duration};

use serde::Serialize;
use shared::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{
        Database,
        users::{self, Account},
    },
    domain::{EmailLookup, SignInCounters, User},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::{MinimumDuration, Password, PasswordHasher, SignInAttempt, sign_up_privacy, token::TokenReply},
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
    let tokens = open_session(app, request, &account.user, &counters).await?;
    let profile = Profile { name: account.user.name.clone(), email: account.user.email.clone() };
    Ok(Reply::ok(&SignedIn { message: "Sign-in successful", tokens, user: profile }))
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
    user: &User,
    counters: &SignInCounters,
) -> Result<TokenReply, ApiError> {
    if app.counters.are_in_database() {
        return app.sessions.open(request, &app.database, user, Some(counters)).await;
    }
    let forgive = async { Ok(app.counters.forgive_sign_in(counters).await?) };
    let (tokens, ()) = tokio::try_join!(app.sessions.open(request, &app.database, user, None), forgive)?;
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
struct SignedIn {
    message: &'static str,
    #[serde(flatten)]
    tokens: TokenReply,
    user: Profile,
}

#[derive(Serialize)]
struct Profile {
    name: String,
    email: String,
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
    hasher: PasswordHasher,
    sessions: Sessions,
    replace_outdated_hashes: bool,
    minimum_duration_of_failures: Duration,
    /// Whether users may sign in only after their address is verified. Otherwise, a stranger could sign up with any address, and would see at sign-in
    /// whether that created an account.
    only_verified: bool,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            counters: counters::from_env(&env, &database)?,
            sessions: Sessions::from_env(&env, Some(&database))?,
            database,
            hasher: PasswordHasher::new(),
            replace_outdated_hashes: env.switch("PASSWORD_REHASH", true)?,
            minimum_duration_of_failures: env.milliseconds("SIGNIN_FLOOR_MS", Duration::ZERO)?,
            only_verified: !sign_up_privacy::sign_up_tells(&env)?,
        })
    }
}
