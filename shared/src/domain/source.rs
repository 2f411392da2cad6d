use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network that a request comes from: an IPv4 address, or the /64 network of an IPv6 address. A household has a whole /64 and could
/// otherwise use 2^64 addresses to get around limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    /// The source of an IP address. All requests without a valid address share one source.
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

    /// The source as text, without spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The IPv4 address in an IPv6 address that is IPv4-mapped (RFC 4291 §2.5.5.2) or has the well-known prefix of NAT64 (RFC 6052 §2.1). All such
/// addresses are in one /64, so without this function they would all be one source.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    const WELL_KNOWN_PREFIX: u128 = 0x0064_ff9b << 96;
    let translated = address.to_bits() & !u128::from(u32::MAX) == WELL_KNOWN_PREFIX;
    #[expect(clippy::cast_possible_truncation, reason = "the last 32 bits are the address")]
    address.to_ipv4_mapped().or_else(|| translated.then(|| Ipv4Addr::from_bits(address.to_bits() as u32)))
}

#[cfg(test)]
mod tests {
    use proptest::property_test;

    use super::*;
    use crate::arbitrary;

    #[test]
    fn a_source_is_an_ipv4_address_or_the_64_network_of_an_ipv6_address() {
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
    fn an_ipv4_address_is_the_same_source_in_every_notation(address: [u8; 4]) {
        let address = std::net::Ipv4Addr::from(address);
        let translated = format!("64:ff9b::{address}");
        for written in [address.to_string(), address.to_ipv6_mapped().to_string(), translated] {
            assert_eq!(Source::of(Some(&written)).as_str(), address.to_string());
        }
    }

    /// The words of a counter's name are separated by spaces.
    #[property_test]
    fn a_source_has_no_space_in_it(#[strategy = arbitrary::text()] text: String) {
        assert!(!Source::of(Some(&text)).as_str().contains(' '));
    }
}
