//! Recovery codes, which stand in for a second factor. They are random, and the database stores only their hashes.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{Encoding, Specification};
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretSlice};

use super::policy::{RECOVERY_CODE_BYTES, RECOVERY_CODE_GROUP, RECOVERY_CODES};

/// A recovery code.
pub struct RecoveryCode(SecretSlice<u8>);

/// The SHA-256 of a [`RecoveryCode`]. A hash without a salt suffices, because 120 random bits cannot be guessed.
#[derive(Debug, PartialEq, Eq)]
pub struct RecoveryCodeHash(Vec<u8>);

/// Crockford's base32. Its alphabet has no letters that people confuse with digits, and it reads them as these digits.
static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification.translate.from.push_str("abcdefghjkmnpqrstvwxyzoOiIlL");
    specification.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    specification.ignore.push_str("- ");
    specification.encoding().expect("an alphabet of 32 characters")
});

impl RecoveryCode {
    /// As many new codes as an account gets.
    pub fn random_set(rng: &mut impl CryptoRng) -> [Self; RECOVERY_CODES] {
        std::array::from_fn(|_| {
            let mut bytes = vec![0; RECOVERY_CODE_BYTES];
            rng.fill_bytes(&mut bytes);
            Self(bytes.into())
        })
    }

    /// Reads a code that a user has typed. Case, spaces and hyphens are ignored. `None` if the text is not a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = CROCKFORD.decode(text.trim().as_bytes()).ok()?;
        (bytes.len() == RECOVERY_CODE_BYTES).then(|| Self(bytes.into()))
    }

    /// The code as a user sees it, in groups of four characters.
    #[must_use]
    pub fn to_text(&self) -> String {
        let text = CROCKFORD.encode(self.0.expose_secret());
        let groups = text.as_bytes().chunks(RECOVERY_CODE_GROUP).map(String::from_utf8_lossy);
        groups.collect::<Vec<_>>().join("-")
    }

    /// The codes as a user sees them.
    #[must_use]
    pub fn to_texts(codes: &[Self]) -> Vec<String> {
        codes.iter().map(Self::to_text).collect()
    }

    /// The hash that the database stores.
    #[must_use]
    pub fn hash(&self) -> RecoveryCodeHash {
        RecoveryCodeHash(digest(&SHA256, self.0.expose_secret()).as_ref().to_vec())
    }
}

impl RecoveryCodeHash {
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

    // Requirement 68.
    #[test]
    fn an_account_gets_ten_random_codes_of_120_bits_in_six_groups() {
        let codes = RecoveryCode::random_set(&mut system::rng());
        let texts: BTreeSet<_> = codes.iter().map(RecoveryCode::to_text).collect();
        assert_eq!((codes.len(), texts.len(), codes[0].0.expose_secret().len() * 8), (10, 10, 120));
        for text in texts {
            let groups: Vec<_> = text.split('-').collect();
            assert!(groups.len() == 6 && groups.iter().all(|group| group.len() == 4), "{text}");
        }
    }

    // Requirement 68.
    #[test]
    fn case_spaces_and_hyphens_do_not_matter_and_similar_letters_are_digits() {
        let code = RecoveryCode::parse("0123-4567-89AB-CDEF-GHJK-MNPQ").unwrap();
        for text in ["0123456789abcdefghjkmnpq", " o12345678 9ab-cdef GHJKMNPQ ", "OI23-4567-89AB-CDEF-GHJK-MNPQ"] {
            assert_eq!(RecoveryCode::parse(text).unwrap().hash(), code.hash(), "{text}");
        }
        assert_eq!(code.to_text(), "0123-4567-89AB-CDEF-GHJK-MNPQ");
        for text in
            ["", "0123", "0123-4567-89AB-CDEF-GHJK-MNPU", "0123-4567-89AB-CDEF-GHJK-MNPQ-0000", "ü".repeat(24).as_str()]
        {
            assert!(RecoveryCode::parse(text).is_none(), "{text}");
        }
    }
}
