use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tests::{Stack, mailbox};

const EXPIRED: (u16, &str, &str) = (400, "invalid_or_expired_token", "Invalid or expired token");

#[tokio::test]
async fn a_reset_mail_has_a_link_in_a_text_and_an_html_part() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let mail = ada.receives_reset_mail(1).await;
    assert_eq!((mail.subject.as_str(), mail.from.as_str()), ("Reset your password", "no-reply@example.com"));
    assert!(mail.link().starts_with(&format!("{}/reset-password/", stack.base_url)));
    assert!(mail.html.contains(&format!("href=\"{}\"", mail.link())));
    assert_eq!(mail.reset_token().len(), 43, "256 bits");
}

// Requirement 30.
#[tokio::test]
async fn without_a_configured_page_the_link_leads_to_the_api_and_no_header_has_a_say() {
    let stack = Stack::builder().with("RESET_PASSWORD_URL", "").start().await;
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

// Requirement 15.
#[tokio::test]
async fn known_and_unknown_addresses_get_the_same_answer_after_the_same_time() {
    let stack = Stack::builder().with("FORGOT_PASSWORD_FLOOR_MS", "").start().await;
    let (ada, nobody) = (stack.user("Ada").await, stack.stranger("Nobody"));
    let mut replies = Vec::new();
    for person in [&ada, &nobody, &ada.with_email("not an address"), &ada.with_email("a\0b")] {
        let mut reply = person.forgets_password().await;
        assert!(reply.took >= Duration::from_secs(1), "the floor");
        reply.assert_ok(&json!({ "message": "Password reset email sent" }));
        reply.headers.remove("date");
        replies.push((reply.text, reply.headers));
    }
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    assert!(mailbox::mails_to(&nobody.email).await.is_empty());
}

// Requirement 15.
#[tokio::test]
async fn the_mail_service_being_away_does_not_show() {
    let stack = Stack::builder().with("AWS_ENDPOINT_URL_SES", "http://127.0.0.1:9").start().await;
    let ada = stack.user("Ada").await;
    let reply = ada.forgets_password().await;
    reply.assert_ok(&json!({ "message": "Password reset email sent" }));
    assert!(reply.took >= Duration::from_millis(500));
    assert!(stack.log_of("forgot-password").contains("a mail was not sent and stays in the outbox"));
}

#[tokio::test]
async fn an_endpoint_left_empty_is_no_defect() {
    let stack =
        Stack::builder().with("AWS_ENDPOINT_URL_SES", "").with("AWS_ENDPOINT_URL", &tests::server("TEST_SES_URL"));
    let stack = stack.start().await;
    let ada = stack.user("Ada").await;
    assert_eq!(ada.receives_reset_mail(1).await.subject, "Reset your password");
}

// Requirement 15.
#[tokio::test]
async fn a_mail_service_that_hangs_does_not_show() {
    // Accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let stack = Stack::builder().with("AWS_ENDPOINT_URL_SES", &url).start().await;
    let (ada, nobody) = (stack.user("Ada").await, stack.stranger("Nobody"));
    nobody.forgets_password().await; // starts the process
    for person in [&ada, &nobody] {
        let reply = person.forgets_password().await;
        reply.assert_ok(&json!({ "message": "Password reset email sent" }));
        let took = reply.took;
        assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(1500), "{took:?}");
    }
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

// Requirements 6, 31.
#[tokio::test]
async fn a_reset_ends_every_session_signs_nobody_in_and_is_told_by_mail() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let (phone, laptop) = (ada.signs_in().await, ada.signs_in().await);
    let mail = ada.receives_reset_mail(1).await;
    let reply = ada.resets_password(&mail.reset_token(), "another password").await;
    reply.assert_ok(&json!({ "message": "Password reset successful" }));
    for tokens in [phone, laptop] {
        ada.dashboard(&tokens.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
        assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
    }
    assert_eq!(ada.tries_to_sign_in().await.status, 401);
    ada.with_password("another password").signs_in().await;
    let notice = ada.mails(2).await.pop().unwrap();
    assert_eq!(notice.subject, "Your password was changed");
    assert!(!notice.text.contains("http"), "nothing to click");
}

// Fault 8.
// Requirement 11.
#[tokio::test]
async fn a_reset_token_works_once_even_if_fifty_try_at_once() {
    let stack = Stack::builder().processes(6).start().await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.reset_token();
    let passwords: Vec<_> = (0..50).map(|n| format!("new password {n}")).collect();
    let replies = join_all(passwords.iter().map(|password| ada.resets_password(&token, password))).await;
    let winners: Vec<_> = replies.iter().zip(&passwords).filter(|(reply, _)| reply.status == 200).collect();
    assert_eq!(winners.len(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        reply.assert_refused(EXPIRED.0, EXPIRED.1, EXPIRED.2);
    }
    ada.with_password(winners[0].1).signs_in().await;
}

// Requirement 29.
#[tokio::test]
async fn a_newer_mail_or_a_reset_voids_the_older_link() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let older = ada.receives_reset_mail(1).await.reset_token();
    let newer = ada.receives_reset_mail(2).await.reset_token();
    ada.resets_password(&older, "another password").await.assert_refused(EXPIRED.0, EXPIRED.1, EXPIRED.2);
    assert_eq!(ada.resets_password(&newer, "another password").await.status, 200);
    ada.resets_password(&newer, "yet another one").await.assert_refused(EXPIRED.0, EXPIRED.1, EXPIRED.2);
}

// Requirement 29.
#[tokio::test]
async fn of_two_links_used_at_once_the_newer_serves_and_the_older_never() {
    let stack = Stack::builder().processes(4).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let race = async || {
        let ada = stack.user("Ada").await;
        let older = ada.receives_reset_mail(1).await.reset_token();
        let newer = ada.receives_reset_mail(2).await.reset_token();
        let (refused, served) =
            tokio::join!(ada.resets_password(&older, "the older one"), ada.resets_password(&newer, "the newer one"));
        refused.assert_refused(EXPIRED.0, EXPIRED.1, EXPIRED.2);
        assert_eq!(served.status, 200);
        ada.with_password("the newer one").signs_in().await;
    };
    join_all((0..20).map(|_| race())).await;
}

// Requirement 29.
#[tokio::test]
async fn a_link_used_while_a_newer_one_is_asked_for_serves_before_it_or_not_at_all() {
    let stack = Stack::builder().processes(4).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let mut took = Duration::ZERO;
    for n in 0..15 {
        let ada = stack.user("Ada").await;
        let older = ada.receives_reset_mail(1).await.reset_token();
        // A password is hashed before its link is used up: of two requests sent at once, the newer link's would always be the first.
        let forgets = async {
            tokio::time::sleep(took * n / 10).await;
            ada.forgets_password().await
        };
        let (reset, forgot) = tokio::join!(ada.resets_password(&older, "the older one"), forgets);
        assert_eq!(forgot.status, 200);
        took = took.max(reset.took);
        let mails = ada.mails(if reset.status == 200 { 3 } else { 2 }).await;
        let newer = mails.iter().rfind(|mail| mail.subject == "Reset your password").unwrap().reset_token();
        ada.resets_password(&older, "the older one").await.assert_refused(EXPIRED.0, EXPIRED.1, EXPIRED.2);
        assert_eq!(ada.resets_password(&newer, "the newer one").await.status, 200);
        ada.with_password("the newer one").signs_in().await;
    }
}

#[tokio::test]
async fn a_link_is_good_for_an_hour() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.reset_token();
    let left =
        stack.sql_number("SELECT extract(epoch FROM expires_at - created_at)::bigint FROM password_resets").await;
    assert_eq!(left, 3600);
    stack.sql("UPDATE password_resets SET expires_at = now() - interval '1 second'").await;
    ada.resets_password(&token, "another password").await.assert_refused(EXPIRED.0, EXPIRED.1, EXPIRED.2);
}

// Requirement 28.
#[tokio::test]
async fn nothing_but_a_reset_uses_a_link_up() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let mail = ada.receives_reset_mail(1).await;
    let path = mail.link().replace(&stack.base_url, "");
    for _ in 0..3 {
        assert_eq!(stack.get(&path).await.status, 200);
    }
    let token = mail.reset_token();
    ada.resets_password(&token, "short").await.assert_refused(
        400,
        "password_too_short",
        "Password must be at least 8 characters",
    );
    for body in [json!({}), json!({ "password": "" }), json!({ "password": 12_345_678 })] {
        let reply = stack.post(&format!("/api/reset-password/{token}"), &body).await;
        reply.assert_refused(400, "new_password_required", "New password is required");
    }
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
}

// Requirements 27, 28.
#[tokio::test]
async fn a_reset_asks_of_a_password_what_a_sign_up_asks() {
    let stack = Stack::builder().with("PASSWORD_MIN_LENGTH", "").with("PASSWORD_BLOCKLIST", "").start().await;
    let ada = stack.stranger("Ada").with_password("purple monkey dishwasher");
    ada.signs_up().await.assert_created();
    let token = ada.receives_reset_mail(1).await.reset_token();
    let own = format!("staple {} battery", &ada.email[..8]);
    for (password, code) in [
        ("fourteen chars", "password_too_short"),
        (&*"long ".repeat(26), "password_too_long"),
        ("a password with a \0", "password_has_nul"),
        ("qwertyuiopasdfghjklzxcvbnm", "password_too_common"),
        (&own, "password_contains_account"),
    ] {
        let reply = ada.resets_password(&token, password).await;
        assert_eq!((reply.status, reply.text_at("code")), (400, code.to_owned()), "{password}");
    }
    assert_eq!(ada.resets_password(&token, "correct horse battery staple").await.status, 200);
}

// Requirement 46.
#[tokio::test]
async fn nothing_that_whoever_signs_up_can_choose_gets_into_a_mail() {
    let stack = Stack::start().await;
    let name = "<b>Ada</b> Bcc: eve@example.com <a href=https://evil.example>";
    let mut ada = stack.stranger("Ada");
    for header in ["Ada\r\nBcc: eve@example.com", "Ada\n", "Ada\u{2028}\u{0}"] {
        ada.name = header.to_owned();
        assert_eq!(ada.signs_up().await.status, 400);
    }
    ada.name = name.to_owned();
    ada.signs_up().await.assert_created();
    let token = ada.receives_reset_mail(1).await.reset_token();
    ada.resets_password(&token, "another password").await;
    for mail in ada.mails(2).await {
        for part in [&mail.subject, &mail.text, &mail.html] {
            assert!(!part.contains("Ada") && !part.contains("evil") && !part.contains("eve@"), "{part}");
        }
    }
}

#[tokio::test]
async fn what_is_no_token_resets_nothing() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.reset_token();
    let other_case: String =
        token.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect();
    for wrong in ["x", "null", "%00", "..%2f", &other_case, &format!("{token}="), &token[1..], &"A".repeat(43)] {
        ada.resets_password(wrong, "another password").await.assert_refused(EXPIRED.0, EXPIRED.1, EXPIRED.2);
    }
}

// Fault 11.
// Requirement 6.
#[tokio::test]
async fn a_sign_in_with_the_old_password_that_races_a_reset_leaves_no_live_session() {
    let stack = Stack::builder().processes(4).start().await;
    for _ in 0..10 {
        let ada = stack.user("Ada").await;
        let token = ada.receives_reset_mail(1).await.reset_token();
        let (signed_in, reset) = tokio::join!(ada.tries_to_sign_in(), ada.resets_password(&token, "another password"));
        assert_eq!(reset.status, 200);
        if signed_in.status == 200 {
            let reply = ada.dashboard(&signed_in.text_at("access_token")).await;
            reply.assert_refused(401, "token_revoked", "Token has been revoked");
        }
    }
}
