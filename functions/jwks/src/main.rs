//! `GET /.well-known/jwks.json`: the public keys that verify access tokens (RFC 7517 §5). There are none if
//! neither `JWT_PRIVATE_KEY` nor `JWT_ADDITIONAL_PUBLIC_KEYS` is set.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::{
        keys::{Jwk, KeyPairs, PublicKey},
        policy,
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(KeySet::from_env, jwks).await
}

async fn jwks(keys: &KeySet, _: Request) -> Result<Reply, ApiError> {
    Ok(Reply::ok(keys).cacheable(policy::PUBLIC_KEYS_CACHED))
}

#[derive(Serialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

impl KeySet {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        Ok(Self { keys: KeyPairs::from_env(&env)?.public().map(PublicKey::as_jwk).cloned().collect() })
    }
}
