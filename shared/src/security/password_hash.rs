//! Hashing passwords, and comparing passwords with stored hashes.

use std::sync::Arc;

use argon2::{
    ARGON2ID_IDENT, Params, Version,
    password_hash::{CustomizedPasswordHasher as _, Error, PasswordVerifier as _, phc},
};
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tracing::Span;
use unicode_normalization::UnicodeNormalization;

use super::{NewPassword, argon2_memory::Argon2Memory, policy, werkzeug};

/// A password that a client sends, unchanged.
#[derive(Clone)]
pub struct Password(SecretString);

impl Password {
    /// Takes any text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Its NFC form, which this service hashes (NIST SP 800-63B-4 §3.1.1.2). Werkzeug hashes the password as it was received.
    fn normalised(&self) -> SecretString {
        self.0.expose_secret().nfc().collect::<String>().into()
    }
}

/// A stored hash: an argon2id PHC string, or one that Werkzeug made. It is never printed.
#[derive(Clone)]
pub struct PasswordHash(SecretString);

impl PasswordHash {
    /// A hash that was read from the database.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    /// The text that the database stores.
    #[must_use]
    pub fn as_stored(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether [`PasswordHasher::hash`] makes such hashes today. If not, the hash should be replaced.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let Ok(hash) = phc::PasswordHash::new(self.as_stored()) else { return false };
        let today = (policy::ARGON2_MEMORY_KIB, policy::ARGON2_PASSES, policy::ARGON2_LANES);
        hash.algorithm.as_str() == "argon2id"
            && hash.version == Some(Version::V0x13.into())
            && Params::try_from(&hash).is_ok_and(|params| work(&params) == today)
    }

    /// Whether the password matches. `None` if the kind of the hash is not known, or if checking the hash needs more work than the policy allows.
    fn verifies(&self, password: &Password, memory: &Argon2Memory) -> Option<bool> {
        let (received, normalised) = (&password.0, password.normalised());
        let stored = self.as_stored();
        if let Ok(hash) = phc::PasswordHash::new(stored) {
            return argon2_verifies(&hash, &normalised, memory);
        }
        let verifies = |form: &SecretString| werkzeug::verifies(stored, form.expose_secret().as_bytes());
        let another_form = received.expose_secret() != normalised.expose_secret();
        verifies(received).map(|right| right || (another_form && verifies(&normalised) == Some(true)))
    }
}

fn work(params: &Params) -> (u32, u32, u32) {
    (params.m_cost(), params.t_cost(), params.p_cost())
}

fn argon2_verifies(hash: &phc::PasswordHash, password: &SecretString, memory: &Argon2Memory) -> Option<bool> {
    let (kib, passes, lanes) = policy::ARGON2_MAX;
    let bearable = Params::try_from(hash)
        .is_ok_and(|params| params.m_cost() <= kib && params.t_cost() <= passes && params.p_cost() <= lanes);
    let checkable = bearable && hash.salt.is_some() && hash.hash.is_some();
    match checkable.then(|| memory.verify_password(password.expose_secret().as_bytes(), hash))? {
        Ok(()) => Some(true),
        Err(Error::PasswordInvalid) => Some(false),
        Err(_) => None,
    }
}

/// Hashing failed, for lack of memory or because of a defect.
#[derive(Debug, Error)]
#[error("the password could not be hashed: {0}")]
pub struct HashingFailed(String);

/// Makes and checks hashes on a thread for blocking work, because each takes tens of milliseconds of processor time.
pub struct PasswordHasher {
    memory: Arc<Argon2Memory>,
}

impl PasswordHasher {
    /// A hasher with the policy's parameters.
    #[must_use]
    pub fn new() -> Self {
        Self { memory: Arc::default() }
    }

    /// The argon2id PHC string of the password, with a salt from `rng`.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub async fn hash(&self, password: NewPassword, rng: &mut impl CryptoRng) -> Result<PasswordHash, HashingFailed> {
        let mut salt = [0; policy::SALT_BYTES];
        rng.fill_bytes(&mut salt);
        self.on_a_blocking_thread(move |memory| hash_with_salt(password.expose_secret().as_bytes(), &salt, memory))
            .await
    }

    /// Hashes the NFC form of a password that was just verified, to replace a hash that is no longer current.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub async fn rehash(&self, password: &Password, rng: &mut impl CryptoRng) -> Result<PasswordHash, HashingFailed> {
        let mut salt = [0; policy::SALT_BYTES];
        rng.fill_bytes(&mut salt);
        let normalised = password.normalised();
        self.on_a_blocking_thread(move |memory| hash_with_salt(normalised.expose_secret().as_bytes(), &salt, memory))
            .await
    }

    /// Whether the password matches the hash.
    ///
    /// Without a hash, the result is false, and the function does the same work, so that its duration does not reveal whether there is an account
    /// (OWASP Authentication cheat sheet). The same holds for a hash that cannot be checked, and for a password longer than
    /// [`policy::PASSWORD_MAX_TRIED_BYTES`].
    ///
    /// # Errors
    /// If there is not enough memory.
    pub async fn verify(&self, password: &Password, hash: Option<&PasswordHash>) -> Result<bool, HashingFailed> {
        let tried = password.0.expose_secret().len() <= policy::PASSWORD_MAX_TRIED_BYTES;
        let (password, hash) = (password.clone(), hash.filter(|_| tried).cloned());
        self.on_a_blocking_thread(move |memory| match hash.and_then(|hash| hash.verifies(&password, memory)) {
            Some(right) => Ok(right),
            None => hash_with_salt(b"no account has this", &[0; policy::SALT_BYTES], memory).map(|_| false),
        })
        .await
    }

    async fn on_a_blocking_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2Memory) -> Result<T, HashingFailed> + Send + 'static,
    ) -> Result<T, HashingFailed> {
        let (span, memory) = (Span::current(), Arc::clone(&self.memory));
        let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(&memory))).await;
        done.unwrap_or_else(|_| Err(HashingFailed("the thread panicked".to_owned())))
    }
}

impl Default for PasswordHasher {
    fn default() -> Self {
        Self::new()
    }
}

fn hash_with_salt(password: &[u8], salt: &[u8], memory: &Argon2Memory) -> Result<PasswordHash, HashingFailed> {
    let failed = |problem: &dyn std::fmt::Display| HashingFailed(problem.to_string());
    let params = Params::new(policy::ARGON2_MEMORY_KIB, policy::ARGON2_PASSES, policy::ARGON2_LANES, None);
    let params = params.map_err(|problem| failed(&problem))?;
    let (algorithm, version) = (Some(ARGON2ID_IDENT.as_str()), Some(Version::V0x13.into()));
    let hash = memory.hash_password_customized(password, salt, algorithm, version, params);
    Ok(PasswordHash(hash.map_err(|problem| failed(&problem))?.to_string().into()))
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, property_test, sample::select};

    use super::*;
    use crate::arbitrary;

    fn stored(algorithm: &str, version: u32, (m, t, p): (u32, u32, u32)) -> PasswordHash {
        let digest = "A".repeat(43);
        PasswordHash::from_stored(format!("${algorithm}$v={version}$m={m},t={t},p={p}$c2FsdHNhbHRzYWx0c2FsdA${digest}"))
    }

    const TODAY: (u32, u32, u32) = (policy::ARGON2_MEMORY_KIB, policy::ARGON2_PASSES, policy::ARGON2_LANES);

    // Requirement 13.
    #[property_test]
    fn a_hash_is_current_if_its_algorithm_version_and_parameters_are_those_of_the_policy(
        #[strategy = select(vec!["argon2id", "argon2i", "argon2d", "scrypt"])] algorithm: &'static str,
        #[strategy = select(vec![16, 19])] version: u32,
        #[strategy = prop_oneof![Just(TODAY), (TODAY.0 - 1..=TODAY.0 + 1, 1..4_u32, 1..3_u32)]] work: (u32, u32, u32),
    ) {
        assert_eq!(
            stored(algorithm, version, work).is_current(),
            (algorithm, version, work) == ("argon2id", 19, TODAY)
        );
    }

    #[property_test]
    fn a_hash_that_needs_more_work_than_the_policy_allows_is_not_checked(#[strategy = beyond()] work: (u32, u32, u32)) {
        assert_eq!(
            stored("argon2id", 19, work).verifies(&Password::new("password123"), &Argon2Memory::default()),
            None
        );
    }

    /// Memory, passes and lanes, of which one is too high.
    fn beyond() -> impl Strategy<Value = (u32, u32, u32)> {
        let (memory, passes, lanes) = policy::ARGON2_MAX;
        prop_oneof![
            (memory + 1.., 1..=passes, 1..=lanes),
            (64..=memory, passes + 1.., 1..=lanes),
            (64..=memory, 1..=passes, lanes + 1..),
        ]
    }

    #[property_test]
    fn a_text_that_is_no_hash_is_neither_checked_nor_current(
        #[strategy = prop_oneof![arbitrary::text(), "[$](argon2id?[$])?(v=19[$])?(m=[0-9]{0,9},?)?[a-zA-Z$=]{0,9}"]]
        text: String,
    ) {
        let hash = PasswordHash::from_stored(text);
        assert!(hash.verifies(&Password::new("password123"), &Argon2Memory::default()).is_none() && !hash.is_current());
    }

    // Requirement 26.
    #[property_test]
    fn composed_and_decomposed_accents_are_the_same_password(#[strategy = "(\\PC\\p{Mn}?){0,20}"] text: String) {
        let form = |text: String| Password::new(&text).normalised().expose_secret().to_owned();
        assert_eq!(form(text.nfd().collect()), form(text.nfc().collect()));
        assert_eq!(form(form(text.clone())), form(text));
    }

    #[tokio::test]
    async fn hashing_does_not_block_the_async_thread() {
        let (hasher, password) = (PasswordHasher::new(), Password::new("password123"));
        tokio::select! {
            biased;
            _ = hasher.verify(&password, None) => panic!("`verify` blocked the async thread until the hash was computed"),
            () = std::future::ready(()) => {}
        }
    }
}
