//! `/api/verify-email`: proves that the mailbox of an account belongs to its user, and sends the mail for it.
//!
//! Anybody can sign up with somebody else's address. So the mail alone verifies nothing: its code counts only in a session of the account, and its link
//! only together with the account's password. Somebody who gets the mail of a stranger's account has neither.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{
        Database,
        email_verifications::{self, VerificationMail},
    },
    domain::{MailId, SignInCounters, User},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::{Link, LinkPages, Mail, Mailer},
    runtime::run,
    security::{
        EmailCode, EmailCodeHash, EmailCodes, LinkToken, LinkTokenHash, Password, PasswordHasher, PasswordLink, policy,
        token::TokensWithMessage,
    },
    sessions::Sessions,
};

const VERIFIED: &str = "Email address verified";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, verify_email).await
}

async fn verify_email(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    match request.route() {
        "POST /api/verify-email" => verify_by_code(app, &request).await,
        "POST /api/verify-email/send" => send(app, &request).await,
        "POST /api/verify-email/{token}" => verify_by_link(app, &request).await,
        _ => Err(ApiError::unknown_route()),
    }
}

async fn verify_by_code(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let code = app.sessions.authenticate_before(request, app.code(request)).await?;
    let tokens = app.sessions.verify_email(request, &app.database, &code).await?;
    Ok(Reply::ok(&TokensWithMessage { message: VERIFIED, tokens }))
}

/// Mails a new link and a new code. The answer is the same if the address is verified already, or if its mailbox has got too many mails.
async fn send(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let session = app.sessions.presented(request).await?;
    let page = app.pages.page(request, "verify-email")?;
    let mut rng = request.rng();
    let (token, code, id) = (LinkToken::random(&mut rng), EmailCode::random(&mut rng), MailId::random(&mut rng));
    let mail = VerificationMail { token: &token.hash(), code: &app.codes.hash(&code), id, page: &page };
    let requested = email_verifications::request(&app.database, session, mail).await?;
    let Some(requested) = requested else { return Err(app.sessions.refusal(&app.database, session.user_id).await?) };
    let user = requested.user;
    if user.email_verified {
        // DynamoDB may have failed when the address was verified.
        app.sessions.tell_verified(&user).await?;
    }
    if requested.is_owed {
        audit::record(Event::VerificationRequested, Some(user.id));
        // The mail is in the outbox, so the answer does not depend on whether this attempt to send it succeeds.
        let mail = Mail::Verification(Link { page: &page, token: &token }, &code);
        app.mailer.attempt(id, &user, &mail, policy::MAIL_DEADLINE).await;
    }
    Ok(Reply::accepted(&Message { message: "Verification email sent" }))
}

async fn verify_by_link(app: &App, request: &Request) -> Result<Reply, ApiError> {
    let [password] = request.texts(["password"])?;
    let password = password.ok_or(ApiError::MissingRequiredFields)?;
    let token = request.path_token().and_then(LinkToken::parse).ok_or(ApiError::InvalidOrExpiredToken)?.hash();
    let (user, counters) = prove_password(app, request, &token, &Password::new(&password)).await?;
    let mark = LinkToken::random(&mut request.rng()).hash();
    // If the counters are in PostgreSQL, the statement that verifies the address also undoes the counting of the attempt.
    let in_database = app.counters.are_in_database();
    let forgive = in_database.then_some(&counters);
    let verify = email_verifications::verify_by_link(&app.database, &token, &user, &mark, forgive);
    let forgive_in_table = async { if in_database { Ok(()) } else { app.counters.forgive_sign_in(&counters).await } };
    let (is_verified, ()) = tokio::try_join!(verify, forgive_in_table)?;
    if !is_verified {
        return Err(ApiError::InvalidOrExpiredToken);
    }
    audit::record(Event::EmailVerified, Some(user.id));
    app.sessions.tell_verified(&user).await?;
    Ok(Reply::ok(&Message { message: VERIFIED }))
}

/// The account of the link, if this is its password. The attempt counts as a sign-in from this source.
async fn prove_password(
    app: &App,
    request: &Request,
    token: &LinkTokenHash,
    password: &Password,
) -> Result<(User, SignInCounters), ApiError> {
    let (source, now) = (request.source(), request.arrived_at());
    let counted = app.counters.count_link(PasswordLink::Verification(token), &source, now).await?;
    let counted = counted.ok_or(ApiError::InvalidOrExpiredToken)?;
    let account = counted.account.as_ref().ok_or(ApiError::InvalidOrExpiredToken)?;
    let (is_right, counters) = tokio::join!(
        app.hasher.verify(password, Some(&account.password_hash)),
        app.counters.complete_sign_in_count(&counted, &source, now),
    );
    let (counters, is_right) = (counters?, is_right?);
    if !is_right {
        audit::record(Event::SignInFailed, Some(account.user.id));
        return Err(ApiError::InvalidCredentials);
    }
    Ok((account.user.clone(), counters))
}

struct App {
    database: Database,
    sessions: Sessions,
    counters: Box<dyn Counters>,
    hasher: PasswordHasher,
    mailer: Mailer,
    pages: LinkPages,
    codes: EmailCodes,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?.with_unverified_accounts(),
            counters: counters::from_env(&env, &database)?,
            mailer: Mailer::from_env(&env, database.clone())?,
            database,
            hasher: PasswordHasher::new(),
            pages: LinkPages::from_env(&env)?,
            codes: EmailCodes::from_env(&env)?,
        })
    }

    /// The hash of the code in the body.
    fn code(&self, request: &Request) -> Result<EmailCodeHash, ApiError> {
        let [code] = request.texts(["code"])?;
        let code = EmailCode::parse(&code.ok_or(ApiError::MissingRequiredFields)?).ok_or(ApiError::InvalidCode)?;
        Ok(self.codes.hash(&code))
    }
}
