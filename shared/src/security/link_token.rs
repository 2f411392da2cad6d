//! Tokens of links in mails, and `mfa_token`s. They are random, and the database stores only their hash.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretSlice};

use super::policy::LINK_TOKEN_BYTES;

/// The secret in a link of a mail, or the token of a sign-in that waits for a second factor.
pub struct LinkToken(SecretSlice<u8>);

impl LinkToken {
    /// A new token of 256 bits.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = vec![0; LINK_TOKEN_BYTES];
        rng.fill_bytes(&mut bytes);
        Self(bytes.into())
    }

    /// Reads a token. `None` if the text does not have the length or the characters of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == LINK_TOKEN_BYTES).then(|| Self(bytes.into()))
    }

    /// The token in the form that the link has: base64url without padding (RFC 4648 §5).
    #[must_use]
    pub fn to_link_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose_secret())
    }

    /// The hash that the database stores. A hash without a salt suffices, because 256 random bits cannot be guessed.
    #[must_use]
    pub fn hash(&self) -> LinkTokenHash {
        LinkTokenHash(digest(&SHA256, self.0.expose_secret()).as_ref().to_vec())
    }
}

impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken(…)")
    }
}

/// The SHA-256 of a [`LinkToken`]. It is a type of its own, so that no token is stored by mistake.
#[derive(Debug, PartialEq, Eq)]
pub struct LinkTokenHash(Vec<u8>);

impl LinkTokenHash {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, property_test};

    use super::*;
    use crate::{arbitrary, system};

    #[test]
    fn a_token_can_be_read_back_from_its_link() {
        let token = LinkToken::random(&mut system::rng());
        let text = token.to_link_text();
        assert_eq!(text.len(), 43);
        assert_eq!(LinkToken::parse(&text).unwrap().hash(), token.hash());
    }

    #[property_test]
    fn each_token_has_exactly_one_text(
        bytes: [u8; 32],
        #[strategy = prop_oneof![arbitrary::text(), "[A-Za-z0-9_-]{43}", arbitrary::damaged(&"A".repeat(43))]]
        text: String,
    ) {
        let token = LinkToken(bytes.to_vec().into());
        assert_eq!(LinkToken::parse(&token.to_link_text()).unwrap().hash(), token.hash());
        if let Some(other) = LinkToken::parse(&text) {
            assert_eq!(other.to_link_text(), text);
            assert_eq!(other.hash() == token.hash(), text == token.to_link_text());
        }
    }

    // Requirement 11.
    #[test]
    fn two_tokens_differ() {
        let mut rng = system::rng();
        assert_ne!(LinkToken::random(&mut rng).hash(), LinkToken::random(&mut rng).hash());
    }

    #[test]
    fn malformed_tokens_are_refused() {
        let text = LinkToken::random(&mut system::rng()).to_link_text();
        for not_one in
            ["", "a", &text[1..], &format!("{text}A"), &format!("{text}="), &text.replace(char::is_alphanumeric, "ü")]
        {
            assert!(LinkToken::parse(not_one).is_none(), "{not_one}");
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", LinkToken::random(&mut system::rng())), "LinkToken(…)");
    }
}
