//! `POST /api/signup`: creates an account, and mails the link and the code that verify its address. With `SIGNUP_TELLS=off`, a sign-up with the
//! address of an account gets the same answer after the same time, and the owner of the account gets a notice (OWASP ASVS 6.3.8).

use std::{process::ExitCode, time::Duration};

use shared::{
    audit::{self, Event},
    brand,
    counters::{self, Counters},
    db::{
        Database,
        email_verifications::VerificationMail,
        sign_up_notices::{self, SignUpNotice},
        users::{self, CreatedAccount, SignUpToCount},
    },
    domain::{Email, Locale, MailId, Name},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::{Link, LinkPages, Mail, Mailer},
    runtime::run,
    security::{
        Attempt, EmailCode, EmailCodes, LinkToken, MailBudget, MinimumDuration, NewPassword, PasswordHasher,
        PasswordRules, sign_up_privacy, verification_settings,
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, signup).await
}

async fn signup(app: &App, request: Request) -> Result<Reply, ApiError> {
    let connection = app.database.connection_of_request();
    let new = NewAccount::parse(&request, app)?;
    let minimum = MinimumDuration::start(app.minimum_duration);
    // This refusal depends on the source alone and reveals nothing about the address, so it does not wait.
    app.counters.count(Attempt::SignUp, &request.source(), request.arrived_at()).await?;
    let email = new.email.clone();
    let outcome = match create(app, &request, new, minimum).await {
        Err(ApiError::UserAlreadyExists) if !app.tells => notify_owner(app, &request, &email, minimum).await,
        outcome => outcome,
    };
    drop(connection);
    minimum.wait().await;
    outcome.map(|()| Reply::created(&Message { message: "User created successfully" }))
}

/// Creates the account, and tries to send the verification mail that this owes.
async fn create(app: &App, request: &Request, new: NewAccount, minimum: MinimumDuration) -> Result<(), ApiError> {
    let NewAccount { name, email, password, locale } = new;
    let mut rng = request.rng();
    let hash = app.hasher.hash(password, &mut rng).await?;
    let page = app.pages.page(request, "verify-email")?;
    let (token, code, id) = (LinkToken::random(&mut rng), EmailCode::random(&mut rng), MailId::random(&mut rng));
    let (token_hash, code_hash, source) = (token.hash(), app.codes.hash(&code), request.source());
    let mail = VerificationMail { token: &token_hash, code: &code_hash, id, page: &page };
    let counted = SignUpToCount { mail: app.owes_mail.then_some(mail), source: &source, budget: app.budget };
    let account = users::NewAccount { name: &name, email: &email, hash: &hash, locale };
    // With `SIGNUP_TELLS=off`, sign-ups with taken addresses are counted. So those that owe no mail are counted, too.
    let is_counted = app.owes_mail || !app.tells;
    let created = users::create(&app.database, account, is_counted.then_some(&counted)).await?;
    let CreatedAccount { user, mail_is_owed, is_over_budget } = created.ok_or(ApiError::UserAlreadyExists)?;
    audit::record(Event::SignedUp, Some(user.id));

    if is_over_budget && app.owes_mail {
        MailBudget::report_used_up(Some(user.id));
    }
    if mail_is_owed {
        // The mail is in the outbox, so the answer does not depend on whether this attempt to send it succeeds.
        let mail = Mail::Verification(Link { page: &page, token: &token }, &code);
        app.mailer.attempt(id, &user, &mail, minimum.time_for_mail()).await;
    }
    Ok(())
}

/// Tells the owner of an account that somebody tried to sign up with its address.
async fn notify_owner(app: &App, request: &Request, email: &Email, minimum: MinimumDuration) -> Result<(), ApiError> {
    let notice = MailId::random(&mut request.rng());
    let counted = sign_up_notices::owe(&app.database, email, notice, &request.source(), app.budget).await?;
    if counted.is_over_budget && app.owes_mail {
        MailBudget::report_used_up(None);
    }
    if let Some(SignUpNotice { owner, recipient }) = counted.notice {
        app.mailer.attempt_to(&recipient, notice, &owner, &Mail::SignUpAttempted, minimum.time_for_mail()).await;
    }
    Ok(())
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
    /// Whether a sign-up owes a verification mail.
    owes_mail: bool,
    budget: MailBudget,
    mailer: Mailer,
    pages: LinkPages,
    codes: EmailCodes,
    /// Whether the answer tells that an address has an account.
    tells: bool,
    /// Zero if the answer tells it.
    minimum_duration: Duration,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        let tells = sign_up_privacy::sign_up_tells(&env)?;
        let minimum_duration = sign_up_privacy::minimum_duration(&env)?;
        Ok(Self {
            tells,
            minimum_duration: if tells { Duration::ZERO } else { minimum_duration },
            counters: counters::from_env(&env, &database)?,
            mailer: Mailer::from_env(&env, database.clone())?,
            database,
            rules: PasswordRules::from_env(&env)?,
            hasher: PasswordHasher::new(),
            default_locale: brand::default_locale(&env)?,
            owes_mail: verification_settings::sign_up_owes_mail(&env)?,
            budget: MailBudget::from_env(&env)?,
            pages: LinkPages::from_env(&env)?,
            codes: EmailCodes::from_env(&env)?,
        })
    }
}
