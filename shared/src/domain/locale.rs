use std::str::FromStr;

use super::Rule;

/// A language of mails and pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locale {
    /// English.
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
}

impl Locale {
    /// All languages.
    pub const ALL: [Self; 4] = [Self::English, Self::German, Self::French, Self::Spanish];

    /// The language tag (BCP 47).
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
        }
    }
}

impl FromStr for Locale {
    type Err = Rule;

    /// The language with this tag. Upper and lower case are the same (BCP 47 §2.1.1). [`Rule::LocaleUnknown`] if there is no such language.
    fn from_str(tag: &str) -> Result<Self, Rule> {
        Self::ALL.into_iter().find(|locale| locale.tag().eq_ignore_ascii_case(tag)).ok_or(Rule::LocaleUnknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_one_of_the_languages() {
        for locale in Locale::ALL {
            assert_eq!(locale.tag().parse(), Ok(locale));
            assert_eq!(locale.tag().to_uppercase().parse(), Ok(locale));
        }
        for other in ["", "it", "de-AT", "english", "d", "de "] {
            assert_eq!(other.parse::<Locale>(), Err(Rule::LocaleUnknown), "{other}");
        }
    }
}
