//! `GET /.well-known/jwks.json`: the public keys that verify access tokens (RFC 7517 §5). None, while the secret signs them.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    config::{self, ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::{
        keys::{Jwk, PublicKey},
        policy,
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(KeySet::from_env, jwks).await
}

#[derive(Serialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

impl KeySet {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let config::Discovery { key_pairs, .. } = config::Discovery::from_env(&env)?;
        Ok(Self { keys: key_pairs.public().map(PublicKey::as_jwk).cloned().collect() })
    }
}

async fn jwks(keys: &KeySet, _: Request) -> Result<Reply, ApiError> {
    Ok(Reply::ok(keys).cacheable(policy::PUBLIC_KEYS_CACHED))
}
