//! New private keys for tests, and their public keys.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// A new RSA key of 2048 bits, in PEM.
#[must_use]
pub fn rsa() -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    pem(PRIVATE, AsDer::<Pkcs8V1Der<'_>>::as_der(&key).expect("PKCS#8").as_ref())
}

/// A new EC key on P-256, in PEM.
#[must_use]
pub fn ec() -> String {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    pem(PRIVATE, key.expect("a key").as_ref())
}

/// A new Ed25519 key, in PEM.
#[must_use]
pub fn ed25519() -> String {
    pem(PRIVATE, Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key").as_ref())
}

/// The public key of a private key of this module, in PEM.
#[must_use]
pub fn public_key(private: &str) -> String {
    pem(PUBLIC, &public_der(private))
}

/// The public key of a private key of this module, in DER (`SubjectPublicKeyInfo`).
#[must_use]
pub fn public_der(private: &str) -> Vec<u8> {
    let base64: String = private.lines().filter(|line| !line.starts_with("-----")).collect();
    let pkcs8 = STANDARD.decode(base64).expect("a PEM of this module");
    let of_rsa = |key: KeyPair| der_of(key.public_key());
    let of_ec = |key: EcdsaKeyPair| der_of(key.public_key());
    let of_ed25519 = |key: Ed25519KeyPair| der_of(key.public_key());
    let rsa = KeyPair::from_pkcs8(&pkcs8).map(of_rsa);
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map(of_ec);
    let ed25519 = Ed25519KeyPair::from_pkcs8(&pkcs8).map(of_ed25519);
    rsa.or(ec).or(ed25519).expect("a key of this module")
}

fn der_of<'a>(key: &impl AsDer<PublicKeyX509Der<'a>>) -> Vec<u8> {
    key.as_der().expect("SubjectPublicKeyInfo").as_ref().to_vec()
}

const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", STANDARD.encode(der))
}
