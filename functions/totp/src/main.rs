//! `/api/totp`: adds an authenticator app to the account as a second factor, and removes it.
//!
//! The notice of a new authenticator has a link that removes it again. So a thief of a session and a password cannot keep the owner out for good.

use std::process::ExitCode;

use fast_qr::{QRBuilder, convert::svg::SvgBuilder};
use serde::Serialize;
use shared::{
    audit::{self, Event},
    brand::Brand,
    db::{
        Database,
        factors::{
            removals::RemovedFactor,
            totp::{self, Confirmation},
        },
    },
    domain::{FactorChangeId, FactorId, MailId},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::LinkPages,
    runtime::run,
    security::{DataKeys, LinkToken, RecoveryCode, TotpCode, TotpSecret, token::TokensWithMessage},
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, totp).await
}

async fn totp(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    match request.route() {
        "POST /api/totp" => enrol(app, &request).await,
        "POST /api/totp/confirm" => confirm(app, &request).await,
        "DELETE /api/totp" => remove(app, &request).await,
        _ => Err(ApiError::unknown_route()),
    }
}

/// Makes a secret for the user's app. It is no factor until the app has shown a code.
async fn enrol(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let session = app.sessions.authenticate_fresh(request).await?.require_verified()?.presented();
    let mut rng = request.rng();
    let (factor, secret) = (FactorId::random(&mut rng), TotpSecret::random(&mut rng));
    let encrypted = app.keys.encrypt(secret.bytes(), session.user_id, &mut rng);
    let enrolled = totp::enrol(&app.database, session, factor, &encrypted).await?;
    let (user, is_enrolled) = app.sessions.or_refuse(&app.database, session.user_id, enrolled).await?;
    if !is_enrolled {
        return Err(ApiError::TotpExists);
    }
    let issuer = app.brand.name.as_deref().or(request.domain_name()).unwrap_or_default();
    let otpauth_url = secret.to_url(issuer, &user.email);
    Ok(Reply::created(&Enrolled { secret: secret.to_base32(), qr_svg: qr_code(&otpauth_url)?, otpauth_url }))
}

/// Makes the enrolment a factor, and replaces all sessions by a new one. Returns recovery codes if this is the first factor.
async fn confirm(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let code = app.sessions.authenticate_before(request, code(request)).await?;
    let session = app.sessions.presented(request).await?;
    let found = totp::try_enrolment(&app.database, session).await?;
    let (user, factors, enrolment) = app.sessions.or_refuse(&app.database, session.user_id, found).await?;
    if factors.totp {
        return Err(ApiError::TotpExists);
    }
    let enrolment = enrolment.ok_or(ApiError::TotpNotFound)?;
    let secret = TotpSecret::from_bytes(app.keys.decrypt(&enrolment.secret, user.id)?);
    let Some(step) = secret.step_of(&code, enrolment.now) else {
        audit::record(Event::SecondFactorFailed, Some(user.id));
        return Err(ApiError::InvalidCode);
    };
    let mut rng = request.rng();
    let (codes, undo) = (RecoveryCode::random_set(&mut rng), LinkToken::random(&mut rng));
    let confirmation = Confirmation {
        session,
        factor: enrolment.factor,
        step,
        codes: &codes,
        undo: &undo.hash(),
        undo_page: &app.pages.page(request, "undo-factor")?,
        notice: MailId::random(&mut rng),
        change: FactorChangeId::random(&mut rng),
    };
    let (tokens, has_codes) = app.sessions.confirm_totp(request, &app.database, confirmation, &user).await?;
    let added = TokensWithMessage { message: "Authenticator added", tokens };
    Ok(Reply::ok(&Confirmed { added, recovery_codes: has_codes.then(|| RecoveryCode::to_texts(&codes)) }))
}

async fn remove(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let (caller, _) = app.sessions.authenticate_fresh_user(request, &app.database).await?;
    app.sessions.remove_factor(request, &app.database, caller, RemovedFactor::Totp).await?;
    Ok(Reply::ok(&Message { message: "Authenticator removed" }))
}

fn code(request: &Request) -> Result<TotpCode, ApiError> {
    let [code] = request.texts(["code"])?;
    TotpCode::parse(&code.ok_or(ApiError::MissingRequiredFields)?).ok_or(ApiError::InvalidCode)
}

/// A QR code, as an SVG image with its own background, so that it can be read on a dark page.
fn qr_code(text: &str) -> Result<String, ApiError> {
    let code = QRBuilder::new(text).build().map_err(|error| ApiError::Internal(error.into()))?;
    Ok(SvgBuilder::default().to_str(&code))
}

#[derive(Serialize)]
struct Enrolled {
    secret: String,
    otpauth_url: String,
    qr_svg: String,
}

#[derive(Serialize)]
struct Confirmed {
    #[serde(flatten)]
    added: TokensWithMessage,
    /// Only the first factor of an account brings them.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<Vec<String>>,
}

struct App {
    database: Database,
    sessions: Sessions,
    keys: DataKeys,
    pages: LinkPages,
    brand: Brand,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?,
            database,
            keys: DataKeys::from_env(&env)?,
            pages: LinkPages::from_env(&env)?,
            brand: Brand::from_env(&env)?,
        })
    }
}
