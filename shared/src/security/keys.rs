//! The keys that sign and verify tokens. Each has a `kid` (RFC 7515 §4.1.4).

use aws_lc_rs::digest::{SHA256, digest};
pub use jsonwebtoken::{Algorithm, jwk::Jwk};
use jsonwebtoken::{
    DecodingKey, EncodingKey, Header, Validation, errors,
    jwk::{AlgorithmParameters, EllipticCurve, PublicKeyUse, ThumbprintHash},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Issuer, policy};
use crate::environment::{ConfigError, Environment};

/// A key that signs tokens.
pub(super) struct Signer {
    header: Header,
    key: EncodingKey,
}

/// A key that verifies tokens.
pub(super) struct Verifier {
    /// The header that all tokens of this key have.
    pub(super) header: Value,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// Checks the algorithm and the signature. [`super::Tokens`] checks everything else.
    pub(super) validation: Validation,
}

impl Signer {
    pub(super) fn sign(&self, claims: &impl serde::Serialize) -> errors::Result<String> {
        jsonwebtoken::encode(&self.header, claims, &self.key)
    }
}

impl Verifier {
    fn new(header: &Header, key: DecodingKey) -> Self {
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        validation.validate_exp = false;
        Self { header: json!(header), algorithm: header.alg, key, validation }
    }

    pub(super) fn kid(&self) -> String {
        self.header["kid"].as_str().unwrap_or_default().to_owned()
    }
}

fn header(algorithm: Algorithm, kid: String) -> Header {
    Header { kid: Some(kid), ..Header::new(algorithm) }
}

/// The `kid` of a secret is a part of its hash. This does not help an attacker, because anybody who has a token can already test guesses of the
/// secret with its signature.
fn secret_header(secret: &SecretString) -> Header {
    let hash = digest(&SHA256, format!("kid {}", secret.expose_secret()).as_bytes());
    header(Algorithm::HS256, hex::encode(&hash.as_ref()[..8]))
}

pub(super) fn secret_signer(secret: &SecretString) -> Signer {
    Signer { header: secret_header(secret), key: EncodingKey::from_secret(secret.expose_secret().as_bytes()) }
}

pub(super) fn secret_verifier(secret: &SecretString) -> Verifier {
    Verifier::new(&secret_header(secret), DecodingKey::from_secret(secret.expose_secret().as_bytes()))
}

/// The public key of a key pair, for one algorithm: RS256, ES256 or `EdDSA`.
#[derive(Clone)]
pub struct PublicKey {
    jwk: Jwk,
    algorithm: Algorithm,
    decoding_key: DecodingKey,
}

impl PublicKey {
    /// Reads a public key in PEM: RSA of at least 2048 bits, EC on P-256, or Ed25519. `None` for anything else.
    #[must_use]
    pub fn from_pem(pem: &str) -> Option<Self> {
        let pem = pem.as_bytes();
        let key = [
            (Algorithm::RS256, DecodingKey::from_rsa_pem(pem)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(pem)),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem)),
        ];
        let (algorithm, key) = key.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?)))?;
        Self::from_jwk(Jwk::from_decoding_key(&key, Some(algorithm)).ok()?, algorithm)
    }

    /// The key in its published form (RFC 7517). Its `kid` is its thumbprint (RFC 7638), so the `kid` depends only on the key.
    #[must_use]
    pub fn as_jwk(&self) -> &Jwk {
        &self.jwk
    }

    fn kid(&self) -> &str {
        self.jwk.common.key_id.as_deref().unwrap_or_default()
    }

    fn from_jwk(mut jwk: Jwk, algorithm: Algorithm) -> Option<Self> {
        let strong = match &jwk.algorithm {
            // Base64url writes three bytes as four characters.
            AlgorithmParameters::RSA(rsa) => rsa.n.len() * 3 / 4 >= policy::MIN_RSA_BYTES,
            AlgorithmParameters::EllipticCurve(ec) => ec.curve == EllipticCurve::P256,
            AlgorithmParameters::OctetKeyPair(pair) => pair.curve == EllipticCurve::Ed25519,
            _ => false,
        };
        jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).ok()?);
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let decoding_key = DecodingKey::from_jwk(&jwk).ok()?;
        strong.then_some(Self { jwk, algorithm, decoding_key })
    }

    fn header(&self) -> Header {
        header(self.algorithm, self.kid().to_owned())
    }

    pub(super) fn verifier(&self) -> Verifier {
        Verifier::new(&self.header(), self.decoding_key.clone())
    }
}

/// A key pair that signs access tokens.
#[derive(Clone)]
pub struct PrivateKey {
    encoding_key: EncodingKey,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads a private key in PEM (PKCS#8, or PKCS#1 for RSA), of the kinds that [`PublicKey::from_pem`] accepts.
    #[must_use]
    pub fn from_pem(pem: &SecretString) -> Option<Self> {
        let pem = pem.expose_secret().as_bytes();
        let key = [
            (Algorithm::RS256, EncodingKey::from_rsa_pem(pem)),
            (Algorithm::ES256, EncodingKey::from_ec_pem(pem)),
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem)),
        ];
        let (algorithm, encoding_key) = key.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?)))?;
        let public = PublicKey::from_jwk(Jwk::from_encoding_key(&encoding_key, algorithm).ok()?, algorithm)?;
        Some(Self { encoding_key, public })
    }

    /// The key that verifies its signatures.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn signer(&self) -> Signer {
        Signer { header: self.public.header(), key: self.encoding_key.clone() }
    }
}

/// The key pairs of this service: the one that signs access tokens, if there is one, and others whose tokens are accepted, for example the previous
/// or the next one.
#[derive(Clone, Default)]
pub struct KeyPairs {
    private: Option<PrivateKey>,
    public: Vec<PublicKey>,
}

impl KeyPairs {
    /// Reads `JWT_PRIVATE_KEY` and `JWT_ADDITIONAL_PUBLIC_KEYS`, both in PEM. A line break may be written as `\n`, because some consoles write it so.
    ///
    /// # Errors
    /// If one is malformed, or if there is a private key and `JWT_ISSUER` is not an https URL.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let pem = |name| env.optional(name).map(|pem| pem.replace("\\n", "\n"));
        let private = pem("JWT_PRIVATE_KEY").map(|pem| {
            let expected = "a private key in PEM (PKCS#8): RSA of 2048 bits or more, EC P-256, or Ed25519";
            PrivateKey::from_pem(&pem.into()).ok_or(ConfigError::Malformed { name: "JWT_PRIVATE_KEY", expected })
        });
        let private = private.transpose()?;
        if private.is_some() && Issuer::from_env(env).https_url().is_none() {
            let expected = "an https URL if JWT_PRIVATE_KEY is set: other services look for the keys there";
            return Err(ConfigError::Malformed { name: "JWT_ISSUER", expected });
        }
        let additional = pem("JWT_ADDITIONAL_PUBLIC_KEYS").unwrap_or_default();
        let additional =
            additional.split_inclusive("-----END PUBLIC KEY-----").filter(|pem| !pem.trim().is_empty()).map(|pem| {
                let expected =
                    "public keys in PEM, one after the other: RSA of 2048 bits or more, EC P-256, or Ed25519";
                PublicKey::from_pem(pem.trim())
                    .ok_or(ConfigError::Malformed { name: "JWT_ADDITIONAL_PUBLIC_KEYS", expected })
            });
        Ok(Self::new(private, additional.collect::<Result<_, _>>()?))
    }

    /// The key that signs access tokens, and further keys that are accepted and published. Without a private key, the secret signs. A key
    /// that is listed twice counts once, because verifiers refuse a set with two keys of one `kid` (RFC 7517 §4.5).
    #[must_use]
    pub fn new(private: Option<PrivateKey>, additional: Vec<PublicKey>) -> Self {
        let mut public: Vec<PublicKey> = Vec::new();
        for key in private.iter().map(|private| private.public().clone()).chain(additional) {
            if public.iter().all(|known| known.kid() != key.kid()) {
                public.push(key);
            }
        }
        Self { private, public }
    }

    /// The key that signs access tokens.
    #[must_use]
    pub fn private(&self) -> Option<&PrivateKey> {
        self.private.as_ref()
    }

    /// All public keys. The key that signs comes first.
    pub fn public(&self) -> impl Iterator<Item = &PublicKey> {
        self.public.iter()
    }

    /// The algorithms that the public keys verify, each once.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = Vec::new();
        for key in &self.public {
            if !algorithms.contains(&key.algorithm) {
                algorithms.push(key.algorithm);
            }
        }
        algorithms
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, PublicKeyX509Der},
        rand::SystemRandom,
        rsa::{KeyPair, KeySize},
        signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _},
    };
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::{prelude::*, property_test, sample::select};

    use super::*;
    use crate::arbitrary;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    fn rsa(size: KeySize) -> KeyPair {
        KeyPair::generate(size).unwrap()
    }

    fn public_pem(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
        pem("PUBLIC KEY", key.as_der().unwrap().as_ref())
    }

    /// One public key of each kind.
    fn public_pems() -> [String; 3] {
        let ec = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ed = Ed25519KeyPair::generate().unwrap();
        [public_pem(rsa(KeySize::Rsa2048).public_key()), public_pem(ec.public_key()), public_pem(ed.public_key())]
    }

    fn private_pem_of_rsa(key: &KeyPair) -> SecretString {
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der>::as_der(key).unwrap();
        pem("PRIVATE KEY", der.as_ref()).into()
    }

    fn private_pem_of_ec(algorithm: &'static EcdsaSigningAlgorithm) -> SecretString {
        pem("PRIVATE KEY", EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap().as_ref()).into()
    }

    /// One private key of each kind.
    fn private_pems() -> [SecretString; 3] {
        let ed = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        [
            private_pem_of_rsa(&rsa(KeySize::Rsa2048)),
            private_pem_of_ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            pem("PRIVATE KEY", ed.as_ref()).into(),
        ]
    }

    /// One key pair of each kind.
    pub(in super::super) fn key_pairs() -> [PrivateKey; 3] {
        private_pems().map(|pem| PrivateKey::from_pem(&pem).unwrap())
    }

    #[test]
    fn each_kind_of_key_has_its_algorithm_and_its_thumbprint_as_kid() {
        for (key, (kty, alg)) in key_pairs().iter().zip([("RSA", "RS256"), ("EC", "ES256"), ("OKP", "EdDSA")]) {
            let jwk = serde_json::to_value(key.public().as_jwk()).unwrap();
            assert_eq!(
                (jwk["kty"].as_str(), jwk["alg"].as_str(), jwk["use"].as_str()),
                (Some(kty), Some(alg), Some("sig"))
            );
            assert_eq!(jwk["kid"].as_str().unwrap().len(), 43, "a SHA-256 in base64url");
            assert!(jwk.get("d").is_none() && jwk.get("p").is_none(), "nothing private is published");
        }
    }

    #[test]
    fn a_public_key_is_the_same_from_its_pem_and_from_the_private_key() {
        let key = rsa(KeySize::Rsa2048);
        let public = PublicKey::from_pem(&public_pem(key.public_key())).unwrap();
        let private = PrivateKey::from_pem(&private_pem_of_rsa(&key)).unwrap();
        assert_eq!(public.as_jwk(), private.public().as_jwk());
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        assert!(PrivateKey::from_pem(&private_pem_of_ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)).is_none());
        for text in ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(PrivateKey::from_pem(&text.into()).is_none() && PublicKey::from_pem(text).is_none(), "{text}");
        }
        // A private key is not accepted as a public one.
        let private = private_pem_of_ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING);
        assert!(PublicKey::from_pem(private.expose_secret()).is_none());
    }

    #[property_test]
    fn an_accepted_private_key_signs_what_its_public_key_verifies(
        #[strategy = select(private_pems().to_vec()).prop_flat_map(|pem| arbitrary::damaged(pem.expose_secret()))] pem: String,
    ) {
        if let Some(key) = PrivateKey::from_pem(&pem.into()) {
            let (token, verifier) = (key.signer().sign(&json!({})).unwrap(), key.public().verifier());
            assert!(jsonwebtoken::decode::<Value>(&token, &verifier.key, &verifier.validation).is_ok());
        }
    }
    #[property_test]
    fn an_accepted_public_key_is_published_under_one_kid_without_private_parts(
        #[strategy = prop_oneof![
            select(public_pems().to_vec()),
            select(public_pems().to_vec()).prop_flat_map(|text| arbitrary::damaged(&text)),
            select(private_pems().to_vec()).prop_map(|pem| pem.expose_secret().replace("PRIVATE", "PUBLIC")),
        ]]
        pem: String,
    ) {
        if let Some(key) = PublicKey::from_pem(&pem) {
            let again = PublicKey::from_jwk(key.as_jwk().clone(), key.algorithm).unwrap();
            assert_eq!(again.as_jwk(), key.as_jwk());
            let public = ["kty", "use", "alg", "kid", "n", "e", "crv", "x", "y"];
            assert!(json!(key.as_jwk()).as_object().unwrap().keys().all(|member| public.contains(&member.as_str())));
        }
    }
}
