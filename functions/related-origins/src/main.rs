//! `GET /.well-known/webauthn`: the origins that may use the passkeys of this domain (WebAuthn Level 3 §5.11). Browsers ask the domain of the passkeys
//! for it when a page of another domain wants to use them.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::{policy, webauthn::RelyingParty},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, related_origins).await
}

async fn related_origins(app: &App, _: Request) -> Result<Reply, ApiError> {
    let relying_party = app.relying_party.as_ref().ok_or(ApiError::PasskeysNotConfigured)?;
    // The list has only the origins of pages, and no Android apps.
    let origins = relying_party.origins().iter().filter(|origin| origin.starts_with("http")).map(String::as_str);
    Ok(Reply::ok(&RelatedOrigins { origins: origins.collect() }).cacheable(policy::PUBLIC_KEYS_CACHED))
}

#[derive(Serialize)]
struct RelatedOrigins<'a> {
    origins: Vec<&'a str>,
}

struct App {
    relying_party: Option<RelyingParty>,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        Ok(Self { relying_party: RelyingParty::from_env(&env)? })
    }
}
