//! `/api/verify-email`: proves that the mailbox of an account belongs to its user, and sends the mail for it.
//!
//! Anybody can sign up with somebody else's address. So the mail alone verifies nothing: its code counts only in a session of the account, and its
//! link only together with the account's password. Somebody who gets the mail of a stranger's account has neither.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    db::{
        Database,
        email_verifications::{self, VerificationMail},
    },
    domain::MailId,
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::{Link, LinkPages, Mail, Mailer},
    proofs::{LinkProof, PasswordProofs},
    runtime::run,
    security::{EmailCode, EmailCodeHash, EmailCodes, LinkToken, PasswordLink, policy, token::TokensWithMessage},
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
    let requested = app.sessions.or_refuse(&app.database, session.user_id, requested).await?;
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
    let token = request.link_token()?;
    let link = PasswordLink::Verification(&token);
    let LinkProof { user, counters } = app.proofs.prove_with_link(link, request, &password).await?;
    let mark = LinkToken::random(&mut request.rng()).hash();
    if !email_verifications::verify_by_link(&app.database, &token, &user, &mark, &counters).await? {
        return Err(ApiError::InvalidOrExpiredToken);
    }
    audit::record(Event::EmailVerified, Some(user.id));
    app.sessions.tell_verified(&user).await?;
    Ok(Reply::ok(&Message { message: VERIFIED }))
}

struct App {
    database: Database,
    sessions: Sessions,
    proofs: PasswordProofs,
    mailer: Mailer,
    pages: LinkPages,
    codes: EmailCodes,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            sessions: Sessions::from_env(&env, Some(&database))?.with_unverified_accounts(),
            proofs: PasswordProofs::from_env(&env, &database)?,
            mailer: Mailer::from_env(&env, database.clone())?,
            database,
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
