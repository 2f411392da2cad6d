use super::{Rejected, RelyingParty, cbor};

/// The authenticator data, which is a part of what an authenticator signs (WebAuthn §6.1).
pub(super) struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8],
    flags: u8,
    pub(super) sign_count: u32,
    /// The new passkey. Only a creation has it.
    pub(super) credential: Option<AttestedCredential<'a>>,
}

/// A new passkey (WebAuthn §6.5.1).
pub(super) struct AttestedCredential<'a> {
    pub(super) id: &'a [u8],
    pub(super) public_key: &'a [u8],
}

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const HAS_CREDENTIAL: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

/// The longest credential id (WebAuthn §7.1).
const CREDENTIAL_ID_MAX_BYTES: usize = 1023;

impl<'a> AuthenticatorData<'a> {
    /// Reads the data, which must end where its flags say.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Rejected> {
        Self::read(bytes).ok_or(Rejected::Malformed("authenticator data"))
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, rest) = bytes.split_at_checked(32)?;
        let (&[flags], rest) = rest.split_first_chunk()?;
        let (&sign_count, mut rest) = rest.split_first_chunk()?;
        let mut credential = None;
        if flags & HAS_CREDENTIAL != 0 {
            // The first 16 bytes name the model of the authenticator.
            let (&length, after) = rest.get(16..)?.split_first_chunk()?;
            let (id, after) = after.split_at_checked(u16::from_be_bytes(length).into())?;
            let (public_key, after) = after.split_at_checked(cbor::length_of_map(after)?)?;
            if id.is_empty() || id.len() > CREDENTIAL_ID_MAX_BYTES {
                return None;
            }
            (credential, rest) = (Some(AttestedCredential { id, public_key }), after);
        }
        if flags & HAS_EXTENSIONS != 0 {
            rest = rest.get(cbor::length_of_map(rest)?..)?;
        }
        let sign_count = u32::from_be_bytes(sign_count);
        rest.is_empty().then_some(Self { rp_id_hash, flags, sign_count, credential })
    }

    /// Checks the relying party, and the flags of the user and of backups.
    pub(super) fn check(&self, relying_party: &RelyingParty) -> Result<(), Rejected> {
        if self.rp_id_hash != relying_party.id_hash() {
            return Err(Rejected::RelyingParty);
        }
        if !self.has(USER_PRESENT) || !self.has(USER_VERIFIED) {
            return Err(Rejected::UserVerification);
        }
        if self.is_backed_up() && !self.is_backup_eligible() {
            return Err(Rejected::Backup);
        }
        Ok(())
    }

    pub(super) fn is_backup_eligible(&self) -> bool {
        self.has(BACKUP_ELIGIBLE)
    }

    pub(super) fn is_backed_up(&self) -> bool {
        self.has(BACKED_UP)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}
