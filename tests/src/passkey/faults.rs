//! Faults of passkeys: each changes one thing in what a device returns.

use ciborium::Value as Cbor;
use serde_json::{Value, json};

use super::{Parts, cbor, encode};

/// A fault. An assertion is signed after the change.
pub struct Fault {
    /// What is wrong.
    pub name: &'static str,
    change: Change,
}

enum Change {
    /// A field of the client data gets this value.
    Client(&'static str, Value),
    /// The authenticator data is changed.
    Data(fn(&mut Vec<u8>)),
    /// The public key of a new passkey is changed.
    Key(fn(&mut Vec<(Cbor, Cbor)>)),
    /// The public key of a new passkey is replaced by these bytes.
    RawKey(fn() -> Vec<u8>),
}

use Change::{Client, Data, Key, RawKey};

/// The position of the flags in the authenticator data (WebAuthn §6.1).
const FLAGS: usize = 32;
/// The positions of the length of a credential id, and of the id (WebAuthn §6.5.1).
const LENGTH: usize = 53;
const ID: usize = 55;

impl Fault {
    /// Makes the fault.
    pub fn make(&self, parts: &mut Parts) {
        match &self.change {
            Client(name, value) => parts.client_data[name] = value.clone(),
            Data(change) => change(&mut parts.data),
            Key(change) => change_key(&mut parts.data, change),
            RawKey(key) => {
                parts.data.truncate(key_position(&parts.data));
                parts.data.extend(key());
            }
        }
    }
}

/// The faults of an assertion.
#[must_use]
pub fn of_assertions() -> Vec<Fault> {
    faults(vec![
        ("another type", Client("type", json!("webauthn.create"))),
        ("a challenge that is no text", Client("challenge", json!(7))),
        ("another origin", Client("origin", json!("https://example.org"))),
        ("a subdomain", Client("origin", json!("https://app.example.com"))),
        ("another port", Client("origin", json!("https://example.com:8443"))),
        ("no TLS", Client("origin", json!("http://example.com"))),
        ("no origin", Client("origin", Value::Null)),
        ("embedded in another origin", Client("crossOrigin", json!(true))),
        ("embedded in a page of another origin", Client("topOrigin", json!("https://example.org"))),
        ("another relying party", Data(|data| data[0] ^= 1)),
        ("the user was not present", Data(|data| data[FLAGS] &= !1)),
        ("the user was not verified", Data(|data| data[FLAGS] &= !4)),
        ("backed up, but not eligible", Data(|data| data[FLAGS] = data[FLAGS] & !8 | 16)),
        ("not eligible, unlike before", Data(|data| data[FLAGS] &= !(8 | 16))),
        ("says that it has a credential", Data(|data| data[FLAGS] |= 64)),
        ("says that it has extensions", Data(|data| data[FLAGS] |= 128)),
        ("a byte too many", Data(|data| data.push(0))),
        ("a byte too few", Data(|data| data.truncate(data.len() - 1))),
        ("empty authenticator data", Data(Vec::clear)),
        (
            "extensions that are no map",
            Data(|data| {
                data[FLAGS] |= 128;
                data.push(0x80);
            }),
        ),
    ])
}

/// The faults of a new passkey.
#[must_use]
pub fn of_creations() -> Vec<Fault> {
    faults(vec![
        ("another type", Client("type", json!("webauthn.get"))),
        ("another origin", Client("origin", json!("https://example.org"))),
        ("embedded in another origin", Client("crossOrigin", json!(true))),
        ("another relying party", Data(|data| data[0] ^= 1)),
        ("the user was not present", Data(|data| data[FLAGS] &= !1)),
        ("the user was not verified", Data(|data| data[FLAGS] &= !4)),
        ("backed up, but not eligible", Data(|data| data[FLAGS] = data[FLAGS] & !8 | 16)),
        ("says that it has no credential", Data(|data| data[FLAGS] &= !64)),
        ("says that it has extensions", Data(|data| data[FLAGS] |= 128)),
        ("a byte too many", Data(|data| data.push(0))),
        ("a byte too few", Data(|data| data.truncate(data.len() - 1))),
        ("another credential id", Data(|data| data[ID] ^= 1)),
        (
            "an empty credential id",
            Data(|data| {
                let end = key_position(data);
                data.drain(ID..end);
                data[LENGTH..ID].fill(0);
            }),
        ),
        ("a credential id that is longer than the data", Data(|data| data[LENGTH..ID].fill(255))),
        ("an algorithm that was not offered", Key(|key| replace(key, 3, (-36).into()))),
        ("an algorithm of another type of key", Key(|key| replace(key, 3, (-257).into()))),
        ("no algorithm", Key(|key| key.retain(|(label, _)| *label != 3.into()))),
        ("another curve", Key(|key| replace(key, -1, 2.into()))),
        ("another type of key", Key(|key| replace(key, 1, 1.into()))),
        ("a point that is not on the curve", Key(|key| replace(key, -2, Cbor::Bytes(vec![1; 32])))),
        ("a short coordinate", Key(|key| replace(key, -2, Cbor::Bytes(vec![1; 31])))),
        ("a coordinate that is no bytes", Key(|key| replace(key, -2, 7.into()))),
        ("a label twice", Key(|key| key.push(key[0].clone()))),
        ("a key that is no map", RawKey(|| cbor(&Cbor::Array(vec![])))),
        ("a key that never ends", RawKey(|| vec![0xbf, 0x01])),
        ("a key that is nested too deeply", RawKey(|| [[0xa1, 0x01].repeat(1000), vec![0]].concat())),
        ("a key that claims to be huge", RawKey(|| [vec![0xbb], vec![0xff; 8]].concat())),
    ])
}

/// Challenges that are none of the service's.
#[must_use]
pub fn of_challenges() -> Vec<Fault> {
    faults(vec![
        ("another challenge", Client("challenge", json!(encode([7; 32])))),
        ("a short challenge", Client("challenge", json!(encode([7; 31])))),
        ("no challenge", Client("challenge", Value::Null)),
    ])
}

fn faults(list: Vec<(&'static str, Change)>) -> Vec<Fault> {
    list.into_iter().map(|(name, change)| Fault { name, change }).collect()
}

/// Where the public key begins in the authenticator data (WebAuthn §6.5.1).
fn key_position(data: &[u8]) -> usize {
    ID + usize::from(u16::from_be_bytes([data[LENGTH], data[LENGTH + 1]]))
}

/// Changes the public key in the authenticator data of a new passkey.
pub fn change_key(data: &mut Vec<u8>, change: impl FnOnce(&mut Vec<(Cbor, Cbor)>)) {
    let position = key_position(data);
    let key: Cbor = ciborium::from_reader(&data[position..]).expect("a public key");
    let mut key = key.into_map().expect("a map");
    change(&mut key);
    data.truncate(position);
    data.extend(cbor(&Cbor::Map(key)));
}

fn replace(key: &mut [(Cbor, Cbor)], label: i64, value: Cbor) {
    let (_, old) = key.iter_mut().find(|(name, _)| *name == label.into()).expect("a part of the key");
    *old = value;
}
