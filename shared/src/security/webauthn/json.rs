//! The JSON of WebAuthn §5.1: options for the browser, and its responses.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};

use super::{Challenge, Rejected, RelyingParty, public_key::ALGORITHMS};
use crate::security::policy;

/// The 32 random bytes by which an authenticator knows an account. They say nothing about it (WebAuthn §14.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserHandle(pub Vec<u8>);

/// What a browser returns after a creation (`RegistrationResponseJSON`). Fields that this service does not need are skipped.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationResponse {
    id: String,
    raw_id: String,
    r#type: String,
    pub(super) response: AttestationResponse,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttestationResponse {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data: String,
    pub(super) attestation_object: String,
    #[serde(default)]
    transports: Vec<String>,
}

/// What a browser returns after an assertion (`AuthenticationResponseJSON`). Fields that this service does not need are skipped.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationResponse {
    id: String,
    raw_id: String,
    r#type: String,
    pub(super) response: AssertionResponse,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssertionResponse {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data: String,
    pub(super) authenticator_data: String,
    pub(super) signature: String,
    user_handle: Option<String>,
}

impl UserHandle {
    /// A new handle.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = vec![0; policy::USER_HANDLE_BYTES];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl RegistrationResponse {
    /// The credential id.
    ///
    /// # Errors
    /// [`Rejected::Malformed`] if it is malformed.
    pub fn credential_id(&self) -> Result<Vec<u8>, Rejected> {
        credential_id(&self.id, &self.raw_id, &self.r#type)
    }

    /// The client data, in base64url.
    #[must_use]
    pub fn client_data(&self) -> &str {
        &self.response.client_data
    }

    /// The transports that have a plausible form. They are only hints for the browser.
    pub(super) fn transports(&self) -> Vec<String> {
        let is_plausible = |name: &&String| {
            let length = (1..=policy::TRANSPORT_LENGTH).contains(&name.len());
            length && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        self.response.transports.iter().filter(is_plausible).take(policy::TRANSPORTS).cloned().collect()
    }
}

impl AuthenticationResponse {
    /// The credential id.
    ///
    /// # Errors
    /// [`Rejected::Malformed`] if it is malformed.
    pub fn credential_id(&self) -> Result<Vec<u8>, Rejected> {
        credential_id(&self.id, &self.raw_id, &self.r#type)
    }

    /// The client data, in base64url.
    #[must_use]
    pub fn client_data(&self) -> &str {
        &self.response.client_data
    }

    /// The user handle, if the authenticator has returned one.
    ///
    /// # Errors
    /// [`Rejected::Malformed`] if it is malformed.
    pub fn user_handle(&self) -> Result<Option<UserHandle>, Rejected> {
        let handle = self.response.user_handle.as_deref();
        handle.map(|handle| decode(handle, "user handle").map(UserHandle)).transpose()
    }
}

fn credential_id(id: &str, raw_id: &str, kind: &str) -> Result<Vec<u8>, Rejected> {
    if kind != "public-key" || id != raw_id {
        return Err(Rejected::Malformed("credential"));
    }
    decode(raw_id, "credential id")
}

/// The bytes of a text in base64url without padding.
pub(super) fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, Rejected> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Rejected::Malformed(what))
}

/// A passkey of an account, as the options name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPasskey {
    /// The credential id.
    pub id: Vec<u8>,
    /// How the browser reaches the authenticator.
    pub transports: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Descriptor {
    r#type: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transports: Vec<String>,
}

impl From<&KnownPasskey> for Descriptor {
    fn from(passkey: &KnownPasskey) -> Self {
        Self { r#type: TYPE, id: URL_SAFE_NO_PAD.encode(&passkey.id), transports: passkey.transports.clone() }
    }
}

const TYPE: &str = "public-key";
const REQUIRED: &str = "required";

/// The account for which a passkey is created.
#[derive(Debug)]
pub struct UserOfCreation<'a> {
    /// Its handle.
    pub handle: &'a UserHandle,
    /// Its address, which distinguishes the accounts of one person.
    pub email: &'a str,
    /// The name of its user.
    pub name: &'a str,
}

/// Options for the creation of a passkey (`PublicKeyCredentialCreationOptionsJSON`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreationOptions {
    rp: Rp,
    user: User,
    challenge: String,
    pub_key_cred_params: Vec<Parameters>,
    timeout: u128,
    exclude_credentials: Vec<Descriptor>,
    authenticator_selection: Selection,
    attestation: &'static str,
}

#[derive(Debug, Serialize)]
struct Rp {
    id: String,
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    id: String,
    name: String,
    display_name: String,
}

#[derive(Debug, Serialize)]
struct Parameters {
    r#type: &'static str,
    alg: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    resident_key: &'static str,
    require_resident_key: bool,
    user_verification: &'static str,
}

impl CreationOptions {
    /// Options for a passkey of a user who has these passkeys already. `product` is the name that the browser may show.
    #[must_use]
    pub fn new(
        relying_party: &RelyingParty,
        product: &str,
        user: &UserOfCreation<'_>,
        known: &[KnownPasskey],
        challenge: &Challenge,
    ) -> Self {
        Self {
            rp: Rp { id: relying_party.id().to_owned(), name: product.to_owned() },
            user: User {
                id: URL_SAFE_NO_PAD.encode(&user.handle.0),
                name: user.email.to_owned(),
                display_name: user.name.to_owned(),
            },
            challenge: challenge.to_text(),
            pub_key_cred_params: ALGORITHMS.map(|alg| Parameters { r#type: TYPE, alg }).into(),
            timeout: policy::CHALLENGE_LIFETIME.as_millis(),
            exclude_credentials: known.iter().map(Descriptor::from).collect(),
            authenticator_selection: Selection {
                resident_key: REQUIRED,
                require_resident_key: true,
                user_verification: REQUIRED,
            },
            attestation: "none",
        }
    }
}

/// Options for an assertion (`PublicKeyCredentialRequestOptionsJSON`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestOptions {
    challenge: String,
    timeout: u128,
    rp_id: String,
    allow_credentials: Vec<Descriptor>,
    user_verification: &'static str,
}

impl RequestOptions {
    /// Options for an assertion by one of these passkeys. If there are none, the user may choose any passkey of the relying party.
    #[must_use]
    pub fn new(relying_party: &RelyingParty, allowed: &[KnownPasskey], challenge: &Challenge) -> Self {
        Self {
            challenge: challenge.to_text(),
            timeout: policy::CHALLENGE_LIFETIME.as_millis(),
            rp_id: relying_party.id().to_owned(),
            allow_credentials: allowed.iter().map(Descriptor::from).collect(),
            user_verification: REQUIRED,
        }
    }
}
