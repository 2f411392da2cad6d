//! `GET /reset-password/{token}`. The tests of the page in a browser are in `tests/tests/browser`.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use tests::{Reply, Stack, documents};

// Requirement 33.
#[tokio::test]
async fn the_content_security_policy_allows_only_the_pages_own_script() {
    let stack = Stack::start().await;
    let page = stack.get("/reset-password/anything").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.text.contains("anything"), "the token is not in the page");
}

async fn page_in(stack: &Stack, language: &str) -> Reply {
    let header = |request: reqwest::RequestBuilder| request.header("accept-language", language);
    stack.send(Method::GET, "/reset-password/anything", header).await
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
        let page = page_in(&stack, header).await;
        assert!(page.text.contains(&format!("<html lang=\"{language}\">")), "{}", page.text);
        assert!(page.text.contains(&format!("<title>{heading}</title>")), "{}", page.text);
        assert_eq!(page.header("vary"), Some("accept-language"));
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

/// The codes of all refusals of a function.
fn codes(function: &str) -> Vec<&'static str> {
    let routes = documents::routes().into_iter().filter(|route| route.function == function);
    let refusals =
        routes.flat_map(|route| (400..600).filter_map(move |status| documents::documented_answer(&route, status)));
    refusals.flat_map(|refusal| &refusal.examples).filter_map(|example| example["code"].as_str()).collect()
}

// Requirement 62.
#[tokio::test]
async fn the_page_has_a_text_for_every_refusal_in_every_language() {
    let stack = Stack::start().await;
    let codes: BTreeSet<&str> = ["reset-password", "forgot-password"].into_iter().flat_map(codes).collect();
    let codes: Vec<_> = codes.into_iter().filter(|code| !OTHER_CODES.contains(code)).collect();
    assert!(codes.len() >= 8, "{codes:?}");
    for language in ["en", "de", "fr", "es"] {
        let page = page_in(&stack, language).await;
        let (_, json) = page.text.split_once("type=\"application/json\">").unwrap();
        let texts: Value = serde_json::from_str(json.split("</script>").next().unwrap()).unwrap();
        for code in codes.iter().copied().chain(["no_answer", "other"]) {
            assert!(texts[code].as_str().is_some_and(|text| !text.is_empty()), "{language} has no text for {code}");
        }
    }
}
