//! The pages that links in mails open. The tests of the pages in a browser are in `tests/tests/browser`.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use tests::{Reply, Stack, documents};

/// The pages, and the headings of their forms.
const PAGES: [(&str, &str); 6] = [
    ("reset-password", "Choose a new password"),
    ("verify-email", "Verify your email address"),
    ("change-email", "Verify your new email address"),
    ("undo-email-change", "Undo the change of your address"),
    ("undo-factor", "Remove the new second factor"),
    ("keep-account", "Keep your account"),
];

async fn page_in(stack: &Stack, page: &str, language: &str) -> Reply {
    let header = |request: reqwest::RequestBuilder| request.header("accept-language", language);
    stack.send(Method::GET, &format!("/{page}/anything"), header).await
}

// Requirements 33, 63.
#[tokio::test]
async fn the_content_security_policy_allows_only_the_pages_own_script() {
    let stack = Stack::start().await;
    for (name, heading) in PAGES {
        let page = page_in(&stack, name, "en").await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{name}");
        assert!(page.text.contains(&format!("<title>{heading}</title>")), "{name}: {}", page.text);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{name}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{name}: {policy}");
        assert!(!page.text.contains("anything"), "the token is not in the page {name}");
    }
}

// Requirement 62.
#[tokio::test]
async fn the_page_is_in_the_language_that_the_browser_prefers() {
    let stack = Stack::builder().with("DEFAULT_LOCALE", "es").start().await;
    for (header, language, heading) in [
        ("en-GB", "en", "Choose a new password"),
        ("de-AT, en;q=0.5", "de", "Neues Passwort wählen"),
        ("it, fr;q=0.1", "fr", "Choisir un nouveau mot de passe"),
        ("it", "es", "Elija una contraseña nueva"),
    ] {
        let page = page_in(&stack, "reset-password", header).await;
        assert!(page.text.contains(&format!("<html lang=\"{language}\">")), "{}", page.text);
        assert!(page.text.contains(&format!("<title>{heading}</title>")), "{}", page.text);
        assert_eq!(page.header("vary"), Some("accept-language"));
        for (name, _) in PAGES {
            let page = page_in(&stack, name, header).await;
            assert!(page.text.contains(&format!("<html lang=\"{language}\">")), "{name}: {}", page.text);
        }
    }
}

/// Codes that the script of the page cannot cause, or that it shows as any other failure.
const OTHER_CODES: [&str; 6] = [
    "internal_error",
    "invalid_headers",
    "invalid_json",
    "invalid_or_expired_token",
    "payload_too_large",
    "unsupported_media_type",
];

/// The codes of all refusals of a route of the API to which a page posts.
fn codes(path: &str) -> BTreeSet<&'static str> {
    let routes = documents::routes().into_iter().filter(|route| route.path == path);
    let refusals =
        routes.flat_map(|route| (400..600).filter_map(move |status| documents::documented_answer(&route, status)));
    let codes = refusals.flat_map(|refusal| &refusal.examples).filter_map(|example| example["code"].as_str());
    codes.filter(|code| !OTHER_CODES.contains(code)).collect()
}

// Requirement 62.
#[tokio::test]
async fn a_page_has_a_text_for_every_refusal_in_every_language() {
    let stack = Stack::start().await;
    assert!(codes("/api/reset-password/{token}").len() >= 8);
    for (name, _) in PAGES {
        let mut codes = codes(&format!("/api/{name}/{{token}}"));
        codes.extend(["too_many_attempts", "service_unavailable", "no_answer", "other"]);
        if name == "reset-password" {
            codes.extend(self::codes("/api/forgot-password"));
        } else {
            codes.extend(["missing_required_fields", "invalid_credentials"]);
        }
        for language in ["en", "de", "fr", "es"] {
            let page = page_in(&stack, name, language).await;
            let (_, json) = page.text.split_once("type=\"application/json\">").unwrap();
            let texts: Value = serde_json::from_str(json.split("</script>").next().unwrap()).unwrap();
            for code in &codes {
                let text = texts[code].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{name} in {language} has no text for {code}");
            }
        }
    }
}

// Requirement 62.
#[tokio::test]
async fn french_pages_have_no_breakable_space_before_punctuation() {
    let stack = Stack::start().await;
    for (name, _) in PAGES {
        let page = page_in(&stack, name, "fr").await;
        let (_, main) = page.text.split_once("<main>").unwrap();
        let (texts, _) = main.split_once("</main>").unwrap();
        for punctuation in [" :", " ;", " !", " ?"] {
            assert!(!texts.contains(punctuation), "{name}: {texts}");
        }
    }
}
