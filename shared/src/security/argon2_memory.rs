//! Argon2 with memory that is kept between two hashes.

use std::sync::{Mutex, PoisonError};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        CustomizedPasswordHasher, Error, Result,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};

use super::policy;

/// Memory for one hash at a time. With new memory for each hash, a process grows to more than four times its size (docs/measurements.md), because the
/// C library does not give freed memory back and does not reuse all of it.
///
/// The memory is overwritten after each hash, because it contains data that is derived from the password, and Lambda freezes the process afterwards.
#[derive(Default)]
pub(super) struct Argon2Memory(Mutex<Vec<Block>>);

impl Argon2Memory {
    /// Lends this number of blocks of 1 KiB to `work`.
    fn lend<T>(&self, blocks: usize, work: impl FnOnce(&mut [Block]) -> Result<T>) -> Result<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < blocks {
            *kept = Vec::new();
            kept.try_reserve_exact(blocks).map_err(|_| Error::OutOfMemory)?;
            kept.resize(blocks, Block::new());
        }
        work(&mut Lent(&mut kept).0[..blocks])
    }
}

/// Memory that is overwritten when the hash is complete, also after a panic.
struct Lent<'a>(&'a mut Vec<Block>);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.fill(Block::new());
        // The compiler must not leave the writes out, although the memory may be freed here.
        std::hint::black_box(self.0.as_mut_slice());
        // A hash of another service may need more. That memory is not kept.
        if self.0.len() > policy::ARGON2_MEMORY_KIB as usize {
            *self.0 = Vec::new();
        }
    }
}

/// Does the same as the crate `argon2`, which allocates new memory for each hash.
impl CustomizedPasswordHasher<PasswordHash> for Argon2Memory {
    type Params = Params;

    fn hash_password_customized(
        &self,
        password: &[u8],
        salt: &[u8],
        algorithm: Option<&str>,
        version: Option<u32>,
        params: Params,
    ) -> Result<PasswordHash> {
        let algorithm = algorithm.map(Algorithm::try_from).transpose()?.unwrap_or_default();
        let version = version.map(Version::try_from).transpose()?.unwrap_or_default();
        let salt = Salt::new(salt)?;
        let mut output = [0; Output::MAX_LENGTH];
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let output = output.get_mut(..length).ok_or(Error::OutputSize)?;
        let argon2 = Argon2::new(algorithm, version, params.clone());
        self.lend(params.block_count(), |blocks| {
            Ok(argon2.hash_password_into_with_memory(password, &salt, output, blocks)?)
        })?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&params)?,
            salt: Some(salt),
            hash: Some(Output::new(output)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    const SALT: &[u8] = b"some salt 123456";

    fn params(memory: u32, passes: u32, lanes: u32) -> Params {
        Params::new(memory, passes, lanes, None).unwrap()
    }

    // Requirement 13.
    #[test]
    fn reused_memory_gives_the_same_hashes_as_the_argon2_crate() {
        let memory = Argon2Memory::default();
        for (kind, work) in [
            ("argon2id", params(64, 2, 1)),
            ("argon2i", params(256, 3, 2)),
            ("argon2d", params(32, 1, 4)),
            ("argon2id", params(30_000, 1, 1)),
            ("argon2id", params(64, 2, 1)),
        ] {
            let of_crate = Argon2::new(Algorithm::try_from(kind).unwrap(), Version::V0x13, work.clone());
            let expected = of_crate.hash_password_with_salt(b"password", SALT).unwrap();
            let hashed = memory.hash_password_customized(b"password", SALT, Some(kind), Some(19), work).unwrap();
            assert_eq!(hashed.to_string(), expected.to_string());
            assert_eq!(memory.verify_password(b"password", &expected), Ok(()));
            assert_eq!(memory.verify_password(b"passwort", &expected), Err(Error::PasswordInvalid));
        }
    }

    #[test]
    fn results_and_errors_are_those_of_the_crate() {
        let memory = Argon2Memory::default();
        for (length, version, salt) in [
            (None, None, SALT),
            (Some(4), Some(16), SALT),
            (Some(10), Some(19), SALT),
            (Some(64), Some(20), SALT),
            (Some(65), Some(19), SALT),
            (None, Some(19), &b"short"[..]),
        ] {
            let work = Params::new(67, 2, 3, length).unwrap();
            let expected = Argon2::default().hash_password_customized(b"password", salt, None, version, work.clone());
            assert_eq!(memory.hash_password_customized(b"password", salt, None, version, work), expected);
        }
    }

    #[test]
    fn the_kept_memory_is_limited_and_contains_nothing_of_a_password() {
        let memory = Argon2Memory::default();
        for kib in [64, policy::ARGON2_MEMORY_KIB + 8, 128] {
            memory.hash_password_customized(b"password", SALT, None, None, params(kib, 1, 1)).unwrap();
        }
        let kept = memory.0.lock().unwrap();
        assert_eq!((kept.len(), kept.capacity()), (128, 128), "the larger memory was not kept");
        assert!(kept.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
    }
}
