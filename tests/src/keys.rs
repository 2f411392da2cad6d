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
pub fn new_rsa_private_key() -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("the key could not be generated");
    pem(PRIVATE_KEY_LABEL, AsDer::<Pkcs8V1Der<'_>>::as_der(&key).expect("the key could not be encoded").as_ref())
}

/// A new EC key on P-256, in PEM.
#[must_use]
pub fn new_ec_private_key() -> String {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    pem(PRIVATE_KEY_LABEL, key.expect("the key could not be generated").as_ref())
}

/// A new Ed25519 key, in PEM.
#[must_use]
pub fn new_ed25519_private_key() -> String {
    pem(
        PRIVATE_KEY_LABEL,
        Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("the key could not be generated").as_ref(),
    )
}

/// The public key of a private key that this module made, in PEM.
#[must_use]
pub fn public_key(private: &str) -> String {
    pem(PUBLIC_KEY_LABEL, &public_key_der(private))
}

/// The public key of a private key that this module made, in DER (`SubjectPublicKeyInfo`).
#[must_use]
pub fn public_key_der(private: &str) -> Vec<u8> {
    let base64: String = private.lines().filter(|line| !line.starts_with("-----")).collect();
    let pkcs8 = STANDARD.decode(base64).expect("the argument must be a private key made by this module");
    let of_rsa = |key: KeyPair| der_of(key.public_key());
    let of_ec = |key: EcdsaKeyPair| der_of(key.public_key());
    let of_ed25519 = |key: Ed25519KeyPair| der_of(key.public_key());
    let rsa = KeyPair::from_pkcs8(&pkcs8).map(of_rsa);
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map(of_ec);
    let ed25519 = Ed25519KeyPair::from_pkcs8(&pkcs8).map(of_ed25519);
    rsa.or(ec).or(ed25519).expect("the argument must be a private key made by this module")
}

fn der_of<'a>(key: &impl AsDer<PublicKeyX509Der<'a>>) -> Vec<u8> {
    key.as_der().expect("the public key could not be encoded").as_ref().to_vec()
}

const PRIVATE_KEY_LABEL: &str = "PRIVATE KEY";
const PUBLIC_KEY_LABEL: &str = "PUBLIC KEY";

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", STANDARD.encode(der))
}
