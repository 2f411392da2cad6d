//! `POST /api/signup`.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tests::{Person, Stack};

// Requirement 17.
#[tokio::test]
async fn an_address_has_one_account_regardless_of_case() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    for email in [ada.email.clone(), ada.email.to_uppercase()] {
        let again = ada.with_email(&email).signs_up().await;
        again.assert_refused(400, "user_already_exists", "User already exists");
    }
    assert_eq!(stack.sql_text("SELECT email::text FROM users").await, ada.email, "the address is stored as given");
}

// Fault 9.
#[tokio::test]
async fn fifty_concurrent_sign_ups_with_one_address_create_one_account() {
    let stack = Stack::builder().processes(6).start().await;
    let ada = stack.stranger("Ada");
    let upper = ada.with_email(&ada.email.to_uppercase());
    let replies = join_all((0..50).map(|n| if n % 2 == 0 { &ada } else { &upper }).map(Person::signs_up)).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        reply.assert_refused(400, "user_already_exists", "User already exists");
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 1);
}

#[tokio::test]
async fn a_sign_up_without_a_field_is_refused() {
    let stack = Stack::start().await;
    let whole = json!({ "name": "Ada", "email": "ada@example.com", "password": "password123" });
    for field in ["name", "email", "password"] {
        for wrong in [json!(null), json!(""), json!(1), json!(["x"]), json!({})] {
            let mut body = whole.clone();
            body[field] = wrong;
            let reply = stack.post("/api/signup", &body).await;
            reply.assert_refused(400, "missing_required_fields", "Missing required fields");
        }
        let mut body = whole.clone();
        body.as_object_mut().unwrap().remove(field);
        stack.post("/api/signup", &body).await.assert_refused(
            400,
            "missing_required_fields",
            "Missing required fields",
        );
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 0);
}

#[tokio::test]
async fn a_refused_sign_up_names_the_broken_rule() {
    let stack = Stack::start().await;
    let (name, email, password) = ("Ada", "ada@example.com", "password123");
    let long = "a".repeat(101);
    let long_email = format!("{}@example.com", "a".repeat(250));
    let long_password = "a".repeat(129);
    for (name, email, password, code, message) in [
        (long.as_str(), email, password, "name_too_long", "Name must be at most 100 characters"),
        ("A\nda", email, password, "name_has_control_characters", "Name must not contain control characters"),
        (name, &long_email, password, "email_too_long", "Email must be at most 254 characters"),
        (
            name,
            "ada@example",
            password,
            "email_invalid",
            "Email must be an address such as kate@example.com, in ASCII and without spaces, quotes or comments",
        ),
        (name, email, "1234567", "password_too_short", "Password must be at least 8 characters"),
        (name, email, &long_password, "password_too_long", "Password must be at most 128 characters"),
        (name, email, "pass\0word", "password_has_nul", "Password must not contain the NUL character"),
    ] {
        let reply = stack.post("/api/signup", &json!({ "name": name, "email": email, "password": password })).await;
        reply.assert_refused(400, code, message);
    }
}

// Requirements 25, 27.
#[tokio::test]
async fn the_default_rules_refuse_short_common_and_personal_passwords() {
    let stack = Stack::builder().with("PASSWORD_MIN_LENGTH", "").with("PASSWORD_BLOCKLIST", "").start().await;
    let ada = stack.stranger("Ada Lovelace");
    for (password, code, message) in [
        ("password123", "password_too_short", "Password must be at least 15 characters"),
        ("passwordpassword", "password_too_common", "Password is too common"),
        (
            "my name is lovelace",
            "password_contains_account",
            "Password must not contain four or more characters in a row of your name or email address",
        ),
    ] {
        ada.with_password(password).signs_up().await.assert_refused(400, code, message);
    }
    ada.with_password("correct horse battery staple").signs_up().await.assert_created();
}

// Requirement 42.
#[tokio::test]
async fn unknown_fields_are_ignored() {
    let stack = Stack::start().await;
    let body = json!({
        "name": "Ada", "email": "ada@example.com", "password": "password123",
        "id": 99, "role": "admin", "credential_version": 9, "created_at": "2000-01-01",
    });
    stack.post("/api/signup", &body).await.assert_created();
    assert_eq!(stack.sql_number("SELECT id::bigint * 100 + credential_version FROM users").await, 101);
}

/// The languages of all accounts, oldest first.
async fn locales(stack: &Stack) -> String {
    stack.sql_text("SELECT string_agg(coalesce(locale, 'none'), ' ' ORDER BY id) FROM users").await
}

#[tokio::test]
async fn the_language_of_an_account_is_that_of_the_body_else_of_the_browser_else_the_default() {
    let stack = Stack::builder().with("DEFAULT_LOCALE", "fr").start().await;
    for (locale, header) in [
        (json!("es"), "de"),
        (json!("EN"), "de"),
        (json!(null), "de-AT, de;q=0.9, en;q=0.8"),
        (json!(""), "it, es;q=0.5"),
        (json!(null), "it"),
        (json!(7), ""),
    ] {
        let email = stack.stranger("Ada").email;
        let body = json!({ "name": "Ada", "email": email, "password": "password123", "locale": locale });
        let reply = stack
            .send(Method::POST, "/api/signup", |request| request.header("accept-language", header).json(&body))
            .await;
        reply.assert_created();
    }
    assert_eq!(locales(&stack).await, "es en de es fr fr");
}

#[tokio::test]
async fn a_sign_up_with_an_unknown_language_is_refused() {
    let stack = Stack::start().await;
    for locale in ["it", "de-AT", "de\u{0}", "english"] {
        let body = json!({ "name": "Ada", "email": "ada@example.com", "password": "password123", "locale": locale });
        let reply = stack.post("/api/signup", &body).await;
        reply.assert_refused(400, "invalid_locale", "Locale must be one of en, de, fr, es");
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 0);
}

// Requirement 13.
#[tokio::test]
async fn a_password_is_stored_as_an_argon2id_hash_with_a_salt_of_its_own() {
    let stack = Stack::start().await;
    stack.user("Ada").await;
    stack.user("Grace").await;
    let hashes = stack.sql_text("SELECT string_agg(password, ' ' ORDER BY id) FROM users").await;
    let (ada, grace) = hashes.split_once(' ').unwrap();
    for hash in [ada, grace] {
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }
    assert_ne!(ada.split('$').nth(4), grace.split('$').nth(4), "the salts");
}

// Requirement 25.
#[tokio::test]
async fn all_128_characters_of_a_password_count() {
    let stack = Stack::start().await;
    let password = |last: char| format!("{}{last}", "é".repeat(127));
    let ada = stack.stranger("Ada").with_password(&password('a'));
    ada.signs_up().await.assert_created();
    assert_eq!(ada.with_password(&password('b')).tries_to_sign_in().await.status, 401);
    ada.signs_in().await;
}
