//! Passkeys: verifying what an authenticator has made (WebAuthn Level 3).
//!
//! `docs/decisions/0021-webauthn-is-verified-here.md` says why no library does it.

mod authenticator_data;
mod cbor;
mod challenge;
mod client_data;
mod json;
mod public_key;
mod relying_party;

use thiserror::Error;

use self::{
    authenticator_data::AuthenticatorData,
    client_data::{Ceremony, ClientData},
    json::decode,
    public_key::PublicKey,
};
pub use self::{
    challenge::{Challenge, Challenges, Purpose},
    json::{
        AuthenticationResponse, CreationOptions, KnownPasskey, RegistrationResponse, RequestOptions, UserHandle,
        UserOfCreation,
    },
    relying_party::RelyingParty,
};

/// Why a passkey is rejected. The client gets one answer for every reason. The log has the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejected {
    /// A part is missing or malformed.
    #[error("the {0} is malformed")]
    Malformed(&'static str),
    /// The ceremony is another one: a creation instead of an assertion, or the reverse.
    #[error("the type of the client data is wrong")]
    Type,
    /// The challenge is not one of this service, has another purpose, or has expired.
    #[error("the challenge is wrong or has expired")]
    Challenge,
    /// The page that used the passkey is none of the application's.
    #[error("the origin is not allowed")]
    Origin,
    /// The page was embedded in a page of another origin.
    #[error("the page was embedded in another origin")]
    CrossOrigin,
    /// The passkey is for another relying party.
    #[error("the relying party is another one")]
    RelyingParty,
    /// The user was not present, or was not verified, for example by a PIN or a fingerprint.
    #[error("the user was not present or not verified")]
    UserVerification,
    /// The flags about backups contradict each other or the stored passkey.
    #[error("the backup flags are inconsistent")]
    Backup,
    /// The algorithm is none of those that were offered.
    #[error("the algorithm is not allowed")]
    Algorithm,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// The credential is unknown or belongs to another account, or its id or user handle does not match.
    #[error("the credential is unknown, belongs to another account, or does not match")]
    Credential,
    /// The signature counter has not increased. So there may be a copy of the passkey.
    #[error("the signature counter has not increased")]
    Counter,
    /// The challenge was used before.
    #[error("the challenge was used before")]
    Replayed,
}

/// What an authenticator says about a new passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCredential {
    /// The credential id, of 1 to 1023 bytes.
    pub id: Vec<u8>,
    /// The public key, as a COSE key (RFC 9052 §7).
    pub public_key: Vec<u8>,
    /// The signature counter. Zero if the authenticator has none.
    pub sign_count: u32,
    /// Whether the passkey may be backed up, for example to the account of the device's maker.
    pub backup_eligible: bool,
    /// Whether it is backed up now.
    pub backed_up: bool,
    /// How the browser reaches the authenticator.
    pub transports: Vec<String>,
}

/// A stored passkey, against which an assertion is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// The public key, as a COSE key.
    pub public_key: Vec<u8>,
    /// The signature counter.
    pub sign_count: u32,
    /// Whether the passkey may be backed up.
    pub backup_eligible: bool,
}

/// A verified assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asserted {
    /// The new signature counter.
    pub sign_count: u32,
    /// Whether the passkey is backed up now.
    pub backed_up: bool,
}

/// The challenge in the client data of a response. The caller checks it with [`Challenges::check`], before anything is read from a store.
///
/// # Errors
/// [`Rejected::Malformed`] if there is none.
pub fn challenge_of(client_data: &str) -> Result<Challenge, Rejected> {
    ClientData::parse(&decode(client_data, "client data")?)?.challenge()
}

/// Verifies a new passkey (WebAuthn §7.1). The caller has checked the challenge. The attestation statement is not verified, because the options ask for
/// none.
///
/// # Errors
/// The first step that fails.
pub fn verify_registration(
    relying_party: &RelyingParty,
    registration: &RegistrationResponse,
) -> Result<NewCredential, Rejected> {
    let id = registration.credential_id()?;
    let client_data = decode(&registration.response.client_data, "client data")?;
    ClientData::parse(&client_data)?.check(Ceremony::Create, relying_party)?;
    let attestation = decode(&registration.response.attestation_object, "attestation object")?;
    let data = cbor::authenticator_data_of(&attestation)?;
    let data = AuthenticatorData::parse(&data)?;
    data.check(relying_party)?;
    let credential = data.credential.as_ref().ok_or(Rejected::Malformed("attested credential data"))?;
    if credential.id != id {
        return Err(Rejected::Credential);
    }
    PublicKey::parse(credential.public_key)?;
    Ok(NewCredential {
        id,
        public_key: credential.public_key.to_vec(),
        sign_count: data.sign_count,
        backup_eligible: data.is_backup_eligible(),
        backed_up: data.is_backed_up(),
        transports: registration.transports(),
    })
}

/// Verifies an assertion (WebAuthn §7.2) against the stored passkey with its credential id. The caller has checked the challenge and the user handle.
///
/// # Errors
/// The first step that fails. [`Rejected::Counter`] comes last, when the signature is right.
pub fn verify_assertion(
    relying_party: &RelyingParty,
    assertion: &AuthenticationResponse,
    stored: &StoredCredential,
) -> Result<Asserted, Rejected> {
    let client_data = decode(&assertion.response.client_data, "client data")?;
    ClientData::parse(&client_data)?.check(Ceremony::Get, relying_party)?;
    let bytes = decode(&assertion.response.authenticator_data, "authenticator data")?;
    let data = AuthenticatorData::parse(&bytes)?;
    data.check(relying_party)?;
    if data.is_backup_eligible() != stored.backup_eligible {
        return Err(Rejected::Backup);
    }
    let signature = decode(&assertion.response.signature, "signature")?;
    PublicKey::parse(&stored.public_key)?.verify(&bytes, &client_data, &signature)?;
    if stored.sign_count != 0 && data.sign_count <= stored.sign_count {
        return Err(Rejected::Counter);
    }
    Ok(Asserted { sign_count: data.sign_count, backed_up: data.is_backed_up() })
}
