//! The settings of the operator for the look of mails and pages.

use std::{fmt, str::FromStr};

use lambda_http::http::Uri;

use crate::{
    domain::{Locale, Name},
    environment::{ConfigError, Environment},
};

/// The name, logo and color of the product, and the default language.
#[derive(Debug, Clone)]
pub struct Brand {
    /// The product's name. Without it, mails and pages name no product.
    pub name: Option<String>,
    /// The https URL of the logo.
    pub logo: Option<String>,
    /// The color of buttons.
    pub color: Color,
    /// The language if neither the account nor the request names one of ours.
    pub default_locale: Locale,
}

impl Brand {
    /// Reads `BRAND_NAME`, `BRAND_LOGO_URL`, `BRAND_COLOR` and `DEFAULT_LOCALE`.
    ///
    /// # Errors
    /// If a value is malformed.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let name = "BRAND_NAME";
        let expected = "at most 100 characters, without control characters";
        let product = env.optional(name).map(Name::parse).transpose();
        let product = product.map_err(|_| ConfigError::Malformed { name, expected })?;

        let name = "BRAND_LOGO_URL";
        let logo = env.http_url(name)?.map(str::to_owned);
        if logo.as_deref().is_some_and(|url| origin(url).is_none()) {
            return Err(ConfigError::Malformed {
                name,
                expected: "an https URL without a user name, with a host of letters, digits, dots and hyphens",
            });
        }
        Ok(Self {
            name: product.map(|name| name.as_str().to_owned()),
            logo,
            color: env.parsed("BRAND_COLOR", "a color such as `#1a4fa3`", Color::DEFAULT)?,
            default_locale: default_locale(env)?,
        })
    }

    /// The logo's origin, such as `https://cdn.example.com`.
    #[must_use]
    pub fn logo_origin(&self) -> Option<&str> {
        self.logo.as_deref().and_then(origin)
    }
}

/// Reads `DEFAULT_LOCALE`: the language if neither the account nor the request names one of ours.
///
/// # Errors
/// If it is not the tag of a language.
pub fn default_locale(env: &Environment) -> Result<Locale, ConfigError> {
    env.parsed("DEFAULT_LOCALE", "one of `en`, `de`, `fr` and `es`", Locale::English)
}

/// The origin of an https URL. Only letters, digits, `.`, `-` and `:` are allowed in it, because it becomes a part of a
/// Content-Security-Policy.
fn origin(url: &str) -> Option<&str> {
    let parsed: Uri = url.parse().ok()?;
    let authority = parsed.authority()?.as_str();
    let is_plain = authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte));
    let origin = url.get(.."https://".len() + authority.len())?;
    (is_plain && origin.starts_with("https://")).then_some(origin)
}

/// A color in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color([u8; 3]);

impl Color {
    /// A blue.
    pub const DEFAULT: Self = Self([0x1a, 0x4f, 0xa3]);
    const BLACK: Self = Self([0; 3]);
    const WHITE: Self = Self([255; 3]);

    /// The color of text on this color: black or white, whichever has more contrast. It has at least 4.5:1 (WCAG 2.2 §1.4.3), whatever this color is.
    #[must_use]
    pub fn of_text(self) -> Self {
        if self.contrast(Self::WHITE) >= self.contrast(Self::BLACK) { Self::WHITE } else { Self::BLACK }
    }

    /// The contrast ratio of two colors (WCAG 2.2, "contrast ratio").
    fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// WCAG 2.2, "relative luminance".
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|channel| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl FromStr for Color {
    type Err = hex::FromHexError;

    /// A color such as `#1a4fa3`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut channels = [0; 3];
        let digits = text.strip_prefix('#').ok_or(hex::FromHexError::InvalidStringLength)?;
        hex::decode_to_slice(digits, &mut channels).map(|()| Self(channels))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brand(variables: &[(&str, &str)]) -> Result<Brand, ConfigError> {
        Brand::from_env(&Environment::with(variables))
    }

    #[test]
    fn without_settings_there_is_no_name_and_no_logo() {
        let brand = brand(&[]).unwrap();
        assert_eq!((&brand.name, &brand.logo, brand.logo_origin()), (&None, &None, None));
        assert_eq!(brand.color.to_string(), "#1a4fa3");
    }

    #[test]
    fn a_logo_is_an_https_url_without_a_user_name() {
        let logo = |url: &str| brand(&[("BRAND_LOGO_URL", url)]).map(|brand| brand.logo_origin().map(str::to_owned));
        assert_eq!(logo("https://cdn.example.com/logo.png"), Ok(Some("https://cdn.example.com".to_owned())));
        assert_eq!(logo("https://cdn.example.com:8443/a/b.svg"), Ok(Some("https://cdn.example.com:8443".to_owned())));
        for url in [
            "http://example.com/a.png",
            "https://a;b/c",
            "https://a,b/c",
            "https://u@b/c",
            "https://[::1]/a",
            "logo.png",
        ] {
            assert!(logo(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_name_has_no_control_characters() {
        assert_eq!(brand(&[("BRAND_NAME", "Caf\u{e9} & Co")]).unwrap().name.as_deref(), Some("Caf\u{e9} & Co"));
        assert!(brand(&[("BRAND_NAME", "a\nb")]).is_err());
    }

    #[test]
    fn a_color_has_six_hexadecimal_digits() {
        assert_eq!("#FFb000".parse::<Color>().unwrap().to_string(), "#ffb000");
        for text in ["", "#", "ffb000", "#fff", "#ffb00", "#ffb0000", "#ggb000", "#ffb000 "] {
            assert!(text.parse::<Color>().is_err(), "{text}");
        }
    }

    // Requirement 63.
    #[test]
    fn text_on_any_color_is_readable() {
        assert_eq!(Color::DEFAULT.of_text(), Color::WHITE);
        assert_eq!(Color([0xff, 0xb0, 0x00]).of_text(), Color::BLACK);
        for channels in (0..=0xff_ffff_u32).step_by(0x101).map(u32::to_be_bytes) {
            let color = Color([channels[1], channels[2], channels[3]]);
            assert!(color.contrast(color.of_text()) >= 4.5, "{color}");
        }
    }
}
