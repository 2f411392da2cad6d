//! `GET /.well-known/openid-configuration`: where the keys are (OpenID Connect Discovery 1.0 §3). This service is no OpenID
//! provider; it says what API Gateway's JWT authorizer and other verifiers look for there.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    config::{self, ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::{keys::Algorithm, policy},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, openid_configuration).await
}

struct App {
    issuer: String,
    algorithms: Vec<Algorithm>,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let config::Discovery { issuer, key_pairs } = config::Discovery::from_env(&env)?;
        Ok(Self { issuer, algorithms: key_pairs.algorithms() })
    }
}

#[derive(Serialize)]
struct Configuration<'a> {
    issuer: &'a str,
    jwks_uri: String,
    response_types_supported: [&'a str; 1],
    subject_types_supported: [&'a str; 1],
    id_token_signing_alg_values_supported: &'a [Algorithm],
}

async fn openid_configuration(app: &App, request: Request) -> Result<Reply, ApiError> {
    // The issuer is a URL wherever there are keys to look for (§4.1 puts this document below it).
    let base = match app.issuer.strip_prefix("https://") {
        Some(_) => app.issuer.trim_end_matches('/').to_owned(),
        None => own_url(&request),
    };
    let configuration = Configuration {
        issuer: &app.issuer,
        jwks_uri: format!("{base}/.well-known/jwks.json"),
        response_types_supported: ["token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: &app.algorithms,
    };
    Ok(Reply::ok(&configuration).cacheable(policy::PUBLIC_KEYS_CACHED))
}

/// Where this request came to. Local gateways have no TLS, and give `localhost` as the domain name, without the port: that is in the Host
/// header. API Gateway never has this domain name, and its clients' Host header is not used.
fn own_url(request: &Request) -> String {
    match (request.domain_name(), request.host()) {
        (Some("localhost"), Some(host)) => format!("http://{host}"),
        (name, _) => format!("https://{}", name.unwrap_or_default()),
    }
}
