//! Tests the pages that links in mails open in a real browser, Chromium. The tests of the page for a new password are in this file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accessibility;
mod account_story;
mod browser;
mod link_pages;
mod passkeys;

use fantoccini::{Client, Locator};
use serde_json::json;
use tests::{Person, Stack, server};

use self::browser::{open_browser, requests, wait_for_heading, wait_for_text};

/// The Enter key, as a `WebDriver` key code.
const ENTER: &str = "\u{e007}";

/// Opens the link of a person's reset mail in a browser.
async fn open_reset_page(person: &Person<'_>) -> Client {
    let browser = open_browser().await;
    let mail = person.receives_reset_mail(1).await;
    browser.goto(&mail.link()).await.expect("the page opens");
    browser
}

/// Switches to the second tab, which a click has opened.
async fn switch_to_opened_tab(browser: &Client) {
    let before = browser.window().await.unwrap();
    let opened = browser.windows().await.unwrap().into_iter().find(|tab| *tab != before);
    browser.switch_to_window(opened.expect("a second tab")).await.unwrap();
}

async fn submit(browser: &Client, password: &str) {
    let field = browser.find(Locator::Id("password")).await.unwrap();
    field.clear().await.unwrap();
    field.send_keys(password).await.unwrap();
    click_submit(browser).await;
}

async fn click_submit(browser: &Client) {
    browser.find(Locator::Id("submit")).await.unwrap().click().await.unwrap();
}

async fn attribute(browser: &Client, id: &str, name: &str) -> Option<String> {
    browser.find(Locator::Id(id)).await.unwrap().attr(name).await.unwrap()
}

// Requirement 63.
#[tokio::test]
async fn a_user_sets_a_new_password_in_a_browser() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let browser = open_reset_page(&ada).await;
    let token = ada.mails(1).await[0].token();
    assert_eq!(browser.title().await.unwrap(), "Choose a new password");

    submit(&browser, "chosen in a browser").await;
    wait_for_heading(&browser, "Your password has been reset").await;
    assert_eq!(browser.title().await.unwrap(), "Your password has been reset");
    assert!(!browser.find(Locator::Id("reset")).await.unwrap().is_displayed().await.unwrap());
    assert_eq!(requests(&browser).await, [format!("{}/api/reset-password/{token}", stack.base_url)]);
    ada.with_password("chosen in a browser").signs_in().await;
    browser.close().await.unwrap();
}

#[tokio::test]
async fn one_click_on_the_mail_page_leads_to_the_reset_page() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    ada.receives_reset_mail(1).await;
    let browser = open_browser().await;
    browser.goto(&server("TEST_SES_URL")).await.expect("the mail page opens");

    // Other tests use the same mail server, so the page shows their mails too.
    let link = format!("//article[contains(., '{}')]//a[contains(@href, '/reset-password/')]", ada.email);
    browser.wait().for_element(Locator::XPath(&link)).await.expect("the mail's link").click().await.unwrap();
    switch_to_opened_tab(&browser).await;
    browser.wait().for_element(Locator::Id("password")).await.expect("the reset page");
    submit(&browser, "chosen after one click").await;
    wait_for_heading(&browser, "Your password has been reset").await;
    ada.with_password("chosen after one click").signs_in().await;
    browser.close().await.unwrap();
}

#[tokio::test]
async fn the_link_in_the_html_version_of_the_mail_opens_the_reset_page() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    ada.receives_reset_mail(1).await;
    let browser = open_browser().await;
    browser.goto(&server("TEST_SES_URL")).await.expect("the mail page opens");

    let part = format!("//article[contains(., '{}')]/details", ada.email);
    browser.wait().for_element(Locator::XPath(&part)).await.expect("the HTML part").click().await.unwrap();
    let frame = browser.wait().for_element(Locator::XPath(&format!("{part}/iframe"))).await.expect("the frame");
    frame.enter_frame().await.unwrap();
    browser.find(Locator::Css("a")).await.unwrap().click().await.unwrap();
    switch_to_opened_tab(&browser).await;
    browser.wait().for_element(Locator::Id("password")).await.expect("the reset page");
    browser.close().await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_shown_beside_the_field_and_the_link_stays_valid() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let browser = open_reset_page(&ada).await;

    submit(&browser, "short").await;
    wait_for_text(&browser, "problem", "The password must have at least 8 characters.").await;
    assert_eq!(attribute(&browser, "password", "aria-invalid").await.as_deref(), Some("true"));
    let focused = browser.active_element().await.unwrap();
    assert_eq!(focused.attr("id").await.unwrap().as_deref(), Some("password"), "the field has the focus");
    submit(&browser, "").await;
    wait_for_text(&browser, "problem", "Please enter a new password.").await;

    submit(&browser, "long enough now").await;
    wait_for_heading(&browser, "Your password has been reset").await;
    browser.close().await.unwrap();
}

/// Pastes a password into the field and submits it. If the field had a `maxlength`, the browser would silently truncate pasted text.
async fn submit_pasted(browser: &Client, text: &str) {
    let paste = "const field = document.getElementById('password'); field.value = ''; field.focus();
        document.execCommand('insertText', false, arguments[0]);";
    browser.execute(paste, vec![json!(text)]).await.unwrap();
    click_submit(browser).await;
}

// Requirement 25.
#[tokio::test]
async fn a_pasted_password_is_sent_whole_however_long_it_is() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let browser = open_reset_page(&ada).await;
    submit_pasted(&browser, &"x".repeat(144)).await;
    wait_for_text(&browser, "problem", "The password must have at most 128 characters.").await;
    // 100 characters, 400 bytes in UTF-8.
    let emoji_password = "\u{1f511}".repeat(100);
    submit_pasted(&browser, &emoji_password).await;
    wait_for_heading(&browser, "Your password has been reset").await;
    ada.with_password(&emoji_password).signs_in().await;
    browser.close().await.unwrap();
}

#[tokio::test]
async fn the_page_offers_a_new_link_when_the_link_was_used() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let browser = open_reset_page(&ada).await;
    submit(&browser, "long enough now").await;
    wait_for_heading(&browser, "Your password has been reset").await;

    browser.refresh().await.unwrap();
    submit(&browser, "once more please").await;
    wait_for_heading(&browser, "This link no longer works").await;
    let email = browser.find(Locator::Id("email")).await.unwrap();
    email.send_keys(ENTER).await.unwrap();
    wait_for_text(&browser, "email-problem", "Please enter your email address.").await;
    email.send_keys(&format!("{}{ENTER}", ada.email)).await.unwrap();
    wait_for_heading(&browser, "Check your mailbox").await;
    let mails = ada.mails(3).await;
    let link = mails.iter().rfind(|mail| mail.subject == "Reset your password").unwrap();
    assert_eq!(ada.resets_password(&link.token(), "another password").await.status, 200);
    browser.close().await.unwrap();
}

#[tokio::test]
async fn the_page_works_with_a_keyboard_and_a_screen_reader() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let browser = open_reset_page(&ada).await;

    assert_eq!(browser.find(Locator::Css("html")).await.unwrap().attr("lang").await.unwrap().as_deref(), Some("en"));
    let label = browser.find(Locator::Css("label[for=password]")).await.unwrap();
    assert_eq!(label.text().await.unwrap(), "New password");
    assert_eq!(attribute(&browser, "password", "aria-describedby").await.as_deref(), Some("hint problem"));
    assert_eq!(attribute(&browser, "password", "autocomplete").await.as_deref(), Some("new-password"));
    assert_eq!(attribute(&browser, "problem", "role").await.as_deref(), Some("alert"));

    browser.find(Locator::Id("reveal")).await.unwrap().click().await.unwrap();
    assert_eq!(
        browser.find(Locator::Id("password")).await.unwrap().prop("type").await.unwrap().as_deref(),
        Some("text")
    );

    let field = browser.find(Locator::Id("password")).await.unwrap();
    field.send_keys(&format!("typed and entered{ENTER}")).await.unwrap();
    wait_for_heading(&browser, "Your password has been reset").await;
    browser.close().await.unwrap();
}

/// API Gateway's own answers have no `code`. The page must not take them for a success.
#[tokio::test]
async fn an_answer_of_the_gateway_itself_is_not_a_success() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let browser = open_reset_page(&ada).await;
    let gateway = "window.fetch = async () => new Response('{\"message\":\"Service Unavailable\"}', { status: 503 });";
    browser.execute(gateway, vec![]).await.unwrap();
    submit(&browser, "long enough now").await;
    wait_for_text(&browser, "problem", "That did not work. Please try again later.").await;
    browser.close().await.unwrap();
    ada.signs_in().await;
}

#[tokio::test]
async fn the_page_says_when_the_service_cannot_be_reached() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let browser = open_reset_page(&ada).await;
    browser.execute("window.fetch = () => Promise.reject(new TypeError('offline'));", vec![]).await.unwrap();
    submit(&browser, "long enough now").await;
    wait_for_text(
        &browser,
        "problem",
        "There was no answer. Your request may or may not have succeeded. Please try again.",
    )
    .await;
    browser.close().await.unwrap();
}

// Requirement 63.
#[tokio::test]
async fn the_content_security_policy_blocks_other_scripts_styles_and_requests() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let browser = open_reset_page(&ada).await;
    let script_that_reports_violation = |attempt: &str| {
        format!(
            "const [done] = arguments;
            document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective), {{ once: true }});
            {attempt}"
        )
    };
    for (attempt, directive) in [
        (
            "const s = document.createElement('script'); s.textContent = '1'; document.body.append(s);",
            "script-src-elem",
        ),
        (
            "const s = document.createElement('style'); s.textContent = 'p{}'; document.body.append(s);",
            "style-src-elem",
        ),
        ("fetch('http://127.0.0.1:9/').catch(() => {});", "connect-src"),
        ("document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/' }));", "img-src"),
    ] {
        assert_eq!(
            browser.execute_async(&script_that_reports_violation(attempt), vec![]).await.unwrap(),
            json!(directive),
            "{attempt}"
        );
    }
    browser.close().await.unwrap();
}
