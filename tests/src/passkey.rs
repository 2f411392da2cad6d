//! The device of a person that has passkeys, and the requests about passkeys.
//!
//! The device is the browser and the software authenticator of the crate `passkey`, which share no code with this service.

pub mod faults;

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ciborium::Value as Cbor;
use passkey::{
    authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod},
    client::{Client, DefaultClientData},
    crypto::{aws_lc_rs::AwsLcRsBackend, coset::Label},
    types::{
        Passkey,
        ctap2::{Aaguid, Ctap2Error},
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::{Person, Reply, functions::SOURCE};

/// The domain that the passkeys of the tests belong to.
pub const RP_ID: &str = "example.com";
/// The origin of the application.
pub const ORIGIN: &str = "https://example.com";

/// A device with one passkey of a person, or with none yet.
#[derive(Default)]
pub struct Device {
    passkey: Option<Passkey>,
    counts: bool,
}

/// A person who is present, and whom the device recognises.
struct User;

#[async_trait::async_trait]
impl UserValidationMethod for User {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(
        &self,
        _: UiHint<'a, Passkey>,
        presence: bool,
        verification: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence, verification })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

/// The parts of a response that a test may change.
pub struct Parts {
    /// The client data.
    pub client_data: Value,
    /// The authenticator data.
    pub data: Vec<u8>,
}

impl Device {
    /// A device without a passkey. It does not count its signatures.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A device that counts its signatures.
    #[must_use]
    pub fn that_counts() -> Self {
        Self { counts: true, passkey: None }
    }

    fn authenticator(&self) -> Authenticator<Option<Passkey>, User, AwsLcRsBackend> {
        let mut authenticator = Authenticator::new(Aaguid::new_empty(), self.passkey.clone(), User, AwsLcRsBackend);
        authenticator.set_make_credentials_with_signature_counter(self.counts);
        authenticator
    }

    /// Creates a passkey, as a browser does with these options.
    pub async fn creates(&mut self, options: &Value) -> Value {
        let options =
            serde_json::from_value(json!({ "publicKey": options })).expect("options that a browser understands");
        let (origin, mut client) = (Url::parse(ORIGIN).expect("a URL"), Client::new(self.authenticator()));
        let created = client.register(&origin, options, DefaultClientData).await.expect("a passkey");
        self.passkey.clone_from(client.authenticator().store());
        serde_json::to_value(created).expect("JSON")
    }

    /// Signs with the passkey, as a browser does with these options.
    pub async fn signs(&mut self, options: &Value) -> Value {
        let options =
            serde_json::from_value(json!({ "publicKey": options })).expect("options that a browser understands");
        let (origin, mut client) = (Url::parse(ORIGIN).expect("a URL"), Client::new(self.authenticator()));
        let signed = client.authenticate(&origin, options, DefaultClientData).await.expect("an assertion");
        self.passkey.clone_from(client.authenticator().store());
        serde_json::to_value(signed).expect("JSON")
    }

    /// Whether these options list the passkey of the device.
    #[must_use]
    pub fn is_listed(&self, options: &Value) -> bool {
        let Some(passkey) = &self.passkey else { return false };
        let id = encode(passkey.credential_id.as_slice());
        options["allowCredentials"].as_array().is_some_and(|listed| listed.iter().any(|known| known["id"] == id))
    }

    /// The response of the device, changed and signed again.
    #[must_use]
    pub fn changed(&self, response: &Value, change: impl FnOnce(&mut Parts)) -> Value {
        let bytes = |name: &str| decode(response["response"][name].as_str().expect("a text"));
        let mut parts = Parts {
            client_data: serde_json::from_slice(&bytes("clientDataJSON")).expect("JSON"),
            data: bytes("authenticatorData"),
        };
        change(&mut parts);
        let client_data = parts.client_data.to_string();
        let signed = [&parts.data, digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        let signature = self.key_pair().sign(&SystemRandom::new(), &signed).expect("a signature");
        let mut changed = response.clone();
        changed["response"]["clientDataJSON"] = encode(client_data).into();
        changed["response"]["authenticatorData"] = encode(parts.data).into();
        changed["response"]["signature"] = encode(signature).into();
        changed
    }

    fn key_pair(&self) -> EcdsaKeyPair {
        let key = &self.passkey.as_ref().expect("a passkey").key;
        let part = |label: i64| {
            let (_, value) = key.params.iter().find(|(name, _)| *name == Label::Int(label)).expect("a part of the key");
            value.as_bytes().expect("bytes")
        };
        // The labels of RFC 9053 §7.1.
        let (x, y, private) = (part(-2), part(-3), part(-4));
        let public = [&[4], x.as_slice(), y].concat();
        EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_ASN1_SIGNING, private, &public)
            .expect("a pair")
    }
}

/// The response to a creation, changed. A creation is not signed, because the attestation is `none`.
#[must_use]
pub fn changed_creation(response: &Value, change: impl FnOnce(&mut Parts)) -> Value {
    let bytes = |name: &str| decode(response["response"][name].as_str().expect("a text"));
    let object: Cbor = ciborium::from_reader(&*bytes("attestationObject")).expect("CBOR");
    let mut object = object.into_map().expect("a map");
    let (_, data) = object.iter_mut().find(|(key, _)| key.as_text() == Some("authData")).expect("authenticator data");
    let mut parts = Parts {
        client_data: serde_json::from_slice(&bytes("clientDataJSON")).expect("JSON"),
        data: data.as_bytes().expect("bytes").clone(),
    };
    change(&mut parts);
    *data = Cbor::Bytes(parts.data);
    let mut changed = response.clone();
    changed["response"]["clientDataJSON"] = encode(parts.client_data.to_string()).into();
    changed["response"]["attestationObject"] = encode(cbor(&Cbor::Map(object))).into();
    changed
}

/// The bytes of a value in CBOR.
#[must_use]
pub fn cbor(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("CBOR");
    bytes
}

/// base64url without padding.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a text in base64url without padding.
#[must_use]
pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

impl Person<'_> {
    /// Asks for options for a new passkey.
    pub async fn begins_passkey(&self, access_token: &str) -> Reply {
        self.stack().with_token(Method::POST, "/api/passkeys/options", access_token).await
    }

    /// Adds a passkey that the device has created.
    pub async fn adds_created_passkey(&self, access_token: &str, name: &str, created: &Value) -> Reply {
        let body = json!({ "name": name, "passkey": created });
        self.sends(Method::POST, "/api/passkeys", access_token, body).await
    }

    /// Adds a passkey of the device in a session.
    pub async fn adds_passkey_of(&self, device: &mut Device, access_token: &str) -> Reply {
        let options = self.begins_passkey(access_token).await;
        assert_eq!(options.status, 200, "{}", options.text);
        let created = device.creates(&options.json()).await;
        let reply = self.adds_created_passkey(access_token, "Phone", &created).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply
    }

    /// The passkeys of the account.
    pub async fn lists_passkeys(&self, access_token: &str) -> Reply {
        self.stack().with_token(Method::GET, "/api/passkeys", access_token).await
    }

    /// Gives a passkey another name.
    pub async fn renames_passkey(&self, access_token: &str, id: &str, name: &str) -> Reply {
        self.sends(Method::PATCH, &format!("/api/passkeys/{id}"), access_token, json!({ "name": name })).await
    }

    /// Removes a passkey.
    pub async fn removes_passkey(&self, access_token: &str, id: &str) -> Reply {
        self.stack().with_token(Method::DELETE, &format!("/api/passkeys/{id}"), access_token).await
    }

    /// Asks for options for a sign-in by a passkey.
    pub async fn asks_for_passkey(&self) -> Reply {
        self.stack().send(Method::POST, "/api/signin/passkey/options", |request| request).await
    }

    /// Options for a sign-in by a passkey.
    pub async fn passkey_options(&self) -> Value {
        let reply = self.asks_for_passkey().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    }

    /// Signs in with what the device has signed.
    pub async fn signs_in_with_assertion(&self, assertion: &Value) -> Reply {
        let path = "/api/signin/passkey";
        self.stack().send(Method::POST, path, |request| request.header(SOURCE, &self.source).json(assertion)).await
    }

    /// Signs in with the passkey of the device alone.
    pub async fn signs_in_with_passkey(&self, device: &mut Device) -> Reply {
        let assertion = device.signs(&self.passkey_options().await).await;
        self.signs_in_with_assertion(&assertion).await
    }

    /// Signs in with the right password. Returns the token for the second factor, and the options for a passkey.
    pub async fn signs_in_halfway_for_passkey(&self) -> (String, Value) {
        let reply = self.tries_to_sign_in().await;
        assert_eq!((reply.status, &*reply.text_at("code")), (401, "second_factor_required"), "{}", reply.text);
        (reply.text_at("mfa_token"), reply.json()["passkey_options"].clone())
    }

    /// Asks for options for reauthentication by a passkey.
    pub async fn reauthentication_options(&self, access_token: &str) -> Reply {
        self.stack().with_token(Method::POST, "/api/reauthenticate/options", access_token).await
    }
}
