//! `/api/account`: shows the account of the signed-in user, changes its name and language, deletes it, and exports everything that is stored about
//! the user.

use std::{process::ExitCode, time::Duration};

use serde::Serialize;
use serde_json::Value;
use shared::{
    audit::{self, Event},
    brand,
    db::{
        Database,
        account_deletions::{self, DeletionRequest},
        personal_data,
        users::{self, Profile},
    },
    domain::{ListedSession, Locale, MailId, Name, UnixTime, UserId},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    mail::{Link, LinkPages, Mail, Mailer},
    runtime::run,
    security::{LinkToken, policy},
    sessions::{SessionEndings, Sessions},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, account).await
}

async fn account(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    match request.route() {
        "GET /api/account" => show(app, &request).await,
        "PATCH /api/account" => change(app, &request).await,
        "DELETE /api/account" => delete(app, &request).await,
        "GET /api/account/export" => export(app, &request).await,
        _ => Err(ApiError::unknown_route()),
    }
}

async fn show(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let (_, profile) = app.sessions.authenticate_profile(request, &app.database).await?;
    Ok(Reply::ok(&Account::of(profile, app.default_locale)))
}

async fn change(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let Change { name, locale } = app.sessions.authenticate_before(request, Change::parse(request)).await?;
    if name.is_none() && locale.is_none() {
        return show(app, request).await;
    }
    let session = app.sessions.presented(request).await?;
    let changed = users::change(&app.database, session, name.as_ref(), locale).await?;
    let profile = app.sessions.or_refuse(&app.database, session.user_id, changed).await?;
    audit::record(Event::AccountChanged, Some(profile.user.id));
    Ok(Reply::ok(&Account::of(profile, app.default_locale)))
}

/// Ends every session, and lets `sweep` erase the account later. Until then, the link in the mail keeps the account.
async fn delete(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let session = app.sessions.authenticate_fresh(request).await?.presented();
    let page = app.pages.page(request, "keep-account")?;
    let mut rng = request.rng();
    let (token, mail) = (LinkToken::random(&mut rng), MailId::random(&mut rng));
    let deletion = DeletionRequest { session, erase_after: app.erase_after, token: &token.hash(), mail, page: &page };
    let deletion = account_deletions::request(&app.database, deletion).await?;
    let deletion = app.sessions.or_refuse(&app.database, session.user_id, deletion).await?;
    let (user, erase_at) = (&deletion.user, deletion.erase_at);
    if deletion.is_new {
        audit::record(Event::AccountDeleted, Some(user.id));
    }
    app.endings.settle(user.id, user.credential_version).await?;

    // The account is deleted, and the mail is in the outbox. So the answer does not depend on whether this attempt to send the mail succeeds.
    if deletion.mail_is_owed {
        let notice = Mail::AccountDeleted { link: Link { page: &page, token: &token }, erase_at };
        app.mailer.attempt(mail, user, &notice, policy::MAIL_DEADLINE).await;
    }
    Ok(Reply::accepted(&Deleted { message: "Account will be erased", erased_at: erase_at.to_rfc3339() }))
}

/// The copy contains the mail address and the networks of the user, so the user must have proved the password recently.
async fn export(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let (_, user) = app.sessions.authenticate_fresh_user(request, &app.database).await?;
    let rows = async { Ok(personal_data::export(&app.database, &user).await?) };
    let (rows, sessions) = if app.sessions.are_in_table() {
        let (rows, (_, sessions)) = tokio::try_join!(rows, app.sessions.list(request))?;
        (rows, sessions)
    } else {
        (rows.await?, Vec::new())
    };
    let rows = rows.ok_or(ApiError::TokenRevoked)?;
    audit::record(Event::AccountExported, Some(user.id));
    Ok(Reply::ok(&Export { exported_at: request.now().to_rfc3339(), rows, sessions_in_dynamodb: sessions }))
}

/// The changes in the request. What is missing stays as it is.
struct Change {
    name: Option<Name>,
    locale: Option<Locale>,
}

impl Change {
    fn parse(request: &Request) -> Result<Self, ApiError> {
        let [name, locale] = request.optional_texts(["name", "locale"])?;
        let name = name.map(|name| Name::parse(&name)).transpose()?;
        let locale = locale.map(|tag| tag.parse()).transpose()?;
        Ok(Self { name, locale })
    }
}

#[derive(Serialize)]
struct Deleted {
    message: &'static str,
    erased_at: String,
}

#[derive(Serialize)]
struct Export {
    exported_at: String,
    /// The rows of the user, by the name of their table.
    rows: Value,
    /// The live sessions, if they are in DynamoDB.
    sessions_in_dynamodb: Vec<ListedSession>,
}

#[derive(Serialize)]
struct Account {
    user: ShownUser,
    /// The address that the user wants to change to.
    pending_email: Option<String>,
}

#[derive(Serialize)]
struct ShownUser {
    id: UserId,
    name: String,
    email: String,
    email_verified: bool,
    locale: &'static str,
    created_at: Option<String>,
}

impl Account {
    fn of(Profile { user, created_at, pending_email, .. }: Profile, default_locale: Locale) -> Self {
        let user = ShownUser {
            id: user.id,
            name: user.name,
            email: user.email,
            email_verified: user.email_verified,
            locale: user.locale.unwrap_or(default_locale).tag(),
            created_at: created_at.map(UnixTime::to_rfc3339),
        };
        Self { user, pending_email }
    }
}

struct App {
    database: Database,
    sessions: Sessions,
    endings: SessionEndings,
    mailer: Mailer,
    pages: LinkPages,
    erase_after: Duration,
    default_locale: Locale,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?.with_unverified_accounts(),
            endings: SessionEndings::from_env(&env, &database)?,
            mailer: Mailer::from_env(&env, database.clone())?,
            pages: LinkPages::from_env(&env)?,
            erase_after: env.seconds("ACCOUNT_ERASE_AFTER", policy::ACCOUNT_ERASE_AFTER)?,
            database,
            default_locale: brand::default_locale(&env)?,
        })
    }
}
