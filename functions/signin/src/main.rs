//! `POST /api/signin`: opens a session for whoever knows the password.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    audit::{self, Event},
    config::{self, ConfigError, Environment},
    counters::{Counters, Table, counters},
    db::{
        Database,
        sessions::{self, NewSession},
        throttle::CountedSignIn,
        users::{self, Account},
    },
    domain::{EmailLookup, SessionId, TokenId},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::{
        Floor, Password, PasswordHasher, Tokens,
        token::{Freshness, TokenReply},
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, signin).await
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
    hasher: PasswordHasher,
    tokens: Tokens,
    signin: config::Signin,
    session_lifetime: std::time::Duration,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let tokens = config::Tokens::from_env(&env)?;
        let database = Database::new(config::Database::from_env(&env)?);
        let table = Table::new(config::StateTable::from_env(&env)?).await;
        Ok(Self {
            counters: counters(table, &database),
            database,
            hasher: PasswordHasher::new(),
            tokens: Tokens::new(&tokens),
            signin: config::Signin::from_env(&env)?,
            session_lifetime: tokens.session_lifetime,
        })
    }
}

struct Signin {
    email: EmailLookup,
    password: Password,
}

impl Signin {
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
    user: User,
}

#[derive(Serialize)]
struct User {
    name: String,
    email: String,
}

async fn signin(app: &App, request: Request) -> Result<Reply, ApiError> {
    let floor = Floor::start(app.signin.floor);
    let signin = Signin::parse(&request)?;
    let outcome = open_session(app, &request, signin).await;
    if let Err(ApiError::InvalidCredentials) = outcome {
        floor.reached().await;
    }
    outcome
}

async fn open_session(app: &App, request: &Request, Signin { email, password }: Signin) -> Result<Reply, ApiError> {
    let source = request.source();
    let CountedSignIn { account, counted } = app.counters.count_sign_in(&email, &source, request.now()).await?;
    // Equal work, account or not.
    let verified = app.hasher.verify(&password, account.as_ref().map(|account| &account.password_hash)).await?;
    if !verified {
        audit::record(Event::SignInFailed, account.map(|account| account.id));
        return Err(ApiError::InvalidCredentials);
    }
    let account = account.ok_or(ApiError::InvalidCredentials)?;
    replace_outdated_hash(app, request, &account, &password).await?;

    let mut rng = request.rng();
    let new = NewSession {
        id: SessionId::random(&mut rng),
        refresh_id: TokenId::random(&mut rng),
        account: &account,
        source: &source,
        counted: &counted,
        lifetime: app.session_lifetime,
    };
    let session = sessions::open(&app.database, new).await?.ok_or(ApiError::InvalidCredentials)?;
    app.counters.forgive_sign_in(&counted).await?;
    audit::record(Event::SignedIn, Some(account.id));
    let tokens = app.tokens.mint(&session, TokenId::random(&mut rng), Freshness::Fresh)?;
    let user = User { name: account.name, email: account.email };
    Ok(Reply::ok(&SignedIn { message: "Sign-in successful", tokens, user }))
}

/// Sign-in is the one moment the password is here, so it is when a hash of an older kind becomes one of today's.
async fn replace_outdated_hash(
    app: &App,
    request: &Request,
    account: &Account,
    password: &Password,
) -> Result<(), ApiError> {
    if app.signin.rehash && !account.password_hash.is_current() {
        let hash = app.hasher.rehash(password, &mut request.rng()).await?;
        users::replace_hash(&app.database, account.id, &account.password_hash, &hash).await?;
    }
    Ok(())
}
