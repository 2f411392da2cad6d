//! Private keys for tests, made anew each time.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// A new RSA key of 2048 bits, in PEM.
#[must_use]
pub fn rsa() -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    pem(AsDer::<Pkcs8V1Der<'_>>::as_der(&key).expect("PKCS#8").as_ref())
}

/// A new EC key on P-256, in PEM.
#[must_use]
pub fn ec() -> String {
    pem(EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("a key").as_ref())
}

/// A new Ed25519 key, in PEM.
#[must_use]
pub fn ed25519() -> String {
    pem(Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key").as_ref())
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", STANDARD.encode(der))
}
