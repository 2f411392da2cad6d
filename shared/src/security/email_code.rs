//! Codes that verify an address. They are random digits, and the database stores only their HMAC.

use std::fmt;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use rand::{CryptoRng, RngExt as _};
use secrecy::{ExposeSecret, SecretString};

use super::{policy::EMAIL_CODE_DIGITS, token_settings};
use crate::environment::{ConfigError, Environment};

/// A code in a mail.
pub struct EmailCode(SecretString);

impl EmailCode {
    /// A new code.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let digits = (0..EMAIL_CODE_DIGITS).map(|_| char::from(rng.random_range(b'0'..=b'9')));
        Self(digits.collect::<String>().into())
    }

    /// Reads a code that a user has typed. Spaces are ignored. `None` if the text is not a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.split_ascii_whitespace().collect();
        let is_code = digits.len() == EMAIL_CODE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_code.then(|| Self(digits.into()))
    }

    /// The digits.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for EmailCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailCode(…)")
    }
}

/// Hashes codes. A code has too little entropy for a hash without a key: whoever reads the database could try all codes.
pub struct EmailCodes(Key);

impl EmailCodes {
    /// Reads `JWT_SECRET_KEY`, and derives the key of the codes from it.
    ///
    /// # Errors
    /// If the secret is missing or too short.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        Ok(Self::new(&token_settings::signing_secret(env)?))
    }

    fn new(secret: &SecretString) -> Self {
        let secret = Key::new(HMAC_SHA256, secret.expose_secret().as_bytes());
        Self(Key::new(HMAC_SHA256, sign(&secret, b"codes in mails").as_ref()))
    }

    /// The HMAC that the database stores.
    #[must_use]
    pub fn hash(&self, code: &EmailCode) -> EmailCodeHash {
        EmailCodeHash(sign(&self.0, code.digits().as_bytes()).as_ref().to_vec())
    }
}

/// The HMAC-SHA256 of an [`EmailCode`].
#[derive(Debug, PartialEq, Eq)]
pub struct EmailCodeHash(Vec<u8>);

impl EmailCodeHash {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::system;

    fn codes(secret: &str) -> EmailCodes {
        EmailCodes::new(&secret.into())
    }

    // Requirement 50.
    #[test]
    fn a_code_has_eight_random_digits() {
        let drawn: BTreeSet<_> = (0..100).map(|_| EmailCode::random(&mut system::rng()).digits().to_owned()).collect();
        assert_eq!(drawn.len(), 100);
        assert!(drawn.iter().all(|code| code.len() == 8 && EmailCode::parse(code).is_some()), "{drawn:?}");
        let digits: BTreeSet<_> = drawn.iter().flat_map(|code| code.chars()).collect();
        assert_eq!(digits.len(), 10);
    }

    #[test]
    fn a_code_may_be_typed_with_spaces() {
        assert_eq!(EmailCode::parse(" 1234 5678").unwrap().digits(), "12345678");
        for text in ["", "1234567", "123456789", "1234567a", "１２３４５６７８", "1234-5678"] {
            assert!(EmailCode::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_hash_depends_on_the_code_and_on_the_secret() {
        let [one, other] = ["12345678", "12345679"].map(|code| EmailCode::parse(code).unwrap());
        let codes_of_secret = codes("0123456789abcdef0123456789abcdef");
        assert_eq!(codes_of_secret.hash(&one), codes_of_secret.hash(&one));
        assert_ne!(codes_of_secret.hash(&one), codes_of_secret.hash(&other));
        assert_ne!(codes_of_secret.hash(&one), codes("fedcba9876543210fedcba9876543210").hash(&one));
    }

    #[test]
    fn a_code_is_not_printed() {
        assert_eq!(format!("{:?}", EmailCode::parse("12345678").unwrap()), "EmailCode(…)");
    }
}
