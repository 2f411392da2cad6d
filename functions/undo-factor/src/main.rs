//! `POST /api/undo-factor/{token}`: removes a new second factor for the owner of the mailbox, who got the link in the notice about it.
//!
//! Whoever added the factor knew the password. So all sessions end, and the owner gets a link to reset the password.

use std::process::ExitCode;

use shared::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{
        Database,
        factors::{self, FactorUndo},
    },
    domain::{FactorChangeId, MailId},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Message, Reply, Request},
    mail::ResetPage,
    runtime::run,
    security::{Attempt, LinkToken},
    sessions::SessionEndings,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, undo_factor).await
}

async fn undo_factor(app: &App, request: Request) -> Result<Reply, ApiError> {
    let _connection = app.database.connection_of_request();
    let token = request.link_token()?;
    let (reset_page, mut rng) = (app.reset_page.url(&request)?, request.rng());
    let (reset, mail) = (LinkToken::random(&mut rng), MailId::random(&mut rng));
    let change = FactorChangeId::random(&mut rng);
    let undo = FactorUndo { token: &token, reset: &reset.hash(), reset_page: &reset_page, mail, change };
    let Some(user) = factors::undo(&app.database, undo).await? else {
        app.counters.count(Attempt::UndoFactor, &request.source(), request.arrived_at()).await?;
        return Err(ApiError::InvalidOrExpiredToken);
    };
    audit::record(Event::FactorUndone, Some(user.id));
    app.endings.settle(user.id, user.credential_version).await?;
    Ok(Reply::ok(&Message { message: "Factor removed" }))
}

struct App {
    database: Database,
    endings: SessionEndings,
    counters: Box<dyn Counters>,
    reset_page: ResetPage,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let database = Database::from_env(&env)?;
        Ok(Self {
            endings: SessionEndings::from_env(&env, &database)?,
            counters: counters::from_env(&env, &database)?,
            reset_page: ResetPage::from_env(&env)?,
            database,
        })
    }
}
