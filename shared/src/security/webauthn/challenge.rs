use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::CryptoRng;

use super::{Rejected, RelyingParty};
use crate::{
    domain::{PresentedSession, UnixTime, UserId},
    security::{DataKeys, LinkTokenHash, policy},
};

/// A challenge: four bytes with the time in seconds, twelve random ones, and the first sixteen of an HMAC-SHA-256 over them and the purpose. So this
/// service recognises its challenges without storing them. An authenticator signs it as a part of the client data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge([u8; BYTES]);

const BYTES: usize = 32;
/// Where the HMAC begins.
const MAC: usize = 16;

/// What a challenge is for. It is valid for nothing else.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A sign-in by a passkey alone. The passkey names the account.
    SignIn,
    /// The sign-in of this user that waits for a second factor, with this token.
    SecondFactor(UserId, &'a LinkTokenHash),
    /// Reauthentication in this session.
    Reauthenticate(PresentedSession),
    /// A new passkey, added in this session.
    Enrol(PresentedSession),
}

/// Makes and recognises challenges.
pub struct Challenges {
    current: hmac::Key,
    additional: Vec<hmac::Key>,
}

impl Challenge {
    /// Reads a challenge from base64url without padding. `None` if it does not have the length of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }

    /// The challenge in base64url without padding.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Challenges {
    /// Derives a key for the HMAC from each data key. The current one makes challenges, and all of them verify challenges. So a challenge stays valid when
    /// the data keys are rotated.
    #[must_use]
    pub fn new(keys: &DataKeys) -> Self {
        let (current, additional) = keys.derive("passkey challenges");
        Self { current, additional }
    }

    /// A new challenge.
    pub fn issue(
        &self,
        purpose: Purpose<'_>,
        relying_party: &RelyingParty,
        now: UnixTime,
        rng: &mut impl CryptoRng,
    ) -> Challenge {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&seconds(now).to_be_bytes());
        rng.fill_bytes(&mut bytes[4..MAC]);
        let mac = mac(&self.current, purpose, relying_party, &bytes[..MAC]);
        bytes[MAC..].copy_from_slice(&mac.as_ref()[..BYTES - MAC]);
        Challenge(bytes)
    }

    /// Checks that this service has made a challenge for this purpose within [`policy::CHALLENGE_LIFETIME`].
    ///
    /// # Errors
    /// [`Rejected::Challenge`] if not.
    pub fn check(
        &self,
        challenge: &Challenge,
        purpose: Purpose<'_>,
        relying_party: &RelyingParty,
        now: UnixTime,
    ) -> Result<(), Rejected> {
        let (head, tag) = challenge.0.split_at(MAC);
        let is_ours = [&self.current].into_iter().chain(&self.additional).any(|key| {
            let expected = mac(key, purpose, relying_party, head);
            verify_slices_are_equal(&expected.as_ref()[..tag.len()], tag).is_ok()
        });
        let issued_at = u32::from_be_bytes(head[..4].try_into().map_err(|_| Rejected::Challenge)?);
        let age = i64::from(seconds(now)) - i64::from(issued_at);
        // The clock of the function that issued it may be ahead.
        let oldest = policy::CHALLENGE_LIFETIME.as_secs().cast_signed();
        let is_recent = (-policy::CLOCK_SKEW.as_secs().cast_signed()..=oldest).contains(&age);
        if is_ours && is_recent { Ok(()) } else { Err(Rejected::Challenge) }
    }
}

/// The HMAC over the purpose and the head of a challenge. Each part begins with its length, so no two purposes have the same bytes.
fn mac(key: &hmac::Key, purpose: Purpose<'_>, relying_party: &RelyingParty, head: &[u8]) -> hmac::Tag {
    let (name, account, bound_to) = match purpose {
        Purpose::SignIn => ("signin", None, &[][..]),
        Purpose::SecondFactor(user, token) => ("second-factor", Some(user), token.as_bytes()),
        Purpose::Reauthenticate(ref session) => {
            ("reauthenticate", Some(session.user_id), &session.session_id.0.as_bytes()[..])
        }
        Purpose::Enrol(ref session) => ("enrol", Some(session.user_id), &session.session_id.0.as_bytes()[..]),
    };
    let account = account.map(|user| user.to_string()).unwrap_or_default();
    let mut context = hmac::Context::with_key(key);
    for part in [name.as_bytes(), relying_party.id().as_bytes(), account.as_bytes(), bound_to, head] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign()
}

/// The time in four bytes, which suffice until 2106.
fn seconds(time: UnixTime) -> u32 {
    u32::try_from(time.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::SessionId, environment::Environment, security::LinkToken, system};

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn keys(current: u8, additional: &[u8]) -> DataKeys {
        let key = |byte: &u8| base64::engine::general_purpose::STANDARD.encode([*byte; 32]);
        let additional = additional.iter().map(key).collect::<Vec<_>>().join(",");
        let variables = [("DATA_SECRET_KEY", &*key(&current)), ("DATA_ADDITIONAL_SECRET_KEYS", &additional)];
        DataKeys::from_env(&Environment::with(&variables)).unwrap()
    }

    fn relying_party(id: &str) -> RelyingParty {
        RelyingParty::from_env(&Environment::with(&[("PASSKEY_RP_ID", id)])).unwrap().unwrap()
    }

    fn session(user: i64) -> PresentedSession {
        PresentedSession { user_id: UserId(user), session_id: SessionId::random(&mut system::rng()), in_table: None }
    }

    // Requirements 69, 70.
    #[test]
    fn a_challenge_is_valid_for_five_minutes() {
        let (challenges, party) = (Challenges::new(&keys(1, &[])), relying_party("example.com"));
        let challenge = challenges.issue(Purpose::SignIn, &party, NOW, &mut system::rng());
        for (seconds, is_valid) in [(-31, false), (-30, true), (0, true), (300, true), (301, false)] {
            let later = UnixTime(NOW.0 + seconds);
            assert_eq!(challenges.check(&challenge, Purpose::SignIn, &party, later).is_ok(), is_valid, "{seconds} s");
        }
    }

    // Requirement 70.
    #[test]
    fn a_challenge_is_valid_for_its_purpose_only() {
        let (challenges, party) = (Challenges::new(&keys(1, &[])), relying_party("example.com"));
        let (token, other_token) =
            (LinkToken::random(&mut system::rng()).hash(), LinkToken::random(&mut system::rng()).hash());
        let (first, second) = (session(1), session(1));
        let of_other_user = PresentedSession { user_id: UserId(2), ..first };
        let purposes = [
            Purpose::SignIn,
            Purpose::SecondFactor(UserId(1), &token),
            Purpose::SecondFactor(UserId(2), &token),
            Purpose::SecondFactor(UserId(1), &other_token),
            Purpose::Reauthenticate(first),
            Purpose::Reauthenticate(second),
            Purpose::Reauthenticate(of_other_user),
            Purpose::Enrol(first),
            Purpose::Enrol(second),
            Purpose::Enrol(of_other_user),
        ];
        for (issued, purpose) in purposes.into_iter().enumerate() {
            let challenge = challenges.issue(purpose, &party, NOW, &mut system::rng());
            for (checked, other) in purposes.into_iter().enumerate() {
                let is_valid = challenges.check(&challenge, other, &party, NOW).is_ok();
                assert_eq!(is_valid, issued == checked, "{purpose:?}, checked as {other:?}");
            }
            assert!(challenges.check(&challenge, purpose, &relying_party("example.org"), NOW).is_err());
        }
    }

    // Requirement 69.
    #[test]
    fn a_changed_challenge_is_none_of_ours() {
        let (challenges, party) = (Challenges::new(&keys(1, &[])), relying_party("example.com"));
        let challenge = challenges.issue(Purpose::SignIn, &party, NOW, &mut system::rng());
        for bit in 0..BYTES * 8 {
            let mut changed = challenge;
            changed.0[bit / 8] ^= 1 << (bit % 8);
            assert!(challenges.check(&changed, Purpose::SignIn, &party, NOW).is_err(), "bit {bit}");
        }
        assert_eq!(Challenge::parse(&challenge.to_text()), Some(challenge));
        assert_ne!(challenges.issue(Purpose::SignIn, &party, NOW, &mut system::rng()), challenge);
    }

    // Requirement 79.
    #[test]
    fn challenges_outlive_a_rotation_of_the_keys() {
        let party = relying_party("example.com");
        let challenge = Challenges::new(&keys(1, &[])).issue(Purpose::SignIn, &party, NOW, &mut system::rng());
        let check = |keys: &DataKeys| Challenges::new(keys).check(&challenge, Purpose::SignIn, &party, NOW).is_ok();
        assert!(check(&keys(2, &[3, 1])) && !check(&keys(2, &[3])));
    }
}
