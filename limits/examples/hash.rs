//! Hashes a password with the parameters of the service: the lower bound for `signin`.

use argon2::{Algorithm, Argon2, Params, Version};
use lambda_http::{Error, Request, run, service_fn};
use shared::security::policy::{ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, None)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let argon2 = &argon2;
    run(service_fn(async move |_: Request| {
        let mut hash = [0; 32];
        argon2.hash_password_into(b"password123", &[0; 16], &mut hash)?;
        Ok::<_, Error>(format!("{hash:?}"))
    }))
    .await
}
