//! `POST /api/signup`: creates an account.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    brand,
    counters::{self, Counters},
    db::{Database, users},
    domain::{Email, Locale, Name},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    runtime::run,
    security::{Attempt, NewPassword, PasswordHasher, PasswordRules},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, signup).await
}

async fn signup(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    let NewAccount { name, email, password, locale } = NewAccount::parse(&request, app)?;
    app.counters.count(Attempt::SignUp, &request.source(), request.arrived_at()).await?;
    let hash = app.hasher.hash(password, &mut request.rng()).await?;
    let user = users::create(&app.database, &name, &email, &hash, locale).await?;
    let user = user.ok_or(ApiError::UserAlreadyExists)?;
    audit::record(Event::SignedUp, Some(user));
    Ok(Reply::created(&Message { message: "User created successfully" }))
}

struct NewAccount {
    name: Name,
    email: Email,
    password: NewPassword,
    /// The language that the body names, else the one that the header `Accept-Language` prefers, else the default.
    locale: Locale,
}

impl NewAccount {
    fn parse(request: &Request, app: &App) -> Result<Self, ApiError> {
        let [Some(name), Some(email), Some(password), locale] =
            request.texts(["name", "email", "password", "locale"])?
        else {
            return Err(ApiError::MissingRequiredFields);
        };
        let (name, email) = (Name::parse(&name)?, Email::parse(&email)?);
        let locale = locale.map_or_else(|| Ok(request.locale(app.default_locale)), |tag| tag.parse())?;
        let password = app.rules.accept(&password, name.as_str(), email.as_str())?;
        Ok(Self { name, email, password, locale })
    }
}

struct App {
    database: Database,
    counters: Box<dyn Counters>,
    rules: PasswordRules,
    hasher: PasswordHasher,
    default_locale: Locale,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            counters: counters::from_env(&env, &database)?,
            database,
            rules: PasswordRules::from_env(&env)?,
            hasher: PasswordHasher::new(),
            default_locale: brand::default_locale(&env)?,
        })
    }
}
