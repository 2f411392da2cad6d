//! The pages that verify, change and restore an address, remove an authenticator, and keep an account.

use std::time::Duration;

use fantoccini::{Client, Locator};
use serde_json::json;
use tests::Stack;

use crate::{
    attribute,
    browser::{open_browser, requests, wait_for_heading, wait_for_text},
    click_submit, submit,
};

const PAGES: [&str; 5] = ["verify-email", "change-email", "undo-email-change", "undo-factor", "keep-account"];

async fn open(browser: &Client, stack: &Stack, page: &str) {
    browser.goto(&format!("{}/{page}/token", stack.base_url)).await.expect("the page opens");
}

async fn id_of_focused(browser: &Client) -> Option<String> {
    browser.active_element().await.unwrap().attr("id").await.unwrap()
}

/// The page gets this answer from the API from now on. `posted` on the page's window is what it sends.
async fn answer_with(browser: &Client, status: u16, body: serde_json::Value) {
    let answer = "const [status, body] = arguments;
        window.fetch = async (url, { method, body: sent }) => {
            window.posted = [method, url.href, JSON.parse(sent)];
            return new Response(JSON.stringify(body), { status });
        };";
    browser.execute(answer, vec![json!(status), body]).await.unwrap();
}

async fn posted(browser: &Client) -> serde_json::Value {
    browser.execute("return window.posted", vec![]).await.unwrap()
}

// Requirement 63.
#[tokio::test]
async fn opening_a_page_ten_times_posts_nothing() {
    let stack = Stack::start().await;
    let browser = open_browser().await;
    for page in PAGES {
        for _ in 0..10 {
            open(&browser, &stack, page).await;
            browser.find(Locator::Id("submit")).await.expect("a button");
            assert_eq!(requests(&browser).await, [""; 0], "{page}");
        }
    }
    browser.close().await.unwrap();
}

// Requirement 63.
#[tokio::test]
async fn the_button_of_a_page_sends_one_request_to_the_api() {
    let stack = Stack::start().await;
    let browser = open_browser().await;
    for page in PAGES {
        open(&browser, &stack, page).await;
        click_submit(&browser).await;
        let expected = [format!("{}/api/{page}/token", stack.base_url)];
        for _ in 0..100 {
            if requests(&browser).await == expected {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(requests(&browser).await, expected);
    }
    browser.close().await.unwrap();
}

#[tokio::test]
async fn a_page_posts_the_password_and_says_that_it_is_done() {
    let stack = Stack::start().await;
    let browser = open_browser().await;
    for (page, done) in [("verify-email", "Your address is verified"), ("change-email", "Your new address is in use")] {
        open(&browser, &stack, page).await;
        answer_with(&browser, 200, json!({ "message": "" })).await;
        submit(&browser, "the account's password").await;
        wait_for_heading(&browser, done).await;
        let url = format!("{}/api/{page}/token", stack.base_url);
        assert_eq!(posted(&browser).await, json!(["POST", url, { "password": "the account's password" }]));
        assert_eq!(browser.title().await.unwrap(), done);
    }
    browser.close().await.unwrap();
}

#[tokio::test]
async fn a_page_without_a_field_posts_and_says_that_it_is_done() {
    let stack = Stack::start().await;
    let browser = open_browser().await;
    for (page, done) in [
        ("undo-email-change", "Your address is restored"),
        ("undo-factor", "The second factor is removed"),
        ("keep-account", "Your account is kept"),
    ] {
        open(&browser, &stack, page).await;
        answer_with(&browser, 200, json!({ "message": "" })).await;
        click_submit(&browser).await;
        wait_for_heading(&browser, done).await;
        assert_eq!(posted(&browser).await, json!(["POST", format!("{}/api/{page}/token", stack.base_url), {}]));
    }
    browser.close().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_the_field() {
    let stack = Stack::start().await;
    let browser = open_browser().await;
    for page in ["verify-email", "change-email"] {
        open(&browser, &stack, page).await;
        assert_eq!(id_of_focused(&browser).await.as_deref(), Some("password"));
        assert_eq!(attribute(&browser, "password", "autocomplete").await.as_deref(), Some("current-password"));
        for (status, code, text) in [
            (400, "missing_required_fields", "Please enter the password."),
            (401, "invalid_credentials", "The password is wrong."),
            (429, "too_many_attempts", "Too many attempts. Please try again later."),
        ] {
            answer_with(&browser, status, json!({ "code": code })).await;
            submit(&browser, "not the password").await;
            wait_for_text(&browser, "problem", text).await;
            assert_eq!(attribute(&browser, "password", "aria-invalid").await.as_deref(), Some("true"));
            assert_eq!(id_of_focused(&browser).await.as_deref(), Some("password"));
        }
    }
    browser.close().await.unwrap();
}

/// API Gateway's own answers have no code. The button, which was disabled during the request, has the focus again.
#[tokio::test]
async fn a_page_without_a_field_says_that_it_failed() {
    let stack = Stack::start().await;
    let browser = open_browser().await;
    for page in ["undo-email-change", "undo-factor", "keep-account"] {
        open(&browser, &stack, page).await;
        answer_with(&browser, 404, json!({ "message": "Not Found" })).await;
        click_submit(&browser).await;
        wait_for_text(&browser, "problem", "That did not work. Please try again later.").await;
        assert_eq!(attribute(&browser, "problem", "role").await.as_deref(), Some("alert"));
        assert_eq!(id_of_focused(&browser).await.as_deref(), Some("submit"));
    }
    browser.close().await.unwrap();
}

#[tokio::test]
async fn a_page_says_what_to_do_when_the_link_no_longer_works() {
    let stack = Stack::start().await;
    let browser = open_browser().await;
    for page in PAGES {
        open(&browser, &stack, page).await;
        answer_with(&browser, 400, json!({ "code": "invalid_or_expired_token" })).await;
        click_submit(&browser).await;
        wait_for_heading(&browser, "This link no longer works").await;
        let text = browser.find(Locator::Css("#expired p")).await.unwrap().text().await.unwrap();
        assert!(text.contains("only once"), "{page}: {text}");
    }
    browser.close().await.unwrap();
}
