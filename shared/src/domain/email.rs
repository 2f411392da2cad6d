use super::Rule;

/// An address that may have an account, as its owner wrote it. Whether two are the same is PostgreSQL's `lower()` to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// The longest address SMTP can carry (RFC 5321 §4.5.3.1.3, erratum 1690).
    const MAX_LENGTH: usize = 254;

    /// Takes an address where an account is made.
    ///
    /// ASCII with one `@` and a domain of at least two labels. Spaces, commas and angle brackets, which mean something in a
    /// mail's header, are refused rather than quoted. Whether mail arrives there only mail can tell.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        if text.len() > Self::MAX_LENGTH {
            return Err(Rule::EmailTooLong);
        }
        let (local, domain) = text.split_once('@').ok_or(Rule::EmailInvalid)?;
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | ',' | '<' | '>');
        let well_formed = !local.is_empty()
            && text.chars().filter(|&c| c != '@').all(plain)
            && domain.contains('.')
            && domain.split('.').all(|label| !label.is_empty())
            && !domain.contains('@');
        well_formed.then(|| Self(text.to_owned())).ok_or(Rule::EmailInvalid)
    }

    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whatever somebody typed to find an account by. Nothing is refused: a text no account can have simply finds none.
#[derive(Debug, Clone)]
pub struct EmailLookup(String);

impl EmailLookup {
    /// Takes any string.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text to compare with; none where it has a NUL, which PostgreSQL can neither store nor be asked for. A query
    /// with none does the same work and finds nothing.
    #[must_use]
    pub fn as_sql(&self) -> Option<&str> {
        (!self.0.contains('\0')).then_some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, property_test, sample::Index};

    use super::*;
    use crate::arbitrary;

    #[test]
    fn ordinary_addresses_are_kept_as_given() {
        for address in ["a@b.c", "Test.User+tag@Example.COM", "o'brien@mail.example.org", "\"quoted\"@example.com"] {
            assert_eq!(Email::parse(address).unwrap().as_str(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
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
        ] {
            assert_eq!(Email::parse(text), Err(Rule::EmailInvalid), "{text:?}");
        }
    }

    #[test]
    fn the_longest_address_has_254_characters() {
        let address = |length: usize| format!("{}@example.com", "a".repeat(length - "@example.com".len()));
        assert!(Email::parse(&address(254)).is_ok());
        assert_eq!(Email::parse(&address(255)), Err(Rule::EmailTooLong));
    }

    #[test]
    fn a_lookup_with_a_nul_finds_nothing() {
        assert_eq!(EmailLookup::new("a\0b").as_sql(), None);
        assert_eq!(EmailLookup::new("not an address").as_sql(), Some("not an address"));
    }

    /// An address by the letter of the contract.
    const ADDRESS: &str = r"[!-~&&[^@,<>]]{1,64}@[!-~&&[^@,<>.]]{1,20}(\.[!-~&&[^@,<>.]]{1,20}){1,4}";

    #[property_test]
    fn every_address_is_kept_as_given(#[strategy = ADDRESS] address: String) {
        assert_eq!(Email::parse(&address).unwrap().as_str(), address);
    }

    #[property_test]
    fn one_wrong_character_anywhere_spoils_an_address(
        #[strategy = ADDRESS] address: String,
        at: Index,
        #[strategy = "[@,<>\\s\\p{Cc}[^\\x00-\\x7f]]"] wrong: String,
    ) {
        let at = at.index(address.len() + 1);
        let spoilt = format!("{}{wrong}{}", &address[..at], &address[at..]);
        prop_assume!(spoilt.len() <= Email::MAX_LENGTH);
        assert_eq!(Email::parse(&spoilt), Err(Rule::EmailInvalid));
    }

    #[property_test]
    fn an_address_has_two_sides_and_a_domain_of_labels(#[strategy = "[ab@.,<\0 ü]{0,9}"] text: String) {
        let plain = |text: &str| !text.is_empty() && text.chars().all(|c| "ab.".contains(c));
        let expected = match *text.split('@').collect::<Vec<_>>() {
            [local, domain] => plain(local) && domain.contains('.') && domain.split('.').all(plain),
            _ => false,
        };
        assert_eq!(Email::parse(&text).is_ok(), expected);
    }

    #[property_test]
    fn a_lookup_is_refused_for_a_nul_alone(#[strategy = arbitrary::text()] text: String) {
        assert_eq!(EmailLookup::new(&text).as_sql(), Some(text.as_str()).filter(|text| !text.contains('\0')));
    }
}
