//! The browser, and what tests read from it.

use std::time::Duration;

use fantoccini::{
    Client, ClientBuilder, Locator,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tests::server;

/// Opens a browser whose user reads English.
pub async fn open_browser() -> Client {
    open_browser_in("en").await
}

/// Opens a browser that sends this language as `Accept-Language`.
pub async fn open_browser_in(language: &str) -> Client {
    // Chromium's sandbox does not run as root, and containers often run tests as root. The sandbox is not needed, because the
    // page is our own.
    let capabilities: Capabilities = serde_json::from_value(json!({
        "goog:chromeOptions": {
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
                format!("--accept-lang={language}"),
            ],
        },
        "goog:loggingPrefs": { "browser": "ALL" },
    }))
    .unwrap();
    let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
    builder.capabilities(capabilities).connect(&server("TEST_WEBDRIVER_URL")).await.expect("a browser")
}

/// Waits until an element shows this text.
pub async fn wait_for_text(browser: &Client, id: &str, text: &str) {
    wait_for(browser, Locator::Id(id), text).await;
}

/// Waits until the heading of the shown section is this text.
pub async fn wait_for_heading(browser: &Client, text: &str) {
    wait_for(browser, Locator::Css("section:not([hidden]) h1"), text).await;
}

async fn wait_for(browser: &Client, element: Locator<'_>, text: &str) {
    let mut shown = String::new();
    for _ in 0..100 {
        shown = browser.find(element).await.unwrap().text().await.unwrap();
        if shown == text {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{element:?} shows {shown:?}, not {text:?}");
}

/// The URLs that the page has loaded or sent requests to.
pub async fn requests(browser: &Client) -> Vec<String> {
    let names = "return performance.getEntriesByType('resource').map((entry) => entry.name)";
    serde_json::from_value(browser.execute(names, vec![]).await.unwrap()).unwrap()
}

/// Sends a command of the protocol of Chromium's developer tools, and returns its result.
pub async fn devtools(browser: &Client, method: &'static str, params: Value) -> Value {
    browser.issue_cmd(DevTools { method, params }).await.unwrap()
}

#[derive(Debug)]
struct DevTools {
    method: &'static str,
    params: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "cmd": self.method, "params": self.params }).to_string()))
    }
}
