//! The hashes of Werkzeug's `generate_password_hash`. Accounts of the old service, which this service replaces, have such hashes:
//! `pbkdf2:sha256:<rounds>$<salt>$<hex>` and `scrypt:<N>:<r>:<p>$<salt>$<hex>`.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, pbkdf2};

use super::policy;

/// Bytes of Werkzeug's scrypt output (`hashlib.scrypt`'s default).
const SCRYPT_OUTPUT_BYTES: usize = 64;

/// Whether `stored` is a hash of `password`. `None` if `stored` is not a hash of Werkzeug, or needs more work than the policy allows.
pub(super) fn verifies(stored: &str, password: &[u8]) -> Option<bool> {
    let (method, rest) = stored.split_once('$')?;
    let (salt, digest) = rest.split_once('$')?;
    let (salt, digest) = (salt.as_bytes(), hex::decode(digest).ok()?);
    match *method.split(':').collect::<Vec<_>>() {
        ["pbkdf2", "sha256", rounds] => {
            let rounds: NonZeroU32 = rounds.parse().ok()?;
            let bearable = rounds.get() <= policy::PBKDF2_MAX_ROUNDS && digest.len() == 32;
            bearable.then(|| pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password, &digest).is_ok())
        }
        ["scrypt", n, r, p] => {
            let (n, r, p): (u64, u32, u32) = (n.parse().ok()?, r.parse().ok()?, p.parse().ok()?);
            let log_n = u8::try_from(n.checked_ilog2().filter(|_| n.is_power_of_two())?).ok()?;
            let (max_log_n, max_r, max_p) = policy::SCRYPT_MAX;
            if log_n > max_log_n || r > max_r || p > max_p || digest.len() != SCRYPT_OUTPUT_BYTES {
                return None;
            }
            let mut derived = [0; SCRYPT_OUTPUT_BYTES];
            scrypt::scrypt(password, salt, &scrypt::Params::new(log_n, r, p).ok()?, &mut derived).ok()?;
            Some(constant_time::verify_slices_are_equal(&derived, &digest).is_ok())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, property_test};

    use super::*;
    use crate::arbitrary;

    fn pbkdf2(rounds: u32, salt: &str, password: &[u8]) -> String {
        let mut digest = [0; 32];
        let work = NonZeroU32::new(rounds).unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, work, salt.as_bytes(), password, &mut digest);
        format!("pbkdf2:sha256:{rounds}${salt}${}", hex::encode(digest))
    }

    fn scrypt(log_n: u8, salt: &str, password: &[u8]) -> String {
        let mut digest = [0; SCRYPT_OUTPUT_BYTES];
        scrypt::scrypt(password, salt.as_bytes(), &scrypt::Params::new(log_n, 8, 1).unwrap(), &mut digest).unwrap();
        format!("scrypt:{}:8:1${salt}${}", 1 << log_n, hex::encode(digest))
    }

    #[property_test]
    fn a_hash_is_that_of_one_password(
        #[strategy = 1..50_u32] rounds: u32,
        #[strategy = 1..6_u8] log_n: u8,
        #[strategy = "[A-Za-z0-9]{1,16}"] salt: String,
        #[strategy = r"[^\x00]{0,80}"] password: String,
        #[strategy = r"[^\x00]{0,80}"] other: String,
    ) {
        // The passwords contain no NUL, because HMAC pads keys with NULs. So a password has the same hash with and without a NUL at its end.
        let [password, other] = [password, other].map(String::into_bytes);
        for hash in [pbkdf2(rounds, &salt, &password), scrypt(log_n, &salt, &password)] {
            assert_eq!(verifies(&hash, &password), Some(true));
            assert_eq!(verifies(&hash, &other), Some(other == password));
        }
    }

    #[property_test]
    fn a_hash_that_needs_more_work_than_the_policy_allows_is_not_checked(
        #[strategy = policy::PBKDF2_MAX_ROUNDS + 1..] rounds: u32,
        #[strategy = scrypt_beyond()] (n, r, p): (u64, u32, u32),
    ) {
        assert_eq!(verifies(&format!("pbkdf2:sha256:{rounds}$salt${}", "00".repeat(32)), b""), None);
        assert_eq!(verifies(&format!("scrypt:{n}:{r}:{p}$salt${}", "00".repeat(64)), b""), None);
    }

    /// Parameters of which one is too high.
    fn scrypt_beyond() -> impl Strategy<Value = (u64, u32, u32)> {
        let (max_log_n, max_r, max_p) = policy::SCRYPT_MAX;
        prop_oneof![
            (max_log_n + 1..64, 1..=max_r, 1..=max_p),
            (1..=max_log_n, max_r + 1.., 1..=max_p),
            (1..=max_log_n, 1..=max_r, max_p + 1..),
        ]
        .prop_map(|(log_n, r, p)| (1 << log_n, r, p))
    }

    #[property_test]
    fn what_is_no_hash_verifies_nothing(
        #[strategy = prop_oneof![
            arbitrary::text(),
            "(pbkdf2:sha(1|256|512):|scrypt:)?[0-4]?(:[0-3]){0,3}[$][a-z]{0,3}[$](([0-9a-f]{2}){0,2}|0{64}|0{128})",
        ]]
        text: String,
        password: Vec<u8>,
    ) {
        assert_ne!(verifies(&text, &password), Some(true));
    }
}
