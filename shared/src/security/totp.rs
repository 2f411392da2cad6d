//! Codes of an authenticator app: TOTP (RFC 6238) with SHA-1, six digits and steps of 30 seconds, which every app supports.
//!
//! A code of the step before or after the current one is accepted, too, because clocks differ and people type slowly. OWASP ASVS 6.5.5 allows only
//! 30 seconds. docs/security.md says why this service deviates from it.

use std::fmt::Write as _;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign},
};
use data_encoding::BASE32_NOPAD;
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::policy::{TOTP_DIGITS, TOTP_SECRET_BYTES, TOTP_STEP};
use crate::domain::UnixTime;

/// The secret that an authenticator app and this service share.
pub struct TotpSecret(SecretSlice<u8>);

/// A code that a user has typed.
pub struct TotpCode(SecretString);

impl TotpSecret {
    /// A new secret of 160 bits (RFC 4226 §4, R6).
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = vec![0; TOTP_SECRET_BYTES];
        rng.fill_bytes(&mut bytes);
        Self(bytes.into())
    }

    /// The secret with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: SecretSlice<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &SecretSlice<u8> {
        &self.0
    }

    /// In base32 (RFC 4648 §6) without padding, as authenticator apps expect it.
    #[must_use]
    pub fn to_base32(&self) -> String {
        BASE32_NOPAD.encode(self.0.expose_secret())
    }

    /// The `otpauth` URL that authenticator apps read from a QR code. `issuer` is the service, and `account` is the address of the user.
    #[must_use]
    pub fn to_url(&self, issuer: &str, account: &str) -> String {
        let (issuer, account) = (escaped(issuer), escaped(account));
        let (secret, period) = (self.to_base32(), TOTP_STEP.as_secs());
        format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={TOTP_DIGITS}&period={period}"
        )
    }

    /// The step whose code this is: the newest one of the current step and its two neighbours. `None` if the code is wrong.
    #[must_use]
    pub fn step_of(&self, code: &TotpCode, now: UnixTime) -> Option<i64> {
        let current = now.0 / TOTP_STEP.as_secs().cast_signed();
        // All three are compared, so that the duration does not reveal which one it is.
        let steps = [current + 1, current, current - 1];
        let matching = steps.map(|step| {
            let expected = self.code(step);
            verify_slices_are_equal(expected.as_bytes(), code.0.expose_secret().as_bytes()).is_ok().then_some(step)
        });
        matching.into_iter().flatten().next()
    }

    /// The code of a step (RFC 4226 §5.3).
    #[must_use]
    pub fn code(&self, step: i64) -> String {
        let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.0.expose_secret());
        let tag = sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[tag.len() - 1] & 0xf);
        let word = tag[offset..offset + 4].iter().fold(0, |word: u32, byte| (word << 8) | u32::from(*byte));
        format!("{:0width$}", (word & 0x7fff_ffff) % 10_u32.pow(TOTP_DIGITS), width = TOTP_DIGITS as usize)
    }
}

impl TotpCode {
    /// Reads a code that a user has typed. Spaces are ignored. `None` if the text is not a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.split_ascii_whitespace().collect();
        let is_code = digits.len() == TOTP_DIGITS as usize && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_code.then(|| Self(digits.into()))
    }
}

/// Percent-encodes a text (RFC 3986 §2.1), except letters, digits and `-._~`.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a text takes every character");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system;

    /// The secret of the test vectors.
    fn of_rfc() -> TotpSecret {
        TotpSecret(b"12345678901234567890".to_vec().into())
    }

    fn step(secret: &TotpSecret, code: &str, now: i64) -> Option<i64> {
        secret.step_of(&TotpCode::parse(code).unwrap(), UnixTime(now))
    }

    // Requirement 66.
    #[test]
    fn codes_are_those_of_rfc_6238() {
        // RFC 6238, appendix B, the last six of eight digits.
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(of_rfc().code(time / 30), code, "{time}");
            assert_eq!(step(&of_rfc(), code, time), Some(time / 30), "{time}");
        }
    }

    // Requirement 66.
    #[test]
    fn a_code_is_accepted_one_step_early_or_late() {
        let (secret, current) = (of_rfc(), 41_152_263);
        for (other, accepted) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let found = step(&secret, &secret.code(current + other), current * 30 + 29);
            assert_eq!(found, accepted.then_some(current + other), "{other}");
        }
    }

    #[test]
    fn a_code_has_six_digits_and_may_be_typed_with_spaces() {
        assert!(TotpCode::parse(" 123 456").is_some());
        for text in ["", "12345", "1234567", "12345a", "１２３４５６", "123-456"] {
            assert!(TotpCode::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_url_escapes_the_issuer_and_the_address() {
        let url = of_rfc().to_url("Ex&mple: Ümläut", "ada+tag@example.com");
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let issuer = "Ex%26mple%3A%20%C3%9Cml%C3%A4ut";
        assert_eq!(
            url,
            format!(
                "otpauth://totp/{issuer}:ada%2Btag%40example.com?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30"
            )
        );
    }

    // Requirement 66.
    #[test]
    fn a_secret_has_160_random_bits() {
        let mut rng = system::rng();
        let (one, other) = (TotpSecret::random(&mut rng), TotpSecret::random(&mut rng));
        assert_eq!(one.bytes().expose_secret().len() * 8, 160);
        assert_ne!(one.to_base32(), other.to_base32());
    }
}
