use std::{cmp::Reverse, str::FromStr};

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

    /// The language that a header `Accept-Language` prefers (RFC 9110 §12.5.4), or `default` if it accepts none of [`Self::ALL`]. A language with a
    /// region, such as `de-AT`, also stands for the language without it, as in RFC 4647 §3.4. Malformed parts of the header are skipped.
    #[must_use]
    pub fn preferred(accept_language: &str, default: Self) -> Self {
        let ranges: Vec<_> = accept_language.split(',').filter_map(range).collect();
        let is_excluded =
            |tag: &str| ranges.iter().any(|(range, quality)| *quality == 0 && range.eq_ignore_ascii_case(tag));
        // The quality of a language, and its place in the header, which decides between equal qualities.
        let rank = |locale: Self| {
            let best = |matches: &dyn Fn(&str) -> bool| {
                let positions =
                    ranges.iter().enumerate().filter(|(_, (range, quality))| *quality > 0 && matches(range));
                positions.map(|(position, (_, quality))| (*quality, Reverse(position))).max()
            };
            let language =
                |range: &str| range.split('-').next().is_some_and(|tag| tag.eq_ignore_ascii_case(locale.tag()));
            best(&language).or_else(|| best(&|range| range == "*"))
        };
        let accepted = [default].into_iter().chain(Self::ALL).filter(|locale| !is_excluded(locale.tag()));
        let ranked = accepted.filter_map(|locale| Some((rank(locale)?, locale)));
        // Of several languages that only `*` accepts, the default is the first.
        ranked.min_by_key(|(rank, _)| Reverse(*rank)).map_or(default, |(_, locale)| locale)
    }
}

/// A range of languages and its quality in thousandths, from a part of `Accept-Language` such as `de-AT;q=0.8`. `None` if it is malformed.
fn range(part: &str) -> Option<(&str, u16)> {
    let (range, weight) = part.split_once(';').unwrap_or((part, "q=1"));
    let (name, quality) = weight.split_once('=')?;
    let (whole, fraction) = quality.trim().split_once('.').unwrap_or((quality.trim(), ""));
    let thousandths = format!("{whole}{fraction:0<3}").parse().ok().filter(|thousandths| *thousandths <= 1000)?;
    name.trim().eq_ignore_ascii_case("q").then_some((range.trim(), thousandths))
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

    #[test]
    fn the_language_is_the_best_match_of_accept_language() {
        use Locale::{English, French, German, Spanish};
        for (header, expected) in [
            ("", Spanish),
            ("de", German),
            ("DE-at", German),
            ("de-AT, de;q=0.9, en;q=0.95", German),
            ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", French),
            ("en;q=0.8, fr;q=0.9", French),
            ("en;q=0.8,fr;q=0.80", English),
            ("it, pt;q=0.9, de;q=0.1", German),
            ("it", Spanish),
            ("deu, frx", Spanish),
            ("*", Spanish),
            ("it, *;q=0.1", Spanish),
            ("es;q=0, *", English),
            ("es;q=0, en;q=0, *", German),
            ("de;q=0, fr;q=0.001", French),
            ("de-AT;q=0, de;q=0.5", German),
            ("de;q=0, de-AT", Spanish),
            ("en;q=0, de;q=0, fr;q=0, es;q=0", Spanish),
            // Malformed parts.
            ("de;q=2, fr;q=0.1", French),
            ("de;q=x, fr;q=0.1", French),
            ("de;q, fr;level=1, ,;, en ; Q = 0.2", English),
            ("\u{fffd}", Spanish),
        ] {
            assert_eq!(Locale::preferred(header, Spanish), expected, "{header}");
        }
    }
}
