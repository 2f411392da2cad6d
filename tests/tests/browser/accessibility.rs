//! The pages are accessible: axe-core finds nothing in any state, language, width or color scheme.
//!
//! With `TEST_SCREENSHOTS=folder`, the test stores an image of each.

use std::{fs, path::Path};

use fantoccini::{Client, Locator};
use serde_json::json;
use tests::{Stack, optional, server};

use crate::browser::{devtools, open_browser, requests};

/// The rules of WCAG 2.2 at the levels A and AA, and what axe-core recommends besides.
const RULES: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/// Sets the browser's language, width and color scheme.
async fn emulate(browser: &Client, language: &str, width: u32, scheme: &str) {
    let headers = json!({ "headers": { "Accept-Language": language } });
    devtools(browser, "Network.enable", json!({})).await;
    devtools(browser, "Network.setExtraHTTPHeaders", headers).await;
    let size = json!({ "width": width, "height": 720, "deviceScaleFactor": 1, "mobile": false });
    devtools(browser, "Emulation.setDeviceMetricsOverride", size).await;
    let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    devtools(browser, "Emulation.setEmulatedMedia", features).await;
}

/// Submits the form of the shown section. The page gets this answer from the API.
async fn submit_with_answer(browser: &Client, code: Option<&str>) {
    let answer = "window.fetch = async () => new Response(JSON.stringify({ code: arguments[0] }), { status: arguments[0] ? 400 : 200 });
        document.querySelector('section:not([hidden]) form').requestSubmit();
        return new Promise((resolve) => setTimeout(resolve, 50));";
    browser.execute(answer, vec![json!(code)]).await.unwrap();
}

/// Checks the page as it is shown now.
async fn check(browser: &Client, axe: &str, section: &str, name: &str) {
    let shown = browser.find(Locator::Css("section:not([hidden])")).await.unwrap().attr("id").await.unwrap();
    assert_eq!(shown.as_deref(), Some(section), "{name}");
    let fits = "return document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(browser.execute(fits, vec![]).await.unwrap(), json!(true), "{name}: it does not scroll sideways");
    browser.execute(axe, vec![]).await.unwrap();
    let run = "const [rules, done] = arguments;
        axe.run(document, { runOnly: rules }).then(({ violations, incomplete, passes }) => done({
            passes: passes.length,
            problems: [...violations, ...incomplete].map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]),
        }));";
    let result = browser.execute_async(run, vec![json!(RULES)]).await.unwrap();
    assert_eq!(result["problems"], json!([]), "{name}");
    assert!(result["passes"].as_u64() > Some(15), "{name}: {result}");
    if let Some(folder) = optional("TEST_SCREENSHOTS") {
        fs::write(Path::new(&folder).join(format!("{name}.png")), browser.screenshot().await.unwrap()).unwrap();
    }
}

/// Every width and color scheme, in every language.
fn views() -> impl Iterator<Item = (u32, &'static str, &'static str)> {
    let sizes = [(320, "light"), (320, "dark"), (1280, "light"), (1280, "dark")];
    sizes.into_iter().flat_map(|(width, scheme)| ["en", "de", "fr", "es"].map(|language| (width, scheme, language)))
}

async fn open(browser: &Client, stack: &Stack, page: &str, language: &str) {
    browser.goto(&format!("{}/{page}/token", stack.base_url)).await.unwrap();
    let html = browser.find(Locator::Css("html")).await.unwrap();
    assert_eq!(html.attr("lang").await.unwrap().as_deref(), Some(language));
}

// Requirement 63.
#[tokio::test]
async fn the_page_is_accessible_in_every_state_language_width_and_color_scheme() {
    let stack = Stack::builder().with("BRAND_NAME", "Example").start().await;
    let axe = fs::read_to_string(server("TEST_AXE")).unwrap();
    let browser = open_browser().await;
    for (width, scheme, language) in views() {
        let check = async |section: &str, state: &str| {
            check(&browser, &axe, section, &format!("{state}-{language}-{width}-{scheme}")).await;
        };
        emulate(&browser, language, width, scheme).await;
        open(&browser, &stack, "reset-password", language).await;
        check("reset", "form").await;
        submit_with_answer(&browser, Some("password_too_short")).await;
        check("reset", "refused").await;
        submit_with_answer(&browser, Some("invalid_or_expired_token")).await;
        check("expired", "expired").await;
        submit_with_answer(&browser, Some("too_many_attempts")).await;
        check("expired", "too-many").await;
        submit_with_answer(&browser, None).await;
        check("sent", "sent").await;

        browser.refresh().await.unwrap();
        submit_with_answer(&browser, None).await;
        check("done", "done").await;
    }
    browser.close().await.unwrap();
}

// Requirement 63.
#[tokio::test]
async fn the_pages_about_an_account_are_accessible_in_every_state_language_width_and_color_scheme() {
    let stack = Stack::builder().with("BRAND_NAME", "Example").start().await;
    let axe = fs::read_to_string(server("TEST_AXE")).unwrap();
    let browser = open_browser().await;
    for (width, scheme, language) in views() {
        emulate(&browser, language, width, scheme).await;
        for (page, refusal) in [
            ("verify-email", "invalid_credentials"),
            ("change-email", "too_many_attempts"),
            ("undo-email-change", "too_many_attempts"),
            ("undo-factor", "service_unavailable"),
            ("keep-account", "service_unavailable"),
        ] {
            let check = async |section: &str, state: &str| {
                check(&browser, &axe, section, &format!("{page}-{state}-{language}-{width}-{scheme}")).await;
            };
            open(&browser, &stack, page, language).await;
            check("form", "form").await;
            submit_with_answer(&browser, Some(refusal)).await;
            check("form", "refused").await;
            submit_with_answer(&browser, Some("invalid_or_expired_token")).await;
            check("expired", "expired").await;

            browser.refresh().await.unwrap();
            submit_with_answer(&browser, None).await;
            check("done", "done").await;
        }
    }
    browser.close().await.unwrap();
}

// Requirement 63.
#[tokio::test]
async fn the_page_loads_only_the_logo() {
    // Nothing listens on this port, so the page shows the name instead.
    let logo = "https://127.0.0.1:9/logo.png";
    let stack = Stack::builder().with("BRAND_LOGO_URL", logo).with("BRAND_NAME", "Example").start().await;
    let browser = open_browser().await;
    browser.goto(&format!("{}/reset-password/token", stack.base_url)).await.unwrap();
    assert_eq!(requests(&browser).await, [logo]);
    let image = browser.find(Locator::Css("header img")).await.unwrap();
    assert_eq!(image.attr("alt").await.unwrap().as_deref(), Some("Example"));
    browser.close().await.unwrap();
}
