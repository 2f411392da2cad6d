use unicode_normalization::UnicodeNormalization;

use super::Rule;

/// A person's name in NFC form, so that composed and decomposed accents make no difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The size of the database column, in characters.
    pub const MAX_LENGTH: usize = 100;

    /// Parses the name of a new account. It may have up to [`Self::MAX_LENGTH`] characters in NFC form, and no control characters.
    ///
    /// # Errors
    /// [`Rule::NameTooLong`] or [`Rule::NameHasControlCharacters`].
    pub fn parse(text: &str) -> Result<Self, Rule> {
        let name: String = text.nfc().collect();
        if name.chars().count() > Self::MAX_LENGTH {
            return Err(Rule::NameTooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(Rule::NameHasControlCharacters);
        }
        Ok(Self(name))
    }

    /// The normalised name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::property_test;

    use super::*;

    #[test]
    fn a_name_is_normalised() {
        assert_eq!(Name::parse("Jose\u{301}").unwrap().as_str(), "Jos\u{e9}");
    }

    #[test]
    fn the_longest_name_has_100_characters_after_normalisation() {
        assert!(Name::parse(&"e\u{301}".repeat(100)).is_ok());
        assert_eq!(Name::parse(&"é".repeat(101)), Err(Rule::NameTooLong));
    }

    // Requirements 45, 46.
    #[test]
    fn control_characters_are_refused() {
        for text in ["a\0", "a\nb", "\u{1b}[31m", "a\u{85}", "\u{7f}"] {
            assert_eq!(Name::parse(text), Err(Rule::NameHasControlCharacters), "{text:?}");
        }
    }

    /// Texts in every script, with combining accents, and with lengths around the maximum.
    const TEXT: &str = r"(?s)(.\p{Mn}?){0,40}|[a\u{e9}\u{301}]{90,130}|\PC{1,10}";

    #[property_test]
    fn composed_and_decomposed_accents_are_the_same_name(#[strategy = TEXT] text: String) {
        let (composed, decomposed): (String, String) = (text.nfc().collect(), text.nfd().collect());
        assert_eq!(Name::parse(&composed), Name::parse(&text));
        assert_eq!(Name::parse(&decomposed), Name::parse(&text));
    }

    #[property_test]
    fn a_name_has_at_most_100_characters_and_no_control_characters(#[strategy = TEXT] text: String) {
        let characters = text.nfc().count();
        match Name::parse(&text) {
            Ok(name) => {
                assert!(characters <= 100 && !text.chars().any(char::is_control));
                assert_eq!(Name::parse(name.as_str()).unwrap(), name);
            }
            Err(rule) => assert_eq!(rule == Rule::NameTooLong, characters > 100),
        }
    }
}
