//! `POST /api/refresh`: exchanges a refresh token for its successor and a new access token (RFC 6749 §6, rotating as RFC 9700
//! §4.14.2 wants it).

use std::{process::ExitCode, time::Duration};

use serde::Serialize;
use shared::{
    audit::{self, Event},
    config::{self, ConfigError, Environment},
    db::{
        Database,
        sessions::{self, Refreshed},
    },
    domain::TokenId,
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::{
        TokenError, Tokens,
        token::{Freshness, TokenReply},
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, refresh).await
}

struct App {
    database: Database,
    tokens: Tokens,
    grace: Duration,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let tokens = config::Tokens::from_env(&env)?;
        Ok(Self {
            database: Database::new(config::Database::from_env(&env)?),
            tokens: Tokens::new(&tokens),
            grace: tokens.refresh_grace,
        })
    }
}

#[derive(Serialize)]
struct TokenRefreshed {
    message: &'static str,
    #[serde(flatten)]
    tokens: TokenReply,
}

async fn refresh(app: &App, request: Request) -> Result<Reply, ApiError> {
    let presented =
        app.tokens.verify_refresh(request.bearer_token()?, request.now()).map_err(|refusal| match refusal {
            TokenError::Expired => ApiError::InvalidRefreshToken,
            TokenError::Invalid => ApiError::InvalidToken,
        })?;
    let mut rng = request.rng();
    let session = match sessions::refresh(&app.database, presented, TokenId::random(&mut rng), app.grace).await? {
        Refreshed::Rotated(session) | Refreshed::Repeated(session) => session,
        // The revocation is committed: only now is the caller refused.
        Refreshed::Reused(user) => {
            audit::record(Event::RefreshReused, Some(user));
            return Err(ApiError::InvalidRefreshToken);
        }
        Refreshed::TooMany(too_many) => return Err(too_many.into()),
        Refreshed::Gone => return Err(ApiError::InvalidRefreshToken),
    };
    audit::record(Event::Refreshed, Some(session.user_id));
    let tokens = app.tokens.mint(&session, TokenId::random(&mut rng), Freshness::Refreshed)?;
    Ok(Reply::ok(&TokenRefreshed { message: "Token refreshed successfully", tokens }))
}
