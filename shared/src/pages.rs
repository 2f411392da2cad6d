//! The pages that links in mails open. This module has what they share: layout, style, script, and the texts of refusals. A page's own parts are in
//! the folder of its function, in a template that extends `pages/layout.html`.
//!
//! A page is the same for every token. Its script reads the token from the page's address and posts it to the API. So opening a link does not use its
//! token, and no text from a request gets into a page.

mod texts;

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};

pub use self::texts::{NewPasswordRefusals, Refusals, Texts};
use crate::{
    brand::Brand,
    domain::Locale,
    http::{Reply, Request},
};

const STYLE: &str = include_str!("../templates/pages/page.css");
const SCRIPT: &str = include_str!("../templates/pages/page.js");

/// What the layout of a page shows, in one language.
pub struct Frame<'a> {
    /// The language.
    pub locale: Locale,
    /// Name, logo and color.
    pub brand: &'a Brand,
    /// The texts that all pages share.
    pub texts: &'static Texts,
    /// The texts of refusals, as JSON.
    pub refusals: String,
    /// The style sheet.
    pub style: &'a str,
    /// The script of all pages and of this page.
    pub script: &'a str,
}

/// A page in every language.
pub struct Page {
    html: BTreeMap<Locale, String>,
    content_security_policy: String,
    default_locale: Locale,
}

impl Page {
    /// Composes a page from its own script and its template. `render` renders the template, which extends `pages/layout.html` and has the frame in
    /// its field `frame`. `min_length` is the minimum length of a new password, if the page sets one.
    pub fn new(
        brand: &Brand,
        min_length: Option<usize>,
        own_script: &str,
        render: impl Fn(Frame<'_>) -> String,
    ) -> Self {
        let Brand { color, default_locale, .. } = *brand;
        let style = format!("\n:root {{ --brand: {color}; --on-brand: {}; }}\n\n{STYLE}", color.of_text());
        let script = format!("\n{SCRIPT}\n{own_script}");
        let html = Locale::ALL.map(|locale| {
            let texts = Texts::of(locale);
            let refusals = texts.refusals_as_json(min_length);
            (locale, render(Frame { locale, brand, texts, refusals, style: &style, script: &script }))
        });
        Self {
            html: html.into(),
            content_security_policy: content_security_policy(&style, &script, brand.logo_origin()),
            default_locale,
        }
    }

    /// The page in the language that the browser prefers.
    #[must_use]
    pub fn reply(&self, request: &Request) -> Reply {
        let html = &self.html[&request.locale(self.default_locale)];
        Reply::page(html.clone(), &self.content_security_policy)
    }
}

/// Allows only this style and this script, by their hashes (CSP Level 3 §2.3.1), the logo, and requests to the same origin.
fn content_security_policy(style: &str, script: &str, logo_origin: Option<&str>) -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    let images = logo_origin.map(|origin| format!("img-src {origin}; ")).unwrap_or_default();
    format!(
        "default-src 'none'; style-src {}; script-src {}; {images}connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(style),
        hash(script)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    // Requirement 63.
    #[test]
    fn only_the_origin_of_a_configured_logo_is_allowed_for_images() {
        let policy = |variables: &[(&str, &str)]| {
            let brand = Brand::from_env(&Environment::with(variables)).unwrap();
            Page::new(&brand, None, "", |frame| frame.style.to_owned()).content_security_policy
        };
        assert!(!policy(&[]).contains("img-src"));
        let with_logo = policy(&[("BRAND_LOGO_URL", "https://cdn.example.com/logos/a.png")]);
        assert!(with_logo.contains("; img-src https://cdn.example.com; connect-src 'self'"), "{with_logo}");
        assert!(!with_logo.contains("unsafe") && !with_logo.contains('*'), "{with_logo}");
    }
}
