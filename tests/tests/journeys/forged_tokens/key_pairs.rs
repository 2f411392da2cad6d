//! Forged tokens for a service that signs with key pairs.

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tests::{Person, Stack, Tokens, keys};

use super::{
    INVALID, REVOKED, assert_refused,
    unsigned_token::{Key, UnsignedToken, decoded, encoded},
};

/// A stack that signs access tokens with an RSA key, and also accepts those of an EC key and of an Ed25519 key.
struct Keyring {
    stack: Stack,
    /// The private keys, in PEM, each with its algorithm and `kid`.
    private: Vec<(String, Algorithm, Value)>,
}

const ISSUER: &str = "https://auth.example.com";

impl Keyring {
    async fn start() -> Self {
        let keys = [keys::new_rsa_private_key(), keys::new_ec_private_key(), keys::new_ed25519_private_key()];
        let additional = format!("{}\n{}", keys::public_key(&keys[1]), keys::public_key(&keys[2]));
        let stack = Stack::builder().with("JWT_ISSUER", ISSUER).with("JWT_PRIVATE_KEY", &keys[0]);
        let stack = stack.with("JWT_ADDITIONAL_PUBLIC_KEYS", &additional).start().await;
        let published = stack.get("/.well-known/jwks.json").await.json();
        let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
        let kids = published["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone());
        let private = keys.into_iter().zip(algorithms).zip(kids).map(|((pem, algorithm), kid)| (pem, algorithm, kid));
        Self { stack, private: private.collect() }
    }

    async fn signs_in(&self) -> (Person<'_>, Tokens) {
        let ada = self.stack.user("Ada").await;
        let tokens = ada.signs_in().await;
        (ada, tokens)
    }

    async fn assert_refused_everywhere(&self, name: &str, token: &str) {
        for path in ["/api/dashboard", "/api/logout", "/api/refresh"] {
            assert_refused(&self.stack, path, name, token, INVALID).await;
        }
    }

    /// Every key whose signatures this service accepts, with its algorithm and key id. The secret has the key id of `refresh_token`.
    fn signers(&self, refresh_token: &UnsignedToken) -> Vec<(Key, Value, Value)> {
        let private = self
            .private
            .iter()
            .map(|(pem, algorithm, kid)| (Key::private(pem, *algorithm), json!(algorithm), kid.clone()));
        [(Key::of_the_service(), json!("HS256"), refresh_token.kid().clone())].into_iter().chain(private).collect()
    }
}

// Requirements 1, 2.
#[tokio::test]
async fn each_key_verifies_only_its_own_algorithm_and_key_id() {
    let keyring = Keyring::start().await;
    let (ada, tokens) = keyring.signs_in().await;
    let (access, refresh) = (UnsignedToken::of(&tokens.access), UnsignedToken::of(&tokens.refresh));
    let signers = keyring.signers(&refresh);
    for (signer, (key, ..)) in signers.iter().enumerate() {
        for (kid_of, (.., kid)) in signers.iter().enumerate() {
            for (algorithm_of, (_, algorithm, _)) in signers.iter().enumerate() {
                let name = format!("signed by key {signer} as {algorithm} with the key id of key {kid_of}");
                let forged = |valid_token: &UnsignedToken| {
                    valid_token.header("alg", algorithm.clone()).header("kid", kid.clone()).signed_by(key)
                };
                if signer == kid_of && kid_of == algorithm_of {
                    assert_eq!(ada.dashboard(&forged(&access)).await.status, 200, "{name}");
                } else {
                    keyring.assert_refused_everywhere(&name, &forged(&access)).await;
                    keyring.assert_refused_everywhere(&name, &forged(&refresh)).await;
                }
            }
        }
    }
    assert_eq!(ada.refreshes(&refresh.signed()).await.status, 200);
}

// Requirement 1.
#[tokio::test]
async fn a_public_key_is_not_accepted_as_an_hmac_secret() {
    let keyring = Keyring::start().await;
    let (ada, tokens) = keyring.signs_in().await;
    let published = keyring.stack.get("/.well-known/jwks.json").await.json();
    for ((pem, algorithm, kid), jwk) in keyring.private.iter().zip(published["keys"].as_array().unwrap()) {
        let (public, der) = (keys::public_key(pem), keys::public_key_der(pem));
        let number = |name: &str| decoded(jwk[name].as_str().unwrap_or_default());
        let secrets = [
            public.clone().into_bytes(),
            format!("{public}\n").into_bytes(),
            public.replace('\n', "\r\n").into_bytes(),
            public.replace('\n', "\\n").into_bytes(),
            STANDARD.encode(&der).into_bytes(),
            der,
            jwk.to_string().into_bytes(),
            number("n"),
            number("x"),
            kid.as_str().unwrap().as_bytes().to_vec(),
        ];
        for secret in secrets {
            for valid_token in [UnsignedToken::of(&tokens.access), UnsignedToken::of(&tokens.refresh)] {
                let with_kid = valid_token.header("kid", kid.clone());
                for unsigned in [
                    valid_token.header("alg", "HS256"),
                    with_kid.header("alg", "HS256"),
                    with_kid.header("alg", json!(algorithm)),
                ] {
                    let name = format!("{} with {}", unsigned.header_text(), String::from_utf8_lossy(&secret));
                    keyring.assert_refused_everywhere(&name, &unsigned.signed_by(&Key::secret(&secret))).await;
                }
            }
        }
    }
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 200);
}

// Requirements 1, 7.
#[tokio::test]
async fn a_key_pair_signs_access_tokens_with_one_algorithm_and_no_refresh_tokens() {
    let keyring = Keyring::start().await;
    let (ada, tokens) = keyring.signs_in().await;
    let (access, refresh) = (UnsignedToken::of(&tokens.access), UnsignedToken::of(&tokens.refresh));
    let other_rsa_algorithms =
        [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
    for (pem, algorithm, kid) in &keyring.private {
        let by = |algorithm: Algorithm| Key::private(pem, algorithm);
        let under =
            |unsigned: &UnsignedToken, said: Algorithm| unsigned.header("alg", json!(said)).header("kid", kid.clone());
        let refresh_token = under(&refresh, *algorithm).signed_by(&by(*algorithm));
        keyring.assert_refused_everywhere("a refresh token signed with a private key", &refresh_token).await;
        for said in other_rsa_algorithms.into_iter().filter(|_| *algorithm == Algorithm::RS256) {
            for unsigned in [under(&access, said), under(&access, *algorithm)] {
                let token = unsigned.signed_by(&by(said));
                keyring.assert_refused_everywhere(&format!("{} by {said:?}", unsigned.header_text()), &token).await;
            }
        }
        let token = under(&access, *algorithm).signed_by(&by(*algorithm));
        assert_eq!(ada.dashboard(&token).await.status, 200, "{algorithm:?}");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let length = decoded(signature).len();
        // These invalid signatures must be refused. Some libraries accepted a signature of zero bytes for any message (CVE-2022-21449).
        for signature in
            [vec![], vec![0; length], vec![1; length], vec![0; length - 1], vec![0x30, 6, 2, 1, 0, 2, 1, 0]]
        {
            let name = format!("{algorithm:?} with {signature:?}");
            keyring.assert_refused_everywhere(&name, &format!("{message}.{}", encoded(signature))).await;
        }
    }
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 200);
}

// Requirement 38.
#[tokio::test]
async fn a_token_with_its_second_valid_signature_is_refused_after_logout() {
    // In ECDSA, n - s verifies as well as s (SEC 1 §4.1.4). So anyone can compute a second valid signature of an ES256 token.
    const N: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let stack =
        Stack::builder().with("JWT_ISSUER", ISSUER).with("JWT_PRIVATE_KEY", &keys::new_ec_private_key()).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let (message, signature) = tokens.access.rsplit_once('.').unwrap();
    let mut malleated = decoded(signature);
    let mut borrowed = 0;
    for (digit, of_n) in malleated[32..].iter_mut().zip(hex::decode(N).unwrap()).rev() {
        let difference = i16::from(of_n) - i16::from(*digit) - borrowed;
        borrowed = i16::from(difference < 0);
        *digit = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let malleated = format!("{message}.{}", encoded(malleated));
    assert_ne!(malleated, tokens.access);
    assert_eq!(ada.dashboard(&malleated).await.status, 200, "the second signature is valid");
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    for path in ["/api/dashboard", "/api/logout"] {
        assert_refused(&stack, path, "the second signature", &malleated, REVOKED).await;
    }
}
