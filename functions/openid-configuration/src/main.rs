//! `GET /.well-known/openid-configuration`: tells verifiers where the public keys are (OpenID Connect Discovery 1.0 §3). This service is not an
//! OpenID provider. The document contains only what API Gateway's JWT authorizer and other verifiers read from it.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    domain::Methods,
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::{
        Issuer,
        keys::{Algorithm, KeyPairs},
        policy,
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, openid_configuration).await
}

async fn openid_configuration(app: &App, request: Request) -> Result<Reply, ApiError> {
    // If a key pair signs access tokens, the issuer is an https URL, and the URL of this document begins with it (§4.1).
    let base = app.issuer.https_url().map_or_else(|| own_url(&request), str::to_owned);
    let configuration = Configuration {
        issuer: app.issuer.as_str(),
        jwks_uri: format!("{base}/.well-known/jwks.json"),
        response_types_supported: ["token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: &app.algorithms,
        acr_values_supported: Methods::LEVELS,
    };
    Ok(Reply::ok(&configuration).cacheable(policy::PUBLIC_KEYS_CACHED))
}

/// The URL of this API. Local gateways have no TLS and send `localhost` without the port as the domain name, so the Host header is used there.
/// API Gateway never sends that domain name, so a client's Host header is not used on AWS.
fn own_url(request: &Request) -> String {
    match (request.domain_name(), request.host()) {
        (Some("localhost"), Some(host)) => format!("http://{host}"),
        (name, _) => format!("https://{}", name.unwrap_or_default()),
    }
}

#[derive(Serialize)]
struct Configuration<'a> {
    issuer: &'a str,
    jwks_uri: String,
    response_types_supported: [&'a str; 1],
    subject_types_supported: [&'a str; 1],
    id_token_signing_alg_values_supported: &'a [Algorithm],
    acr_values_supported: [&'a str; 2],
}

struct App {
    issuer: Issuer,
    algorithms: Vec<Algorithm>,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        Ok(Self { issuer: Issuer::from_env(&env), algorithms: KeyPairs::from_env(&env)?.algorithms() })
    }
}
