use serde::Serialize;

use super::{FactorId, UnixTime};

/// A passkey, as its owner sees it in a list. In JSON, its times are those of RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passkey {
    /// Its id.
    pub id: FactorId,
    /// The name that the user has given it.
    pub name: String,
    /// When it was added.
    #[serde(serialize_with = "UnixTime::serialize_as_rfc3339")]
    pub created_at: UnixTime,
    /// When it was last used. `None` means never.
    #[serde(serialize_with = "UnixTime::serialize_optional_as_rfc3339")]
    pub last_used_at: Option<UnixTime>,
    /// Whether it is backed up, so that losing the device does not lose it.
    pub backed_up: bool,
}
