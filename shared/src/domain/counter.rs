use aws_lc_rs::digest::{SHA256, digest};

use super::{Source, User};

/// The SHA-256 of a counter's name. PostgreSQL or DynamoDB stores only this key, so nobody can read an address there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterKey([u8; 32]);

impl CounterKey {
    /// The key of the counter whose name is these words, separated by spaces.
    #[must_use]
    pub fn of(words: &[&str]) -> Self {
        Self::from_stored(digest(&SHA256, words.join(" ").as_bytes()).as_ref())
    }

    /// A key that was read from a store.
    ///
    /// # Panics
    /// If it does not have 32 bytes.
    #[must_use]
    pub fn from_stored(key: &[u8]) -> Self {
        Self(key.try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// The key of an item, if this counter consists of several items in DynamoDB. Item 0 has the key of the counter itself.
    #[must_use]
    pub fn item(mut self, number: u8) -> Self {
        self.0[31] ^= number;
        self
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The counters of an attempt to sign in, or to prove the password in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignInCounters {
    /// Counts the attempts at this account from this source.
    pub both: CounterKey,
    /// Counts the attempts from this source, at any account.
    pub source: CounterKey,
    /// Counts the attempts at this account, from any source.
    pub account: CounterKey,
    /// Counts the attempts in this session. `None` at a sign-in.
    pub session: Option<CounterKey>,
}

impl SignInCounters {
    /// The counters of the sign-ins to an account from a source, as PostgreSQL names them (`sign_in!` in `db/throttle/sign_in.rs`).
    #[must_use]
    pub fn of(user: &User, source: &Source) -> Self {
        let (id, version) = (user.id.to_string(), user.credential_version.to_string());
        Self {
            both: CounterKey::of(&["signin", "both", source.as_str(), "user", &id, &version]),
            source: CounterKey::of(&["signin", "source", source.as_str()]),
            account: CounterKey::of(&["signin", "account", "user", &id, &version]),
            session: None,
        }
    }
}

/// The counters of wrong codes of authenticators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorCounters {
    /// Counts the attempts at this account from this source.
    pub both: CounterKey,
    /// Counts the attempts at this account.
    pub account: CounterKey,
}

/// A refusal, because there were too many attempts before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TooMany {
    /// Seconds until the next attempt is allowed. At least one.
    pub retry_after: u64,
    /// Whether the account's owner can sign in earlier by resetting the password.
    pub reset_helps: bool,
}

impl TooMany {
    /// A refusal for this number of seconds, rounded up. A password reset does not shorten it.
    #[must_use]
    pub fn wait(seconds: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a wait is small and at least 1")]
        let retry_after = seconds.ceil().max(1.0) as u64;
        Self { retry_after, reset_helps: false }
    }
}
