//! `POST /api/change-password`: sets a new password for a user who knows the current one. Ends every session of the user, and opens a new one for
//! this client.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    db::Database,
    domain::MailId,
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    mail::{Mail, Mailer},
    proofs::{PasswordProofs, StartedProof},
    runtime::run,
    security::{
        PasswordHasher, PasswordRules, policy,
        token::{TokenReply, TokensWithMessage},
    },
    sessions::Sessions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, change_password).await
}

async fn change_password(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    let passwords = app.sessions.authenticate_before(&request, Passwords::parse(&request)).await?;
    let started = app.proofs.begin(&app.sessions, &request, true).await?;
    let tokens = if started.is_outdated() {
        complete(app, &request, &started, &passwords).await?
    } else {
        change(app, &request, &started, &passwords).await?
    };
    Ok(Reply::ok(&TokensWithMessage { message: "Password changed", tokens }))
}

/// Sets the password, replaces all sessions by a new one, and tries to send the notice.
async fn change(
    app: &App,
    request: &Request,
    started: &StartedProof,
    passwords: &Passwords,
) -> Result<TokenReply, ApiError> {
    let proof = app.proofs.verify(started, request, &passwords.current).await?;
    let user = &proof.user;
    if proof.factors.any()
        && let Err(refusal) = app.sessions.authenticate_fresh(request).await
    {
        app.proofs.uncount(&proof).await?;
        return Err(refusal);
    }
    let new = match app.rules.accept(&passwords.new, &user.name, &user.email) {
        Ok(new) => new,
        Err(rule) => {
            app.proofs.record_success(&proof).await?;
            return Err(rule.into());
        }
    };
    let mut rng = request.rng();
    app.proofs.count_new_password(started, &proof, request).await?;
    let hash = app.hasher.hash(new, &mut rng).await?;
    let notice = MailId::random(&mut rng);
    let changed = app.sessions.change_password(request, &app.database, &proof, &hash, notice).await?;
    if changed.notice_is_owed {
        // The password is set, and the notice is in the outbox. So the answer does not depend on whether this attempt to send it succeeds.
        app.mailer.attempt(notice, user, &Mail::PasswordChanged, policy::MAIL_DEADLINE).await;
    }
    Ok(changed.tokens)
}

/// Completes a change that set the password but could not end the user's sessions in DynamoDB. The client must repeat the request with the same new
/// password.
async fn complete(
    app: &App,
    request: &Request,
    started: &StartedProof,
    passwords: &Passwords,
) -> Result<TokenReply, ApiError> {
    let proof = match app.proofs.verify(started, request, &passwords.new).await {
        Err(ApiError::WrongPassword) => return Err(ApiError::TokenRevoked),
        proof => proof?,
    };
    match app.sessions.complete_password_change(request, &app.database, proof.session, &proof.user).await {
        Ok(tokens) => {
            app.proofs.record_use(&proof).await;
            audit::record(Event::SignedIn, Some(proof.user.id));
            Ok(tokens)
        }
        Err(refusal) => {
            app.proofs.uncount(&proof).await?;
            Err(refusal)
        }
    }
}

struct Passwords {
    current: String,
    new: String,
}

impl Passwords {
    fn parse(request: &Request) -> Result<Self, ApiError> {
        match request.texts(["current_password", "new_password"])? {
            [Some(current), Some(new)] => Ok(Self { current, new }),
            _ => Err(ApiError::MissingRequiredFields),
        }
    }
}

struct App {
    database: Database,
    sessions: Sessions,
    proofs: PasswordProofs,
    rules: PasswordRules,
    hasher: PasswordHasher,
    mailer: Mailer,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?,
            proofs: PasswordProofs::from_env(&env, &database)?,
            mailer: Mailer::from_env(&env, database.clone())?,
            database,
            rules: PasswordRules::from_env(&env)?,
            hasher: PasswordHasher::new(),
        })
    }
}
