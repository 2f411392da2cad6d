//! Takes tokens apart, changes them and signs them again.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Map, Value};
use tests::stack::SECRET;

/// A token that every endpoint must refuse.
pub struct ForgedToken {
    /// What is wrong with the token.
    pub name: String,
    pub token: String,
}

impl ForgedToken {
    pub fn new(name: impl Into<String>, token: impl Into<String>) -> Self {
        Self { name: name.into(), token: token.into() }
    }
}

/// A signing key and its algorithm.
pub struct Key {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl Key {
    /// The secret of the service.
    pub fn of_the_service() -> Self {
        Self::secret(SECRET)
    }

    /// An HMAC secret, for HS256.
    pub fn secret(secret: impl AsRef<[u8]>) -> Self {
        Self { key: EncodingKey::from_secret(secret.as_ref()), algorithm: Algorithm::HS256 }
    }

    /// A private key in PEM.
    pub fn private(pem: &str, algorithm: Algorithm) -> Self {
        let pem = pem.as_bytes();
        let key = EncodingKey::from_rsa_pem(pem).or(EncodingKey::from_ec_pem(pem)).or(EncodingKey::from_ed_pem(pem));
        Self { key: key.unwrap(), algorithm }
    }

    /// The same key with another algorithm.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// The signature, in base64url.
    pub fn sign(&self, message: &str) -> String {
        crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap()
    }
}

/// The header and the claims of a token, without a signature.
#[derive(Clone)]
pub struct UnsignedToken {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl UnsignedToken {
    /// The header and claims of a token, unverified.
    pub fn of(token: &str) -> Self {
        let mut parts = token.split('.').map(|part| serde_json::from_slice(&decoded(part)));
        Self { header: parts.next().unwrap().unwrap(), claims: parts.next().unwrap().unwrap() }
    }

    pub fn header(&self, name: &str, value: impl Into<Value>) -> Self {
        let mut changed = self.clone();
        changed.header.insert(name.to_owned(), value.into());
        changed
    }

    pub fn without_header(&self, name: &str) -> Self {
        let mut changed = self.clone();
        changed.header.remove(name).unwrap();
        changed
    }

    pub fn claim(&self, name: &str, value: impl Into<Value>) -> Self {
        let mut changed = self.clone();
        changed.claims.insert(name.to_owned(), value.into());
        changed
    }

    pub fn without_claim(&self, name: &str) -> Self {
        let mut changed = self.clone();
        changed.claims.remove(name).unwrap();
        changed
    }

    /// The header as JSON.
    pub fn header_text(&self) -> String {
        Value::from(self.header.clone()).to_string()
    }

    /// The claims as JSON.
    pub fn claims_text(&self) -> String {
        Value::from(self.claims.clone()).to_string()
    }

    pub fn kid(&self) -> &Value {
        &self.header["kid"]
    }

    /// The value of a claim.
    pub fn claim_value(&self, name: &str) -> &Value {
        &self.claims[name]
    }

    /// The token, signed with the secret of the service.
    pub fn signed(&self) -> String {
        self.signed_by(&Key::of_the_service())
    }

    /// The token, signed with this key.
    pub fn signed_by(&self, key: &Key) -> String {
        signed(self.header_text(), self.claims_text(), key)
    }
}

/// A token of any header and payload, signed with this key.
pub fn signed(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, key: &Key) -> String {
    with_signature(&format!("{}.{}", encoded(header), encoded(payload)), key)
}

/// A signing input and its signature.
pub fn with_signature(message: &str, key: &Key) -> String {
    format!("{message}.{}", key.sign(message))
}

pub fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

pub fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}
