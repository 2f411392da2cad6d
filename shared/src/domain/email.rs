use super::Rule;

/// The address of an account, as its owner wrote it. Two addresses are the same if they differ only in the case of ASCII letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// The longest address that SMTP can carry, in characters (RFC 5321 §4.5.3.1.3, erratum 1690).
    pub const MAX_LENGTH: usize = 254;
    /// The longest local part (RFC 5321 §4.5.3.1.1).
    const LOCAL_PART_MAX_LENGTH: usize = 64;
    /// The longest label of a host name (RFC 1035 §2.3.4).
    const LABEL_MAX_LENGTH: usize = 63;

    /// Parses the address of a new account: a dot-atom (RFC 5321 §4.1.2) at a host name of two labels or more.
    ///
    /// Quoted local parts, comments, address literals and encoded words are refused. Mail programs read them in different ways, and one
    /// mailbox could be written in many forms. Only sending a mail shows whether the mailbox exists.
    ///
    /// # Errors
    /// [`Rule::EmailTooLong`] or [`Rule::EmailInvalid`].
    pub fn parse(text: &str) -> Result<Self, Rule> {
        if text.chars().count() > Self::MAX_LENGTH {
            return Err(Rule::EmailTooLong);
        }
        let well_formed = text.split_once('@').is_some_and(|(local, host)| is_dot_atom(local) && is_host_name(host));
        well_formed.then(|| Self(text.to_owned())).ok_or(Rule::EmailInvalid)
    }

    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_dot_atom(text: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    text.len() <= Email::LOCAL_PART_MAX_LENGTH && text.split('.').all(is_atom)
}

/// Letters, digits and inner hyphens (RFC 1123 §2.1), in labels.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=Email::LABEL_MAX_LENGTH).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.contains('.') && text.split('.').all(is_label)
}

/// Any text that a client sends to find an account by its address. A text that is not an address finds no account.
#[derive(Debug, Clone)]
pub struct EmailLookup(String);

impl EmailLookup {
    /// Takes any string.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text as a parameter of a query. `None` if it contains a NUL, which PostgreSQL does not accept in a text. A query with `None` does the same
    /// work and finds nothing.
    #[must_use]
    pub fn as_sql(&self) -> Option<&str> {
        (!self.0.contains('\0')).then_some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, property_test, sample::Index};

    use super::*;
    use crate::arbitrary;

    #[test]
    fn ordinary_addresses_are_accepted_unchanged() {
        for address in ["a@b.c", "Test.User+tag@Example.COM", "o'brien@mail.example.org", "x_%-/=?^`{|}~!#$&*@1-a.b2"] {
            assert_eq!(Email::parse(address).unwrap().as_str(), address);
        }
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@b.c",
            "a@b",
            "a@@b.c",
            "a@b@c.d",
            "a@.b",
            "a@b.",
            "a@b..c",
            "a b@c.d",
            "a@b.c\n",
            "a@b.c\0",
            "a,b@c.d",
            "<a@b.c>",
            "a@b.c,d@e.f",
            "ä@b.c",
            "a@bücher.de",
            "a\u{200b}@b.c",
            "a@b.c ",
            "\ta@b.c",
            "a\u{7f}@b.c",
            ".a@b.c",
            "a.@b.c",
            "a..b@c.d",
            "\"kate@example.com",
            "\"kate\"@example.com",
            "kate(comment)@example.com",
            "kate@exa_mple.com",
            "kate@example.c\"om",
            "kate@-example.com",
            "kate@example-.com",
            "kate@[192.0.2.1]",
            "x:kate@example.com;",
            "=?utf-8?q?kate?=@exa=?.com",
            "kate\\@example.com",
        ] {
            assert_eq!(Email::parse(text), Err(Rule::EmailInvalid), "{text:?}");
        }
    }

    #[test]
    fn an_address_has_254_characters_at_most_its_local_part_64_and_a_label_63() {
        let address = |local: usize, label: usize| format!("{}@{}.com", "a".repeat(local), "b".repeat(label));
        assert!(Email::parse(&address(64, 63)).is_ok());
        assert_eq!(Email::parse(&address(65, 63)), Err(Rule::EmailInvalid));
        assert_eq!(Email::parse(&address(64, 64)), Err(Rule::EmailInvalid));
        let long =
            |length: usize| format!("{}@{}", "a".repeat(length - 190), ["b".repeat(62).as_str(); 3].join(".") + "b");
        assert_eq!((long(254).len(), Email::parse(&long(254)).is_ok()), (254, true));
        assert_eq!(Email::parse(&long(255)), Err(Rule::EmailTooLong));
        assert_eq!(Email::parse(&format!("{}@b.c", "ä".repeat(250))), Err(Rule::EmailInvalid));
    }

    #[test]
    fn a_lookup_with_a_nul_finds_nothing() {
        assert_eq!(EmailLookup::new("a\0b").as_sql(), None);
        assert_eq!(EmailLookup::new("not an address").as_sql(), Some("not an address"));
    }

    const ATOM: &str = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,12}";
    const LABEL: &str = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,10}[a-zA-Z0-9])?";

    fn address() -> impl Strategy<Value = String> {
        (vec(ATOM, 1..4), vec(LABEL, 2..5))
            .prop_map(|(atoms, labels)| format!("{}@{}", atoms.join("."), labels.join(".")))
    }

    #[property_test]
    fn valid_addresses_are_accepted_unchanged(#[strategy = address()] address: String) {
        assert_eq!(Email::parse(&address).unwrap().as_str(), address);
    }

    #[property_test]
    fn one_forbidden_character_anywhere_makes_an_address_invalid(
        #[strategy = address()] address: String,
        at: Index,
        #[strategy = "[@,<>()\\[\\]:;\"\\\\\\s\\p{Cc}[^\\x00-\\x7f]]"] wrong: String,
    ) {
        let at = at.index(address.len() + 1);
        let changed = format!("{}{wrong}{}", &address[..at], &address[at..]);
        prop_assume!(changed.chars().count() <= Email::MAX_LENGTH);
        assert_eq!(Email::parse(&changed), Err(Rule::EmailInvalid));
    }

    #[property_test]
    fn an_address_is_a_dot_atom_at_a_host_name(#[strategy = "[ab@.,<_\\-\0 ü]{0,9}"] text: String) {
        let atom = |text: &str| !text.is_empty() && text.chars().all(|c| "ab_-".contains(c));
        let label = |text: &str| {
            !text.is_empty()
                && text.chars().all(|c| "ab-".contains(c))
                && !text.starts_with('-')
                && !text.ends_with('-')
        };
        let expected = match *text.split('@').collect::<Vec<_>>() {
            [local, host] => local.split('.').all(atom) && host.contains('.') && host.split('.').all(label),
            _ => false,
        };
        assert_eq!(Email::parse(&text).is_ok(), expected);
    }

    #[property_test]
    fn only_a_nul_makes_a_lookup_find_nothing(#[strategy = arbitrary::text()] text: String) {
        assert_eq!(EmailLookup::new(&text).as_sql(), Some(text.as_str()).filter(|text| !text.contains('\0')));
    }
}
