use serde_json::json;
use tests::Stack;

// Requirement 16.
#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let wrong = ada.with_password("not the password").tries_to_sign_in().await;
    let unknown = stack.stranger("Nobody").tries_to_sign_in().await;
    wrong.assert_refused(401, "invalid_credentials", "Invalid credentials");
    assert_eq!(wrong.text, unknown.text);
    let without_date = |reply: &tests::Reply| {
        let mut headers = reply.headers.clone();
        headers.remove("date");
        headers
    };
    assert_eq!(without_date(&wrong), without_date(&unknown));
    assert_eq!(wrong.header("www-authenticate"), None, "sign-in is no bearer endpoint");
}

/// How small the difference is, is measured (docs/measurements.md); that a hash is checked at all shows from afar.
// Requirement 16.
#[tokio::test]
async fn an_unknown_address_is_as_much_work_as_a_wrong_password() {
    let stack = Stack::builder().processes(1).start().await;
    let (ada, nobody) = (stack.user("Ada").await.with_password("not the password"), stack.stranger("Nobody"));
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for n in 0..15 {
        let source = format!("192.0.2.{n}");
        known.push(ada.at(&source).tries_to_sign_in().await.took);
        unknown.push(nobody.at(&source).tries_to_sign_in().await.took);
    }
    known.sort_unstable();
    unknown.sort_unstable();
    assert!(unknown[7] * 2 > known[7] && known[7] * 2 > unknown[7], "{known:?} {unknown:?}");
}

#[tokio::test]
async fn an_address_signs_in_in_whatever_case_it_is_written() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let reply = ada.with_email(&ada.email.to_uppercase()).tries_to_sign_in().await;
    assert_eq!(reply.json()["user"]["email"], json!(ada.email), "as it is stored");
}

#[tokio::test]
async fn a_sign_in_without_a_field_is_refused() {
    let stack = Stack::start().await;
    for body in [
        json!({}),
        json!({ "email": "ada@example.com" }),
        json!({ "password": "password123" }),
        json!({ "email": "", "password": "password123" }),
        json!({ "email": "ada@example.com", "password": "" }),
        json!({ "email": ["ada@example.com"], "password": "password123" }),
        json!({ "email": "ada@example.com", "password": 12_345_678 }),
    ] {
        let reply = stack.post("/api/signin", &body).await;
        reply.assert_refused(400, "missing_email_or_password", "Missing email or password");
    }
}

#[tokio::test]
async fn any_string_may_be_tried_as_an_address_or_a_password() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let huge = "x".repeat(15_000);
    let strange = ["not an address", "a\0b", "' OR 1=1 --", "\u{feff}", "🐎", "%", huge.as_str()];
    for (n, strange) in strange.into_iter().enumerate() {
        let ada = ada.at(&format!("192.0.2.{n}"));
        let reply = ada.with_email(strange).tries_to_sign_in().await;
        reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
        let reply = ada.with_password(strange).tries_to_sign_in().await;
        reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
    }
}

#[tokio::test]
async fn an_access_token_says_what_the_contract_promises() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let stack = Stack::start().await;
    let tokens = stack.user("Ada").await.signs_in().await;
    let claims = |token: &str| -> serde_json::Value {
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice(&payload).unwrap()
    };
    let (access, refresh) = (claims(&tokens.access), claims(&tokens.refresh));
    let names = |claims: &serde_json::Value| claims.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(&access), "aud exp fresh iat iss jti nbf sid sub type");
    assert_eq!(names(&refresh), names(&access));
    assert_eq!((&access["iss"], &access["aud"], &access["sub"]), (&json!("jwt-auth"), &json!("jwt-auth"), &json!("1")));
    assert_eq!((&access["type"], &access["fresh"]), (&json!("access"), &json!(true)));
    assert_eq!((&refresh["type"], &refresh["aud"]), (&json!("refresh"), &json!("jwt-auth/refresh")));
    assert_eq!(access["sid"], refresh["sid"]);
    assert_eq!(access["exp"].as_i64().unwrap() - access["iat"].as_i64().unwrap(), 3600);
    assert_eq!(refresh["exp"].as_i64().unwrap() - refresh["iat"].as_i64().unwrap(), 604_800);
    assert_eq!(stack.sql_text("SELECT id::text FROM sessions").await, access["sid"].as_str().unwrap());
}

#[tokio::test]
async fn a_password_longer_than_one_may_set_is_tried_up_to_4096_bytes() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    for (length, opens) in [(4096, true), (4097, false)] {
        let password = "x".repeat(length);
        stack.sql(&format!("UPDATE users SET password = '{}'", pbkdf2(&password))).await;
        let reply = ada.with_password(&password).tries_to_sign_in().await;
        assert_eq!(reply.status, if opens { 200 } else { 401 }, "{length}");
    }
}

fn pbkdf2(password: &str) -> String {
    let (rounds, salt) = (std::num::NonZeroU32::new(1000).unwrap(), "salt");
    let mut derived = [0; 32];
    aws_lc_rs::pbkdf2::derive(
        aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256,
        rounds,
        salt.as_bytes(),
        password.as_bytes(),
        &mut derived,
    );
    format!("pbkdf2:sha256:{rounds}${salt}${}", hex::encode(derived))
}
