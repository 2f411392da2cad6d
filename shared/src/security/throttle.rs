//! Who is counted as one: the source of a request, and what may be attempted from there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest::{SHA256, digest};

use super::policy::{self, Limit};

/// Where a request comes from, as API Gateway saw it: an IPv4 address, or the /64 of an IPv6 one, which is what one household gets and
/// could otherwise spread over 2^64 addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    /// The source of an address. Whatever is no address is one source.
    #[must_use]
    pub fn of(address: Option<&str>) -> Self {
        Self(match address.and_then(|address| address.parse().ok()) {
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => match embedded_ipv4(address) {
                Some(address) => address.to_string(),
                None => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
            },
            None => "unknown".to_owned(),
        })
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped (RFC 4291 §2.5.5.2), or translated by NAT64 under the well-known prefix (RFC 6052
/// §2.1). By its /64, the whole IPv4 internet would be one source.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    const WELL_KNOWN_PREFIX: u128 = 0x0064_ff9b << 96;
    let translated = address.to_bits() & !u128::from(u32::MAX) == WELL_KNOWN_PREFIX;
    #[expect(clippy::cast_possible_truncation, reason = "the last 32 bits are the address")]
    address.to_ipv4_mapped().or_else(|| translated.then(|| Ipv4Addr::from_bits(address.to_bits() as u32)))
}

/// What is counted by source alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Making an account.
    SignUp,
    /// Asking for a reset mail.
    ForgotPassword,
    /// Presenting a reset token.
    ResetPassword,
}

impl Attempt {
    /// Its name among the counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignUp => "signup",
            Self::ForgotPassword => "forgot-password",
            Self::ResetPassword => "reset-password",
        }
    }

    /// How often a source may.
    #[must_use]
    pub fn limit(self) -> Limit {
        match self {
            Self::SignUp => policy::SIGNUPS_OF_SOURCE,
            Self::ForgotPassword => policy::FORGOTTEN_OF_SOURCE,
            Self::ResetPassword => policy::RESETS_OF_SOURCE,
        }
    }
}

/// The SHA-256 of a counter's name: no address can be read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterKey([u8; 32]);

impl CounterKey {
    /// The key of a counter. Its name is the words, parted by spaces.
    #[must_use]
    pub fn of(words: &[&str]) -> Self {
        Self::from_stored(digest(&SHA256, words.join(" ").as_bytes()).as_ref())
    }

    /// A key as a store keeps it.
    ///
    /// # Panics
    /// Where it does not have 32 bytes.
    #[must_use]
    pub fn from_stored(key: &[u8]) -> Self {
        Self(key.try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The three counters of an attempt to sign in.
pub struct SignInCounters {
    /// Of the account and the source together.
    pub both: CounterKey,
    /// Of the source, over all accounts.
    pub source: CounterKey,
    /// Of the account, over all sources.
    pub account: CounterKey,
}

/// An attempt that is refused because there were too many before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TooMany {
    /// Seconds until the next attempt is let through; at least one.
    pub retry_after: u64,
    /// Whether a password reset lets the account's owner sign in before that.
    pub reset_helps: bool,
}

impl TooMany {
    /// A refusal that only time lifts. `seconds` are rounded up.
    #[must_use]
    pub fn wait(seconds: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a wait is small and at least 1")]
        let retry_after = seconds.ceil().max(1.0) as u64;
        Self { retry_after, reset_helps: false }
    }
}

#[cfg(test)]
mod tests {
    use proptest::property_test;

    use super::*;
    use crate::arbitrary;

    #[test]
    fn an_ipv6_network_is_one_source_and_an_ipv4_address_another() {
        for (address, source) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("64:ff9b::203.0.113.7", "203.0.113.7"),
            ("64:ff9b::cb00:7107", "203.0.113.7"),
            ("64:ff9b:1::203.0.113.7", "64:ff9b:1::/64"),
            ("64:ff9b::1:203.0.113.7", "64:ff9b::/64"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("", "unknown"),
            ("203.0.113.7, 198.51.100.1", "unknown"),
        ] {
            assert_eq!(Source::of(Some(address)).as_str(), source, "{address}");
        }
        assert_eq!(Source::of(None).as_str(), "unknown");
    }

    #[property_test]
    fn an_ipv6_source_is_its_first_64_bits(
        #[strategy = 1 << 60..u64::MAX] network: u64,
        hosts: [u64; 2],
        #[strategy = 1 << 60..u64::MAX] other: u64,
    ) {
        let source = |network: u64, host: u64| {
            Source::of(Some(&Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(host)).to_string()))
        };
        assert_eq!(source(network, hosts[0]), source(network, hosts[1]));
        assert_eq!(source(network, hosts[0]) == source(other, hosts[0]), network == other);
    }

    #[property_test]
    fn an_ipv4_address_is_the_same_source_however_it_is_written(address: [u8; 4]) {
        let address = std::net::Ipv4Addr::from(address);
        let translated = format!("64:ff9b::{address}");
        for written in [address.to_string(), address.to_ipv6_mapped().to_string(), translated] {
            assert_eq!(Source::of(Some(&written)).as_str(), address.to_string());
        }
    }

    /// The names of counters are parted by spaces.
    #[property_test]
    fn a_source_has_no_space_in_it(#[strategy = arbitrary::text()] text: String) {
        assert!(!Source::of(Some(&text)).as_str().contains(' '));
    }
}
