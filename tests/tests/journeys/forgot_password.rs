//! `POST /api/forgot-password` and the mail it sends.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
    mailbox,
};

#[tokio::test]
async fn a_reset_mail_has_a_link_in_a_text_and_an_html_part() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let mail = ada.receives_reset_mail(1).await;
    assert_eq!((mail.subject.as_str(), mail.from.as_str()), ("Reset your password", "no-reply@example.com"));
    assert!(mail.link().starts_with(&format!("{}/reset-password/", stack.base_url)));
    assert!(mail.html.contains(&format!("href=\"{}\"", mail.link())));
    assert_eq!(mail.token().len(), 43, "256 bits");
}

// Requirement 30.
#[tokio::test]
async fn without_a_configured_page_the_link_points_to_the_api_whatever_the_headers_say() {
    let stack = Stack::builder().with("LINKS_URL", "").start().await;
    let ada = stack.user("Ada").await;
    let forgot = stack.send(reqwest::Method::POST, "/api/forgot-password", |request| {
        request
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("forwarded", "host=evil.example")
            .json(&json!({ "email": ada.email }))
    });
    assert_eq!(forgot.await.status, 200);
    assert!(ada.mails(1).await[0].link().starts_with("https://api.example.com/reset-password/"));
}

/// The undo of a factor or of a change of the address ends with a reset link for the new credentials. A request that has read the earlier credentials must
/// not replace this link by one that is void.
#[tokio::test]
async fn a_request_does_not_replace_a_link_that_an_undo_makes_meanwhile() {
    let stack = Stack::builder().isolation("read committed").with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let ada = stack.user("Ada").await;
    let link = ada.receives_reset_mail(1).await.token();
    let undo = "UPDATE users SET credential_version = 2; UPDATE password_resets SET credential_version = 2";
    let reply = stack.answer_during(undo, ada.forgets_password()).await;
    assert_eq!(reply.status, 200);
    stack.send_owed_mails().await;
    assert_eq!(mailbox::mails_to(&ada.email).await.len(), 1);
    assert_eq!(ada.resets_password(&link, "another password").await.status, 200);
}

// Requirement 15.
#[tokio::test]
async fn known_and_unknown_addresses_get_the_same_answer_after_the_same_time() {
    let stack = Stack::builder().with("FORGOT_PASSWORD_FLOOR_MS", "").start().await;
    let (ada, nobody) = (stack.user("Ada").await, stack.stranger("Nobody"));
    let mut replies = Vec::new();
    for person in [&ada, &nobody, &ada.with_email("not an address"), &ada.with_email("a\0b")] {
        let mut reply = person.forgets_password().await;
        assert!(reply.took >= Duration::from_secs(1), "the minimum duration");
        reply.assert_ok(&json!({ "message": "Password reset email sent" }));
        reply.headers.remove("date");
        replies.push((reply.text, reply.headers));
    }
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    assert!(mailbox::mails_to(&nobody.email).await.is_empty());
}

// Requirement 15.
#[tokio::test]
async fn the_answer_does_not_reveal_that_ses_is_down() {
    let stack = Stack::builder().with("AWS_ENDPOINT_URL_SES", "http://127.0.0.1:9").start().await;
    let ada = stack.user("Ada").await;
    let reply = ada.forgets_password().await;
    reply.assert_ok(&json!({ "message": "Password reset email sent" }));
    assert!(reply.took >= Duration::from_millis(500));
    assert!(stack.log_of("forgot-password").contains("a mail was not sent and stays in the outbox"));
}

// Requirement 15.
#[tokio::test]
async fn the_answer_does_not_reveal_that_ses_hangs() {
    // This listener accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let stack = Stack::builder().with("AWS_ENDPOINT_URL_SES", &url).start().await;
    let (ada, nobody) = (stack.user("Ada").await, stack.stranger("Nobody"));
    nobody.forgets_password().await; // The first request starts the process and takes longer.
    for person in [&ada, &nobody] {
        let reply = person.forgets_password().await;
        reply.assert_ok(&json!({ "message": "Password reset email sent" }));
        let took = reply.took;
        assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(1500), "{took:?}");
    }
}

#[tokio::test]
async fn an_empty_ses_endpoint_counts_as_unset() {
    let stack =
        Stack::builder().with("AWS_ENDPOINT_URL_SES", "").with("AWS_ENDPOINT_URL", &tests::server("TEST_SES_URL"));
    let stack = stack.start().await;
    let ada = stack.user("Ada").await;
    assert_eq!(ada.receives_reset_mail(1).await.subject, "Reset your password");
}

#[tokio::test]
async fn forgot_password_needs_an_address() {
    let stack = Stack::start().await;
    for body in [json!({}), json!({ "email": "" }), json!({ "email": null }), json!({ "email": ["a@b.c"] })] {
        stack.post("/api/forgot-password", &body).await.assert_refused(400, "email_required", "Email is required");
    }
}

// Requirement 30.
#[tokio::test]
async fn the_mail_goes_to_the_stored_address() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    assert_eq!(ada.with_email(&ada.email.to_uppercase()).forgets_password().await.status, 200);
    assert_eq!(ada.mails(1).await.len(), 1);
}

// Requirement 46.
#[tokio::test]
async fn mails_contain_no_text_chosen_at_sign_up() {
    let stack = Stack::start().await;
    let name = "<b>Ada</b> Bcc: eve@example.com <a href=https://evil.example>";
    let mut ada = stack.stranger("Ada");
    for header in ["Ada\r\nBcc: eve@example.com", "Ada\n", "Ada\u{2028}\u{0}"] {
        ada.name = header.to_owned();
        assert_eq!(ada.signs_up().await.status, 400);
    }
    ada.name = name.to_owned();
    ada.signs_up().await.assert_created();
    let token = ada.receives_reset_mail(1).await.token();
    ada.resets_password(&token, "another password").await;
    for mail in ada.mails(2).await {
        for part in [&mail.subject, &mail.text, &mail.html] {
            assert!(!part.contains("Ada") && !part.contains("evil") && !part.contains("eve@"), "{part}");
        }
    }
}

// Requirement 56.
#[rstest]
#[tokio::test]
async fn a_deleted_account_gets_the_link_that_keeps_it_again_within_the_same_limits(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
    let mut link = String::new();
    for count in [2, 3, 4, 4] {
        let reply = ada.forgets_password().await;
        reply.assert_ok(&json!({ "message": "Password reset email sent" }));
        assert!(reply.took >= Duration::from_secs(1), "{:?}", reply.took);
        let mail = ada.mails(count).await.pop().unwrap();
        assert_eq!(mail.subject, "Your account will be erased");
        link = mail.token();
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM password_resets").await, 0);
    assert_eq!(ada.resets_password(&link, "another password").await.status, 400, "it is no reset link");
    assert_eq!(ada.keeps_account(&link).await.status, 200);
    ada.signs_in().await;
}

#[tokio::test]
async fn no_mail_is_sent_once_an_account_may_be_erased() {
    let stack = Stack::builder().with("ACCOUNT_ERASE_AFTER", "0").start().await;
    let ada = stack.user("Ada").await;
    ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
    assert_eq!(ada.forgets_password().await.status, 200);
    assert_eq!(ada.mails(1).await.len(), 1);
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0);
}
