//! Sends random bytes as what a browser returns about a passkey: as attestation objects, authenticator data, client data and stored public keys. No
//! input may make the verification panic. No assertion may be accepted, because none has a valid signature.

#![no_main]

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use serde_json::json;
use shared::{
    environment::Environment,
    security::webauthn::{self, RelyingParty, StoredCredential},
};

/// The parts of a response. A part that is `None` gets a plausible value.
#[derive(Arbitrary, Debug)]
struct Response<'a> {
    client_data: Option<&'a [u8]>,
    authenticator_data: Option<&'a [u8]>,
    attestation_object: Option<&'a [u8]>,
    public_key: Option<&'a [u8]>,
    signature: &'a [u8],
    sign_count: u32,
    backup_eligible: bool,
}

/// The SHA-256 of `example.com`, the flags of a verified user with a passkey, and a counter.
const HEAD: [u8; 37] = [
    0xa3, 0x79, 0xa6, 0xf6, 0xee, 0xaf, 0xb9, 0xa5, 0x5e, 0x37, 0x8c, 0x11, 0x80, 0x34, 0xe2, 0x75, 0x1e, 0x68, 0x2f,
    0xab, 0x9f, 0x2d, 0x30, 0xab, 0x13, 0xd2, 0x12, 0x55, 0x86, 0xce, 0x19, 0x47, 0x05, 0, 0, 0, 0,
];

/// A point on P-256 that belongs to no known private key, as a COSE key.
const KEY: &[u8] = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20\x14\xd2\x4e\x8b\x11\x20\x79\xf6\xf4\xbc\x53\xa5\x57\xad\x5f\x30\xad\x7f\xfa\x49\
    \x98\x04\xf3\xd5\xb6\x14\x6e\x50\x1e\xea\x4c\x0f\x22\x58\x20\x42\xe1\xc3\x5e\x94\x6b\x31\x2a\xed\x32\x41\x58\x8b\x82\xb5\x05\xcc\xd1\
    \xe4\x37\x70\x33\xb4\xba\xff\x4b\x9b\x51\xff\x30\xa6\xf2";

static RELYING_PARTY: LazyLock<RelyingParty> = LazyLock::new(|| {
    let variables = [("PASSKEY_RP_ID".to_owned(), "example.com".to_owned())];
    RelyingParty::from_env(&Environment::from_iter(variables)).expect("a domain").expect("an id")
});

fuzz_target!(|response: Response<'_>| {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let client_data = |kind: &str| match response.client_data {
        Some(bytes) => text(bytes),
        None => text(
            json!({ "type": kind, "challenge": text(&[7; 32]), "origin": "https://example.com" })
                .to_string()
                .as_bytes(),
        ),
    };
    let created = json!({
        "id": text(&[1; 16]), "rawId": text(&[1; 16]), "type": "public-key",
        "response": {
            "clientDataJSON": client_data("webauthn.create"),
            "attestationObject": text(&attestation_object(&response)),
        },
    });
    let created = serde_json::from_value(created).expect("all fields");
    // A new passkey with the attestation `none` has no signature, so it may be accepted.
    let _ = webauthn::challenge_of(&client_data("webauthn.create"));
    if let Ok(new) = webauthn::verify_registration(&RELYING_PARTY, &created) {
        assert!(new.id == [1; 16] && !(new.backed_up && !new.backup_eligible));
    }
    let asserted = json!({
        "id": text(&[1; 16]), "rawId": text(&[1; 16]), "type": "public-key",
        "response": {
            "clientDataJSON": client_data("webauthn.get"),
            "authenticatorData": text(response.authenticator_data.unwrap_or(&HEAD)),
            "signature": text(response.signature),
        },
    });
    let asserted = serde_json::from_value(asserted).expect("all fields");
    let stored = StoredCredential {
        public_key: KEY.to_vec(),
        sign_count: response.sign_count,
        backup_eligible: response.backup_eligible,
    };
    assert!(webauthn::verify_assertion(&RELYING_PARTY, &asserted, &stored).is_err(), "nobody has signed this");
    let of_client = StoredCredential { public_key: response.public_key.unwrap_or(KEY).to_vec(), ..stored };
    let _ = webauthn::verify_assertion(&RELYING_PARTY, &asserted, &of_client);
});

/// A whole attestation object, or one around this authenticator data or this public key.
fn attestation_object(response: &Response<'_>) -> Vec<u8> {
    if let Some(bytes) = response.attestation_object {
        return bytes.to_vec();
    }
    let data = response.authenticator_data.map_or_else(
        || {
            let mut data = HEAD.to_vec();
            data[32] |= 0x40;
            [data, vec![0; 16], vec![0, 16], vec![1; 16], response.public_key.unwrap_or(KEY).to_vec()].concat()
        },
        <[u8]>::to_vec,
    );
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59"[..], &length, &data].concat()
}
