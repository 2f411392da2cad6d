//! `/api/passkeys`: adds passkeys to the account, lists, renames and removes them.
//!
//! The notice of a new passkey has a link that removes it again. So a thief of a session and a password cannot keep the owner out for good.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use shared::{
    brand::Brand,
    db::{
        Database,
        factors::{
            passkeys::{self as rows, NewPasskey},
            removals::RemovedFactor,
        },
    },
    domain::{FactorChangeId, FactorId, MailId, Name, Passkey, UnixTime},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::LinkPages,
    passkeys::{self, Passkeys},
    runtime::run,
    security::{
        LinkToken, RecoveryCode,
        webauthn::{Purpose, RegistrationResponse, UserHandle, UserOfCreation},
    },
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, passkeys).await
}

async fn passkeys(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    let passkeys = app.passkeys.as_ref().ok_or(ApiError::PasskeysNotConfigured)?;
    match request.route() {
        "POST /api/passkeys/options" => options(app, &request, passkeys).await,
        "POST /api/passkeys" => add(app, &request, passkeys).await,
        "GET /api/passkeys" => list(app, &request).await,
        "PATCH /api/passkeys/{id}" => rename(app, &request).await,
        "DELETE /api/passkeys/{id}" => remove(app, &request).await,
        _ => Err(ApiError::unknown_route()),
    }
}

/// Options with which a browser creates a passkey.
async fn options(app: &App, request: &Request, passkeys: &Passkeys) -> Result<Reply, ApiError> {
    let (caller, _) = app.sessions.authenticate_fresh_user(request, &app.database).await?;
    let session = caller.require_verified()?.presented();
    let handle = UserHandle::random(&mut request.rng());
    let found = rows::begin(&app.database, session, &handle).await?;
    let begun = app.sessions.or_refuse(&app.database, session.user_id, found).await?;
    let product = app.brand.name.as_deref().unwrap_or(passkeys.rp_id());
    let user = UserOfCreation { handle: &begun.handle, email: &begun.user.email, name: &begun.user.name };
    Ok(Reply::ok(&passkeys.creation_options(request, Purpose::Enrol(session), product, &user, &begun.known)))
}

/// Adds a passkey that a browser has created, and ends all other sessions. Returns recovery codes if this is the first factor.
async fn add(app: &App, request: &Request, passkeys: &Passkeys) -> Result<Reply, ApiError> {
    let body = app.sessions.authenticate_before(request, NewBody::parse(request)).await?;
    let (caller, user) = app.sessions.authenticate_fresh_user(request, &app.database).await?;
    let session = caller.require_verified()?.presented();
    let registration: RegistrationResponse = passkeys::parse(body.passkey)?;
    let purpose = Purpose::Enrol(session);
    let (credential, challenge) = passkeys.verify_registration(request, purpose, &registration, user.id)?;
    let mut rng = request.rng();
    let (codes, undo) = (RecoveryCode::random_set(&mut rng), LinkToken::random(&mut rng));
    let new = NewPasskey {
        session,
        factor: FactorId::random(&mut rng),
        name: &body.name,
        credential: &credential,
        rp_id: passkeys.rp_id(),
        challenge: &challenge,
        codes: &codes,
        undo: &undo.hash(),
        undo_page: &app.pages.page(request, "undo-factor")?,
        notice: MailId::random(&mut rng),
        change: FactorChangeId::random(&mut rng),
    };
    let added = app.sessions.add_passkey(&app.database, &new).await?;
    Ok(Reply::created(&Added {
        id: new.factor,
        name: body.name.as_str(),
        created_at: added.at,
        recovery_codes: added.has_codes.then(|| RecoveryCode::to_texts(&codes)),
    }))
}

async fn list(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let session = app.sessions.presented(request).await?;
    let found = rows::list(&app.database, session).await?;
    let passkeys = app.sessions.or_refuse(&app.database, session.user_id, found).await?;
    Ok(Reply::ok(&List { passkeys }))
}

async fn rename(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let name = app.sessions.authenticate_before(request, new_name(request)).await?;
    let session = app.sessions.presented(request).await?;
    let renamed = match id(request) {
        Some(id) => rows::rename(&app.database, session, id, &name).await?,
        None => Some(None),
    };
    let renamed = app.sessions.or_refuse(&app.database, session.user_id, renamed).await?;
    Ok(Reply::ok(&renamed.ok_or(ApiError::PasskeyNotFound)?))
}

/// Removes a passkey, and ends all other sessions.
async fn remove(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let (caller, _) = app.sessions.authenticate_fresh_user(request, &app.database).await?;
    let id = id(request).ok_or(ApiError::PasskeyNotFound)?;
    app.sessions.remove_factor(request, &app.database, caller, RemovedFactor::Passkey(id)).await?;
    Ok(Reply::ok(&Message { message: "Passkey removed" }))
}

/// The id in the path. `None` if it is no id of a passkey.
fn id(request: &Request) -> Option<FactorId> {
    request.path_id().and_then(FactorId::parse)
}

fn new_name(request: &Request) -> Result<Name, ApiError> {
    let [name] = request.texts(["name"])?;
    Ok(Name::parse(&name.ok_or(ApiError::MissingRequiredFields)?)?)
}

/// A new passkey, and its name.
struct NewBody {
    name: Name,
    passkey: Value,
}

impl NewBody {
    /// The name of a passkey that the user has not named.
    const NAME: &str = "Passkey";

    fn parse(request: &Request) -> Result<Self, ApiError> {
        let [name] = request.optional_texts(["name"])?;
        Ok(Self {
            name: Name::parse(name.as_deref().unwrap_or(Self::NAME))?,
            passkey: request.value("passkey")?.ok_or(ApiError::MissingRequiredFields)?,
        })
    }
}

#[derive(Serialize)]
struct Added<'a> {
    id: FactorId,
    name: &'a str,
    #[serde(serialize_with = "UnixTime::serialize_as_rfc3339")]
    created_at: UnixTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<Vec<String>>,
}

#[derive(Serialize)]
struct List {
    passkeys: Vec<Passkey>,
}

struct App {
    database: Database,
    sessions: Sessions,
    passkeys: Option<Passkeys>,
    pages: LinkPages,
    brand: Brand,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?,
            passkeys: Passkeys::from_env(&env, &database)?,
            database,
            pages: LinkPages::from_env(&env)?,
            brand: Brand::from_env(&env)?,
        })
    }
}
