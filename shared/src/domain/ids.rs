use std::fmt;

use rand::CryptoRng;
use serde::Serialize;
use uuid::{Builder, Uuid};

/// The id of a user. It is an integer, because accounts that were taken over from the old service keep their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a session, the claim `sid` of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

/// The id of a token, its claim `jti` (RFC 7519 §4.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TokenId(pub Uuid);

/// The id of one attempt to send a mail in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailId(pub Uuid);

/// The id of a change of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmailChangeId(pub Uuid);

/// The id of a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FactorId(pub Uuid);

/// The id of a request that uses or changes a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorChangeId(pub Uuid);

impl SessionId {
    /// Reads an id in the spelling that this service writes. `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    /// A new session's id: a random UUID (RFC 9562 §5.4).
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(random_uuid(rng))
    }
}

impl TokenId {
    /// A new token's id: a random UUID (RFC 9562 §5.4).
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(random_uuid(rng))
    }
}

impl MailId {
    /// A new attempt's id: a random UUID (RFC 9562 §5.4).
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(random_uuid(rng))
    }
}

impl EmailChangeId {
    /// A new change's id: a random UUID (RFC 9562 §5.4).
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(random_uuid(rng))
    }
}

impl FactorId {
    /// Reads an id in the spelling that this service writes. `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    /// A new factor's id: a random UUID (RFC 9562 §5.4).
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(random_uuid(rng))
    }
}

impl FactorChangeId {
    /// A new request's id: a random UUID (RFC 9562 §5.4).
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(random_uuid(rng))
    }
}

fn parse_uuid(text: &str) -> Option<Uuid> {
    let id: Uuid = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

fn random_uuid(rng: &mut impl CryptoRng) -> Uuid {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    Builder::from_random_bytes(bytes).into_uuid()
}
