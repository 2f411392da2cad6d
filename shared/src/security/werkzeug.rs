//! The hashes of Werkzeug's `generate_password_hash`, which the accounts of the service this one replaces have:
//! `pbkdf2:sha256:<rounds>$<salt>$<hex>` and `scrypt:<N>:<r>:<p>$<salt>$<hex>`.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, pbkdf2};

use super::policy;

/// Bytes of Werkzeug's scrypt output (`hashlib.scrypt`'s default).
const SCRYPT_OUTPUT_BYTES: usize = 64;

/// Whether `password` is the one behind `stored`. `None` where that is no Werkzeug hash, or one that asks for more work than the
/// policy bears.
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
