//! Holds the verification of passkeys against the crate webauthn-rs, on the same inputs.

use std::time::Duration;

use serde_json::Value;
use shared::{
    environment::Environment,
    security::webauthn::{self, RelyingParty, StoredCredential},
};
use tests::passkey::{
    Device, ORIGIN, RP_ID, changed_creation,
    faults::{Fault, of_assertions, of_creations},
};
use webauthn_rs_core::{
    WebauthnCore,
    proto::{COSEAlgorithm, Credential, UserVerificationPolicy},
};

/// Faults of new passkeys that webauthn-rs accepts. This service rejects them: the data must end where its flags say, the id that the browser returns
/// must be the id in the data, an id has at least one byte, and a map in CBOR has each key once (RFC 8949 §5.6).
const CREATIONS_ACCEPTED_ONLY_BY_WEBAUTHN_RS: [&str; 4] =
    ["a byte too many", "another credential id", "an empty credential id", "a label twice"];
/// Faults of assertions that webauthn-rs accepts. This service rejects a page that is embedded in another origin, because no page of the application is
/// meant to be embedded (WebAuthn §7.2, `crossOrigin` and `topOrigin`).
const ASSERTIONS_ACCEPTED_ONLY_BY_WEBAUTHN_RS: [&str; 3] =
    ["embedded in another origin", "embedded in a page of another origin", "a byte too many"];

struct Verifiers {
    webauthn_rs: WebauthnCore,
    relying_party: RelyingParty,
}

impl Verifiers {
    fn new() -> Self {
        let origin = url::Url::parse(ORIGIN).unwrap();
        let webauthn_rs =
            WebauthnCore::new_unsafe_experts_only("", RP_ID, vec![origin], Duration::from_mins(5), None, None);
        let variables = [("PASSKEY_RP_ID".to_owned(), RP_ID.to_owned())];
        let relying_party = RelyingParty::from_env(&Environment::from_iter(variables)).unwrap().unwrap();
        Self { webauthn_rs, relying_party }
    }

    /// What each says about a new passkey that the device creates: with this fault, or with none.
    async fn creation(
        &self,
        device: &mut Device,
        fault: Option<&Fault>,
    ) -> (Option<StoredCredential>, Option<Credential>) {
        let builder = self.webauthn_rs.new_challenge_register_builder(&[7; 32], "ada", "Ada").unwrap();
        let builder = builder
            .user_verification_policy(UserVerificationPolicy::Required)
            .require_resident_key(true)
            .credential_algorithms(vec![COSEAlgorithm::ES256, COSEAlgorithm::EDDSA, COSEAlgorithm::RS256]);
        let (options, state) = self.webauthn_rs.generate_challenge_register(builder).unwrap();
        let options = serde_json::to_value(options).unwrap();
        let created = device.creates(&options["publicKey"]).await;
        let created = match fault {
            Some(fault) => changed_creation(&created, |parts| fault.make(parts)),
            None => created,
        };
        let here = webauthn::verify_registration(&self.relying_party, &read(&created)).ok();
        let here = here.map(|new| StoredCredential {
            public_key: new.public_key,
            sign_count: new.sign_count,
            backup_eligible: new.backup_eligible,
        });
        (here, self.webauthn_rs.register_credential(&read(&created), &state, None).ok())
    }

    /// Whether each accepts an assertion of the device: with this fault, or with none.
    async fn assertion(
        &self,
        device: &mut Device,
        (here, there): (&StoredCredential, &Credential),
        fault: Option<&Fault>,
    ) -> (bool, bool) {
        let builder = self.webauthn_rs.new_challenge_authenticate_builder(vec![there.clone()], None).unwrap();
        let (options, state) = self.webauthn_rs.generate_challenge_authenticate(builder).unwrap();
        let options = serde_json::to_value(options).unwrap();
        let assertion = device.signs(&options["publicKey"]).await;
        let assertion = device.changed(&assertion, |parts| {
            if let Some(fault) = fault {
                fault.make(parts);
            }
        });
        let accepted_here = webauthn::verify_assertion(&self.relying_party, &read(&assertion), here).is_ok();
        (accepted_here, self.webauthn_rs.authenticate_credential(&read(&assertion), &state).is_ok())
    }
}

fn read<T: serde::de::DeserializeOwned>(response: &Value) -> T {
    serde_json::from_value(response.clone()).unwrap()
}

// Requirement 69.
#[tokio::test]
async fn webauthn_rs_accepts_and_rejects_the_same_new_passkeys() {
    let verifiers = Verifiers::new();
    let (here, there) = verifiers.creation(&mut Device::new(), None).await;
    assert!(here.is_some() && there.is_some());
    let mut only_there = Vec::new();
    for fault in of_creations() {
        let (here, there) = verifiers.creation(&mut Device::new(), Some(&fault)).await;
        assert!(here.is_none(), "{}", fault.name);
        only_there.extend(there.map(|_| fault.name));
    }
    assert_eq!(only_there, CREATIONS_ACCEPTED_ONLY_BY_WEBAUTHN_RS);
}

// Requirement 69.
#[tokio::test]
async fn webauthn_rs_accepts_and_rejects_the_same_assertions() {
    let verifiers = Verifiers::new();
    for mut device in [Device::new(), Device::that_counts()] {
        let (here, there) = verifiers.creation(&mut device, None).await;
        let stored = (&here.unwrap(), &there.unwrap());
        assert_eq!(verifiers.assertion(&mut device, stored, None).await, (true, true));
        let mut only_there = Vec::new();
        for fault in of_assertions() {
            let (here, there) = verifiers.assertion(&mut device, stored, Some(&fault)).await;
            assert!(!here, "{}", fault.name);
            only_there.extend(there.then_some(fault.name));
        }
        assert_eq!(only_there, ASSERTIONS_ACCEPTED_ONLY_BY_WEBAUTHN_RS);
        assert_eq!(verifiers.assertion(&mut device, stored, None).await, (true, true));
    }
}
