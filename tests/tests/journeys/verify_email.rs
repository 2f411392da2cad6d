//! `/api/verify-email`: the code, the link, and the mail that contains both.

mod budget;
mod required;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use rstest::rstest;
use serde_json::json;
use tests::{
    Person, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    jwt::claims,
    mailbox::{self, Mail},
};

use crate::support::{assert_link_refused, get_example};

async fn stack_in(store: Store) -> Stack {
    Stack::builder().state_in(store).with_verification().processes(4).start().await
}

/// A new user with the mail of the sign-up.
async fn new_user<'a>(stack: &'a Stack, name: &str) -> (Person<'a>, Mail) {
    let person = stack.user(name).await;
    let mail = person.mails(1).await.remove(0);
    (person, mail)
}

async fn is_verified(person: &Person<'_>, tokens: &Tokens) -> bool {
    person.account(&tokens.access).await.json()["user"]["email_verified"].as_bool().unwrap()
}

#[track_caller]
fn assert_sent(reply: &Reply) {
    assert_eq!((reply.status, reply.json()), (202, json!({ "message": "Verification email sent" })));
}

#[track_caller]
fn assert_verified(reply: &Reply) {
    reply.assert_ok(&json!({ "message": "Email address verified" }));
}

#[track_caller]
fn assert_wrong_code(reply: &Reply) {
    reply.assert_refused(400, "invalid_code", "Invalid or expired code");
}

/// Another code of eight digits.
fn other_code(code: &str, step: u32) -> String {
    format!("{:08}", (code.parse::<u32>().unwrap() + step) % 100_000_000)
}

#[rstest]
#[tokio::test]
async fn the_code_of_the_sign_ups_mail_verifies_the_address(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    assert_eq!(mail.subject, "Verify your email address");
    assert!(mail.link().starts_with(&format!("{}/verify-email/", stack.base_url)), "{}", mail.text);
    let (tokens, other) = (ada.signs_in().await, ada.signs_in().await);
    assert!(!is_verified(&ada, &tokens).await);
    assert_eq!(claims(&tokens.access)["email_verified"], false);
    stack.sessions().move_auth_time_back(601).await;

    let reply = ada.verifies_by_code(&tokens.access, &mail.code()).await;
    let verified = Tokens::from(&reply);
    assert_eq!(reply.text_at("message"), "Email address verified");
    assert_eq!(verified.refresh, tokens.refresh, "the refresh token is not rotated");
    let claims_of = claims(&verified.access);
    assert_eq!((&claims_of["email_verified"], &claims_of["fresh"]), (&json!(true), &json!(false)));
    assert_eq!(claims_of["sid"], claims(&tokens.access)["sid"]);
    let age = claims(&tokens.access)["auth_time"].as_i64().unwrap() - claims_of["auth_time"].as_i64().unwrap();
    assert!((600..=602).contains(&age), "a code proves no password, so auth_time stays: {age}");
    assert!(is_verified(&ada, &verified).await);
    // The user's other session knows it too.
    let refreshed = Tokens::from(&ada.refreshes(&other.refresh).await);
    assert_eq!(claims(&refreshed.access)["email_verified"], true);

    assert_wrong_code(&ada.verifies_by_code(&verified.access, &mail.code()).await);
    assert_link_refused(&ada.verifies_by_link(&mail.token()).await);
    let logs = stack.logs();
    for event in ["email_verified", "verification_failed"] {
        assert_eq!(logs.matches(&format!("event=\"{event}\" user_id=1")).count(), 1, "{event}");
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM outbox").await, 0);
}

#[rstest]
#[tokio::test]
async fn the_link_and_the_password_verify_the_address(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let wrong = ada.with_password("wrong").verifies_by_link(&mail.token()).await;
    wrong.assert_refused(401, "invalid_credentials", "Invalid credentials");
    assert_eq!(wrong.header("www-authenticate"), None);
    ada.with_password("").verifies_by_link(&mail.token()).await.assert_refused(
        400,
        "missing_required_fields",
        "Missing required fields",
    );
    assert!(!is_verified(&ada, &tokens).await);
    assert_verified(&ada.verifies_by_link(&mail.token()).await);
    assert!(is_verified(&ada, &tokens).await);
    let refreshed = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(claims(&refreshed.access)["email_verified"], true);
    assert_link_refused(&ada.verifies_by_link(&mail.token()).await);
    assert_wrong_code(&ada.verifies_by_code(&tokens.access, &mail.code()).await);
    for token in ["x", &"A".repeat(43)] {
        assert_link_refused(&ada.verifies_by_link(token).await);
    }
    let signed_in = ada.signs_in().await;
    assert_eq!(claims(&signed_in.access)["email_verified"], true);
    assert_eq!(claims(&Tokens::from(&ada.reauthenticates(&signed_in.access).await).access)["email_verified"], true);
    let changed = Tokens::from(&ada.changes_password(&signed_in.access, "another password").await);
    assert_eq!(claims(&changed.access)["email_verified"], true);
}

// Requirement 20.
#[rstest]
#[tokio::test]
async fn wrong_passwords_at_a_link_count_as_failed_sign_ins(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let eve = ada.with_password("a guess");
    for _ in 0..3 {
        assert_eq!(eve.verifies_by_link(&mail.token()).await.status, 401);
    }
    for _ in 0..2 {
        assert_eq!(eve.tries_to_sign_in().await.status, 401);
    }
    for reply in [ada.verifies_by_link(&mail.token()).await, ada.tries_to_sign_in().await] {
        reply.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    }
    // A right password clears the failures, also at a link.
    let elsewhere = ada.from_source("192.0.2.10");
    for _ in 0..4 {
        assert_eq!(eve.from_source("192.0.2.10").tries_to_sign_in().await.status, 401);
    }
    assert_verified(&elsewhere.verifies_by_link(&mail.token()).await);
    for _ in 0..4 {
        assert_eq!(eve.from_source("192.0.2.10").tries_to_sign_in().await.status, 401);
    }
    elsewhere.signs_in().await;
    assert_eq!(stack.logs().matches("event=\"sign_in_failed\" user_id=1").count(), 13);
}

/// Eve signs up with Kate's address. Kate gets the mail, and opens the link.
// Requirement 48.
#[rstest]
#[tokio::test]
async fn nobody_verifies_a_strangers_account_by_mistake(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (eve, mail) = new_user(&stack, "Kate").await;
    let stolen = eve.signs_in().await;
    // Kate does not know Eve's password, and has no session of Eve's account in which she could enter the code.
    let kate = eve.with_password("Kate's own password");
    assert_eq!(kate.verifies_by_link(&mail.token()).await.status, 401);
    for method in [Method::GET, Method::HEAD] {
        let path = format!("/api/verify-email/{}", mail.token());
        assert_eq!(stack.send(method, &path, |request| request).await.status, 404);
    }
    let without_session = stack.post("/api/verify-email", &json!({ "code": mail.code() })).await;
    without_session.assert_refused(401, "missing_authorization", "Missing Authorization Header");
    let (bob, _) = new_user(&stack, "Bob").await;
    let of_bob = bob.signs_in().await;
    assert_wrong_code(&bob.verifies_by_code(&of_bob.access, &mail.code()).await);
    assert!(!is_verified(&eve, &stolen).await && !is_verified(&bob, &of_bob).await);

    // Kate takes the account over.
    assert_eq!(kate.forgets_password().await.status, 200);
    let reset = kate.mails(2).await.pop().unwrap();
    assert_eq!(kate.resets_password(&reset.token(), &kate.password).await.status, 200);
    eve.account(&stolen.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
    assert_eq!(eve.verifies_by_code(&stolen.access, &mail.code()).await.status, 401);
    assert_link_refused(&eve.verifies_by_link(&mail.token()).await);
    assert_eq!(eve.tries_to_sign_in().await.status, 401);
    let own = kate.signs_in().await;
    assert!(is_verified(&kate, &own).await, "a reset proves the mailbox");
}

// Requirement 50.
#[rstest]
#[tokio::test]
async fn a_code_allows_five_tries(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    // What cannot be a code is not a try.
    for malformed in ["1234567", "123456789", "12345678\0", "abcdefgh"] {
        assert_wrong_code(&ada.verifies_by_code(&tokens.access, malformed).await);
    }
    for step in 1..=5 {
        assert_wrong_code(&ada.verifies_by_code(&tokens.access, &other_code(&mail.code(), step)).await);
    }
    assert_wrong_code(&ada.verifies_by_code(&tokens.access, &mail.code()).await);
    // The link still works, and so does the code of another mail.
    assert_sent(&ada.requests_verification_mail(&tokens.access).await);
    let next = ada.mails(2).await.pop().unwrap();
    assert_wrong_code(&ada.verifies_by_code(&tokens.access, &mail.code()).await);
    assert_link_refused(&ada.verifies_by_link(&mail.token()).await);
    for step in 1..=3 {
        assert_wrong_code(&ada.verifies_by_code(&tokens.access, &other_code(&next.code(), step)).await);
    }
    assert_eq!(ada.verifies_by_code(&tokens.access, &next.code()).await.status, 200, "the fifth try");
}

// Requirement 50.
#[rstest]
#[tokio::test]
async fn of_fifty_codes_at_once_five_are_compared(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let tries = "SELECT code_tries::bigint FROM email_verifications";
    let guesses = (1..=50).map(|step| other_code(&mail.code(), step)).collect::<Vec<_>>();
    let replies = join_all(guesses.iter().map(|code| ada.verifies_by_code(&tokens.access, code))).await;
    replies.iter().for_each(assert_wrong_code);
    assert_eq!(stack.sql_number(tries).await, 5);
    assert_wrong_code(&ada.verifies_by_code(&tokens.access, &mail.code()).await);

    assert_sent(&ada.requests_verification_mail(&tokens.access).await);
    let code = ada.mails(2).await.pop().unwrap().code();
    let replies = join_all((0..50).map(|_| ada.verifies_by_code(&tokens.access, &code))).await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    replies.iter().filter(|reply| reply.status != 200).for_each(assert_wrong_code);
}

// Requirements 50, 51.
#[rstest]
#[tokio::test]
async fn codes_and_links_expire(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let lifetimes = "
        SELECT concat_ws(' ', extract(epoch FROM code_expires_at - created_at)::int, extract(epoch FROM expires_at - created_at)::int)
        FROM email_verifications";
    assert_eq!(stack.sql_text(lifetimes).await, "600 86400");
    stack.sql("UPDATE email_verifications SET code_expires_at = now()").await;
    assert_wrong_code(&ada.verifies_by_code(&tokens.access, &mail.code()).await);
    stack.sql("UPDATE email_verifications SET expires_at = now()").await;
    assert_link_refused(&ada.verifies_by_link(&mail.token()).await);
    assert_eq!(stack.sweep().await["links_deleted"], 1);
}

// Requirement 51.
#[rstest]
#[tokio::test]
async fn the_database_contains_neither_the_code_nor_the_token(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let dump = stack
        .sql_text("SELECT concat(v::text, (SELECT string_agg(o::text, ' ') FROM outbox o)) FROM email_verifications v")
        .await;
    let token = mail.token();
    assert!(!dump.contains(&mail.code()) && !dump.contains(&token), "{dump}");
    // A key is needed to compute the hash of a code.
    let unkeyed = format!("SELECT count(*) FROM email_verifications WHERE code_hash = sha256('{}')", mail.code());
    assert_eq!(stack.sql_number(&unkeyed).await, 0);
    assert_eq!(ada.verifies_by_code(&tokens.access, &mail.code()).await.status, 200);
    assert!(!stack.logs().contains(&mail.code()) && !stack.logs().contains(&token));
}

// Requirement 48.
#[rstest]
#[tokio::test]
async fn links_and_codes_are_void_after_a_change_of_the_password_or_the_address(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let tokens = Tokens::from(&ada.changes_password(&tokens.access, "another password").await);
    let ada = ada.with_password("another password");
    assert_wrong_code(&ada.verifies_by_code(&tokens.access, &mail.code()).await);
    assert_link_refused(&ada.verifies_by_link(&mail.token()).await);

    assert_sent(&ada.requests_verification_mail(&tokens.access).await);
    let next = ada.mails(3).await.pop().unwrap();
    stack.sql("UPDATE users SET email = 'x' || email").await;
    assert_wrong_code(&ada.verifies_by_code(&tokens.access, &next.code()).await);
    assert_link_refused(&ada.verifies_by_link(&next.token()).await);
    assert!(!is_verified(&ada, &tokens).await);
}

#[rstest]
#[tokio::test]
async fn only_the_access_token_of_a_live_session_may_try_a_code(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    ada.verifies_by_code(&tokens.refresh, &mail.code()).await.assert_refused(401, "invalid_token", "Invalid token");
    ada.verifies_by_code(&tokens.access, "").await.assert_refused(
        400,
        "missing_required_fields",
        "Missing required fields",
    );
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    // The token is checked before the body.
    for code in [mail.code(), "wrong".to_owned(), String::new()] {
        let reply = ada.verifies_by_code(&tokens.access, &code).await;
        reply.assert_refused(401, "token_revoked", "Token has been revoked");
    }
    let reply = ada.requests_verification_mail(&tokens.access).await;
    reply.assert_refused(401, "token_revoked", "Token has been revoked");
    assert_eq!(stack.sql_number("SELECT code_tries::bigint FROM email_verifications").await, 0);
    let tokens = ada.signs_in().await;
    stack.sql("DELETE FROM users").await;
    for reply in
        [ada.verifies_by_code(&tokens.access, &mail.code()).await, ada.requests_verification_mail(&tokens.access).await]
    {
        assert!(reply.status == 404 || store == DynamoDb, "{}", reply.text);
        assert!(reply.status >= 400, "{}", reply.text);
    }
}

#[rstest]
#[tokio::test]
async fn the_mail_is_in_the_language_of_the_account(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let ada = stack.stranger("Ada");
    let body = json!({ "name": ada.name, "email": ada.email, "password": ada.password, "locale": "de" });
    stack.post("/api/signup", &body).await.assert_created();
    assert!(ada.mails(1).await[0].html.contains("<html lang=\"de\">"));
    let tokens = ada.signs_in().await;
    assert_eq!(ada.changes_account(&tokens.access, json!({ "locale": "fr" })).await.status, 200);
    assert_sent(&ada.requests_verification_mail(&tokens.access).await);
    assert!(ada.mails(2).await[1].html.contains("<html lang=\"fr\">"));
}

#[tokio::test]
async fn a_mail_that_ses_refused_is_sent_later_with_a_new_code() {
    let stack = stack_in(PostgreSql).await;
    let ada = stack.stranger("Ada");
    ada.signs_up().await.assert_created();
    let first = ada.mails(1).await.remove(0);
    let tokens = ada.signs_in().await;
    // As if SES had not accepted the mail.
    stack
        .sql(&format!(
            "INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at)
             SELECT id, 'verification', gen_random_uuid(), '{}/verify-email', now(), now() + interval '1 day' FROM users",
            stack.base_url
        ))
        .await;
    assert_eq!(stack.sweep().await["mails_sent"], 1);
    let second = ada.mails(2).await.pop().unwrap();
    assert_wrong_code(&ada.verifies_by_code(&tokens.access, &first.code()).await);
    assert_eq!(ada.verifies_by_code(&tokens.access, &second.code()).await.status, 200);
}

/// A mail that waits in the outbox is obsolete when the address is verified. It does not make a used link valid again.
#[tokio::test]
async fn no_mail_is_sent_after_the_verification() {
    let stack = stack_in(PostgreSql).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    assert_eq!(ada.verifies_by_code(&tokens.access, &mail.code()).await.status, 200);
    stack
        .sql(
            "INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at)
             SELECT id, 'verification', gen_random_uuid(), 'https://example.com', now(), now() + interval '1 day' FROM users",
        )
        .await;
    let report = stack.sweep().await;
    assert_eq!((&report["mails_sent"], &report["mails_void"]), (&json!(0), &json!(1)), "{report}");
    assert_sent(&ada.requests_verification_mail(&tokens.access).await);
    assert_eq!(mailbox::mails_to(&ada.email).await.len(), 1);
    stack.sql("UPDATE email_verifications SET expires_at = expires_at - interval '1 minute'").await;
    assert_eq!(stack.sweep().await["links_deleted"], 1, "the used row is deleted");
}

/// A verification and a reset or a change of the password at the same time. The older session never survives.
#[rstest]
#[tokio::test]
async fn a_verification_and_a_reset_at_the_same_time(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack =
        Stack::builder().state_in(store).with_verification().with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let mut statuses = BTreeSet::new();
    for round in 0..20 {
        let ada = stack.stranger("Ada").from_source(&format!("192.0.2.{round}"));
        ada.signs_up().await.assert_created();
        let mail = ada.mails(1).await.remove(0);
        let tokens = ada.signs_in().await;
        let reset = ada.receives_reset_mail(2).await.token();
        let (code, token) = (mail.code(), mail.token());
        let (by_code, by_link, reset) = tokio::join!(
            ada.verifies_by_code(&tokens.access, &code),
            ada.verifies_by_link(&token),
            ada.resets_password(&reset, "another password"),
        );
        assert_eq!(reset.status, 200, "{}", reset.text);
        let successes = [&by_code, &by_link].iter().filter(|reply| reply.status == 200).count();
        assert!(successes <= 1, "{} {}", by_code.text, by_link.text);
        assert!([200, 400, 401].contains(&by_code.status) && [200, 400, 401].contains(&by_link.status));
        statuses.insert((by_code.status, by_link.status));
        assert_eq!(ada.account(&tokens.access).await.status, 401, "the reset has ended the session");
        let own = ada.with_password("another password").signs_in().await;
        assert!(is_verified(&ada, &own).await);
    }
    assert!(!statuses.is_empty());
}

/// DynamoDB fails after PostgreSQL has recorded the verification. Then the sessions learn it from a request for another mail.
#[tokio::test]
async fn sessions_in_dynamodb_learn_of_a_verification_that_was_interrupted() {
    let stack = stack_in(DynamoDb).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    stack.sql("UPDATE users SET email_verified_at = now()").await;
    let refreshed = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(claims(&refreshed.access)["email_verified"], false);
    assert_sent(&ada.requests_verification_mail(&tokens.access).await);
    let refreshed = Tokens::from(&ada.refreshes(&refreshed.refresh).await);
    assert_eq!(claims(&refreshed.access)["email_verified"], true);
    assert_eq!(mailbox::mails_to(&ada.email).await.len(), 1, "{}", mail.text);
}

#[rstest]
#[tokio::test]
async fn the_authorizer_passes_on_whether_the_address_is_verified(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let event = json!({
        "version": "2.0", "type": "REQUEST", "headers": { "authorization": format!("Bearer {}", tokens.access) },
        "requestContext": { "http": { "method": "GET", "sourceIp": "203.0.113.7" } },
    });
    for verified in [false, true] {
        if verified {
            assert_verified(&ada.verifies_by_link(&mail.token()).await);
        }
        let decision = stack.invoke("authorizer", &event).await.unwrap();
        assert_eq!(decision["context"]["email_verified"], verified, "{decision}");
    }
    assert_eq!(get_example(&stack, &tokens.access).await.status, 200);
}
