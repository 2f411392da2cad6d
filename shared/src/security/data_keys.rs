//! Encrypting secrets that the database stores: AES-256-GCM (NIST SP 800-38D) with keys that only the functions have.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    hmac,
};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretSlice};
use thiserror::Error;

use crate::{
    domain::UserId,
    environment::{ConfigError, Environment},
};

/// `template.yaml` lets Secrets Manager make a key of 43 random letters and digits. In base64, these are 258 bits. The
/// decoder ignores the last two, so 32 bytes remain.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The number of bytes of a key.
const KEY_BYTES: usize = 32;

/// The keys. The first one encrypts, and all of them decrypt.
pub struct DataKeys {
    current: DataKey,
    additional: Vec<DataKey>,
}

struct DataKey {
    /// The first eight bytes of the key's SHA-256, in hexadecimal.
    id: String,
    key: LessSafeKey,
    /// Derives other keys.
    derivation: hmac::Key,
}

/// An encrypted secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// The id of the key.
    pub key_id: String,
    /// The nonce, the ciphertext and the tag.
    pub bytes: Vec<u8>,
}

/// No key decrypts a secret, because its key is missing, because it was changed, or because it was encrypted for another user.
#[derive(Debug, Error)]
#[error(
    "no key with the id {0} is in DATA_SECRET_KEY or DATA_ADDITIONAL_SECRET_KEYS, or the secret was changed or belongs to another user"
)]
pub struct NotDecrypted(String);

impl DataKeys {
    /// Reads `DATA_SECRET_KEY`, and `DATA_ADDITIONAL_SECRET_KEYS`, which are separated by commas.
    ///
    /// # Errors
    /// If the first one is missing, or if one does not have 32 bytes in base64.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let (name, additional) = ("DATA_SECRET_KEY", "DATA_ADDITIONAL_SECRET_KEYS");
        let current = env.required(name, "the key that encrypts stored secrets, 32 random bytes in base64")?;
        let others = env.optional(additional).into_iter().flat_map(|keys| keys.split(','));
        Ok(Self {
            current: DataKey::read(name, current)?,
            additional: others.map(|key| DataKey::read(additional, key.trim())).collect::<Result<_, _>>()?,
        })
    }

    /// Encrypts a secret of a user. [`Self::decrypt`] refuses it for every other user.
    ///
    /// # Panics
    /// Never: a secret is much shorter than the limit of AES-GCM.
    #[must_use]
    pub fn encrypt(&self, secret: &SecretSlice<u8>, owner: UserId, rng: &mut impl CryptoRng) -> Encrypted {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let mut text = secret.expose_secret().to_vec();
        let nonce_of_call = Nonce::assume_unique_for_key(nonce);
        let sealed = self.current.key.seal_in_place_append_tag(nonce_of_call, associated_data(owner), &mut text);
        sealed.expect("a short secret");
        Encrypted { key_id: self.current.id.clone(), bytes: [&nonce[..], &text].concat() }
    }

    /// Decrypts a secret of a user.
    ///
    /// # Errors
    /// If none of the keys encrypted it, or if it was encrypted for another user.
    pub fn decrypt(&self, encrypted: &Encrypted, owner: UserId) -> Result<SecretSlice<u8>, NotDecrypted> {
        self.try_decrypt(encrypted, owner).ok_or_else(|| NotDecrypted(encrypted.key_id.clone()))
    }

    fn try_decrypt(&self, encrypted: &Encrypted, owner: UserId) -> Option<SecretSlice<u8>> {
        let key = [&self.current].into_iter().chain(&self.additional).find(|key| key.id == encrypted.key_id)?;
        let (nonce, text) = encrypted.bytes.split_at_checked(NONCE_LEN)?;
        let mut text = text.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.key.open_in_place(nonce, associated_data(owner), &mut text).ok()?.len();
        text.truncate(length);
        Some(text.into())
    }

    /// Encrypts the secret with the current key. `None` if this key has encrypted it before.
    #[must_use]
    pub fn renew(
        &self,
        encrypted: &Encrypted,
        secret: &SecretSlice<u8>,
        owner: UserId,
        rng: &mut impl CryptoRng,
    ) -> Option<Encrypted> {
        let is_old = encrypted.key_id != self.current.id;
        is_old.then(|| self.encrypt(secret, owner, rng))
    }

    /// Keys for HMAC-SHA-256, derived from the current key and from the others. Each purpose has keys of its own. Nobody can calculate the data
    /// keys from them (NIST SP 800-108 §4).
    #[must_use]
    pub fn derive(&self, purpose: &str) -> (hmac::Key, Vec<hmac::Key>) {
        let derive =
            |key: &DataKey| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key.derivation, purpose.as_bytes()).as_ref());
        (derive(&self.current), self.additional.iter().map(derive).collect())
    }
}

impl DataKey {
    fn read(name: &'static str, text: &str) -> Result<Self, ConfigError> {
        let malformed = ConfigError::Malformed { name, expected: "32 random bytes in base64" };
        let bytes = BASE64.decode(text).ok().filter(|bytes| bytes.len() == KEY_BYTES).ok_or(malformed)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).expect("a key of 32 bytes");
        Ok(Self {
            id: hex::encode(&digest(&SHA256, &bytes).as_ref()[..8]),
            key: LessSafeKey::new(key),
            derivation: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        })
    }
}

fn associated_data(owner: UserId) -> Aad<String> {
    Aad::from(format!("user {owner}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system;

    const ADA: UserId = UserId(7);

    fn secret() -> SecretSlice<u8> {
        b"secret".to_vec().into()
    }

    fn keys(current: &str, additional: &str) -> Result<DataKeys, ConfigError> {
        let variables = [("DATA_SECRET_KEY", current), ("DATA_ADDITIONAL_SECRET_KEYS", additional)];
        DataKeys::from_env(&Environment::with(&variables))
    }

    fn key(byte: u8) -> String {
        BASE64.encode([byte; KEY_BYTES])
    }

    fn decrypted(keys: &DataKeys, encrypted: &Encrypted, owner: UserId) -> Option<Vec<u8>> {
        keys.decrypt(encrypted, owner).ok().map(|secret| secret.expose_secret().to_vec())
    }

    // Requirement 67.
    #[test]
    fn a_secret_is_decrypted_only_for_its_user_and_only_unchanged() {
        let keys = keys(&key(1), "").unwrap();
        let encrypted = keys.encrypt(&secret(), ADA, &mut system::rng());
        assert_eq!(decrypted(&keys, &encrypted, ADA).as_deref(), Some(&b"secret"[..]));
        assert_eq!(decrypted(&keys, &encrypted, UserId(8)), None);
        for position in 0..encrypted.bytes.len() {
            let mut changed = encrypted.clone();
            changed.bytes[position] ^= 1;
            assert_eq!(decrypted(&keys, &changed, ADA), None, "byte {position}");
            changed.bytes.truncate(position);
            assert_eq!(decrypted(&keys, &changed, ADA), None, "{position} bytes");
        }
        assert_ne!(keys.encrypt(&secret(), ADA, &mut system::rng()), encrypted);
    }

    // Requirements 67, 79.
    #[test]
    fn an_earlier_key_decrypts_and_the_current_one_replaces_it() {
        let earlier = keys(&key(1), "").unwrap().encrypt(&secret(), ADA, &mut system::rng());
        let rotated = keys(&key(2), &format!("{}, {}", key(3), key(1))).unwrap();
        let secret = rotated.decrypt(&earlier, ADA).unwrap();
        let renewed = rotated.renew(&earlier, &secret, ADA, &mut system::rng()).unwrap();
        assert_eq!(rotated.renew(&renewed, &secret, ADA, &mut system::rng()), None);
        let without_earlier = keys(&key(2), "").unwrap();
        assert_eq!(decrypted(&without_earlier, &renewed, ADA).as_deref(), Some(&b"secret"[..]));
        assert_eq!(decrypted(&without_earlier, &earlier, ADA), None);
    }

    #[test]
    fn a_key_has_32_bytes_in_base64_or_43_letters_and_digits() {
        assert!(keys(&"z".repeat(43), "").is_ok());
        for malformed in [String::new(), "z".repeat(42), "z".repeat(44), format!("{}!", "z".repeat(42))] {
            assert!(keys(&malformed, "").is_err(), "{malformed}");
        }
        assert!(keys(&key(1), "short").is_err() && keys(&key(1), &format!("{},", key(2))).is_err());
    }
}
