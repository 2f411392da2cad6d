//! Reading CBOR (RFC 8949), in which authenticators write.

use ciborium::Value;

use super::Rejected;

/// Values that contain each other more deeply than this are refused. Authenticators need three levels, and attestation statements a few more.
const DEPTH: usize = 16;

/// A map, whose keys are all different.
pub(super) struct Map(Vec<(Value, Value)>);

impl Map {
    /// Reads one map, and nothing after it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (map, length) = read(bytes)?;
        (length == bytes.len()).then_some(map)
    }

    /// The value with this key.
    pub(super) fn get(&self, key: impl Into<Value>) -> Option<&Value> {
        let key = key.into();
        self.0.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    /// The integer with this key.
    pub(super) fn integer(&self, key: i64) -> Option<i64> {
        self.get(key)?.as_integer()?.try_into().ok()
    }

    /// The bytes with this key.
    pub(super) fn bytes(&self, key: i64) -> Option<&[u8]> {
        self.get(key)?.as_bytes().map(Vec::as_slice)
    }
}

/// The number of bytes of the map at the beginning of these bytes.
pub(super) fn length_of_map(bytes: &[u8]) -> Option<usize> {
    read(bytes).map(|(_, length)| length)
}

/// The authenticator data of an attestation object (WebAuthn §6.5). A statement of the format `none` must be empty. No other statement is read.
pub(super) fn authenticator_data_of(attestation_object: &[u8]) -> Result<Vec<u8>, Rejected> {
    let data = || {
        let object = Map::parse(attestation_object)?;
        let format = object.get("fmt")?.as_text()?;
        let statement = object.get("attStmt")?.as_map()?;
        let data = object.get("authData")?.as_bytes()?;
        (format != "none" || statement.is_empty()).then(|| data.clone())
    };
    data().ok_or(Rejected::Malformed("attestation object"))
}

fn read(bytes: &[u8]) -> Option<(Map, usize)> {
    let mut rest = bytes;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH).ok()?;
    let map = value.into_map().ok()?;
    let is_unique =
        |(position, (key, _)): (usize, &(Value, Value))| !map[..position].iter().any(|(other, _)| other == key);
    let are_unique = map.iter().enumerate().all(is_unique);
    are_unique.then(|| (Map(map), bytes.len() - rest.len()))
}
