//! Sign-in with password hashes that other software or older settings made, and with passwords in other Unicode forms.

use tests::{Person, Stack};

/// Made with Werkzeug 3.1.9 by `generate_password_hash("old password", "scrypt:32768:8:1")` and `"pbkdf2:sha256:1000000"`.
const WERKZEUG: &[&str] = &[
    "scrypt:32768:8:1$46AWFcx5u4KG3mAh$788eff53a3533c85dce6c38172fe23ba7dfc0785e4f8e530f329ab37670da82fb8463a27ad94ca685a1dc9de6be605f7c359313e205352164e76078d7a634326",
    "pbkdf2:sha256:1000000$GQbh8AmPVpVQrNoO$ea6172e3c23f89b56e64575a1b17812e261ef4976b9f93846fde783a8a99274a",
];

async fn with_stored_hash<'a>(stack: &'a Stack, hash: &str) -> Person<'a> {
    let ada = stack.user("Ada").await;
    stack.sql(&format!("UPDATE users SET password = '{hash}' WHERE email = '{}'", ada.email)).await;
    ada.with_password("old password")
}

async fn stored_hash(stack: &Stack, person: &Person<'_>) -> String {
    stack.sql_text(&format!("SELECT password::text FROM users WHERE email = '{}'", person.email)).await
}

// Requirement 13.
#[tokio::test]
async fn a_werkzeug_hash_signs_in_and_is_replaced() {
    let stack = Stack::start().await;
    for hash in WERKZEUG {
        let ada = with_stored_hash(&stack, hash).await;
        let wrong = ada.with_password("new password").tries_to_sign_in().await;
        wrong.assert_refused(401, "invalid_credentials", "Invalid credentials");
        assert_eq!(stored_hash(&stack, &ada).await, *hash, "a failed sign-in replaces nothing");
        ada.signs_in().await;
        let replaced = stored_hash(&stack, &ada).await;
        assert!(replaced.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{replaced}");
        ada.signs_in().await;
        assert_eq!(stored_hash(&stack, &ada).await, replaced, "a current hash is not replaced");
    }
}

#[tokio::test]
async fn an_old_hash_is_kept_while_rehashing_is_off() {
    let stack = Stack::builder().with("PASSWORD_REHASH", "off").start().await;
    let ada = with_stored_hash(&stack, WERKZEUG[0]).await;
    ada.signs_in().await;
    assert_eq!(stored_hash(&stack, &ada).await, WERKZEUG[0]);
}

// Requirement 13.
#[tokio::test]
async fn an_argon2id_hash_of_other_parameters_signs_in_and_is_replaced() {
    let stack = Stack::start().await;
    // "old password", m=4096, t=1, p=1, by argon2-cffi 25.1.0.
    let ada = with_stored_hash(
        &stack,
        "$argon2id$v=19$m=4096,t=1,p=1$wICj14X/bNK1DIZQhcZnvw$iNvTgNeaXJqzbHEcxaTzwKQ0VY+EvIGS1TTLf762/Ok",
    )
    .await;
    ada.signs_in().await;
    assert!(stored_hash(&stack, &ada).await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
}

#[tokio::test]
async fn nobody_signs_in_with_a_malformed_or_too_expensive_hash() {
    let stack = Stack::start().await;
    let zeros = "0".repeat(128);
    for hash in [
        format!("scrypt:1048576:8:1$salt${zeros}"),
        format!("scrypt:3:8:1$salt${zeros}"),
        format!("pbkdf2:sha256:4000000000$salt${}", &zeros[..64]),
        format!("pbkdf2:sha256:0$salt${}", &zeros[..64]),
        format!("pbkdf2:md5:1000$salt${}", &zeros[..32]),
        "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        "old password".to_owned(),
        String::new(),
    ] {
        let ada = with_stored_hash(&stack, &hash).await;
        ada.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");
    }
}

// Requirement 26.
#[tokio::test]
async fn a_password_matches_in_composed_and_in_decomposed_unicode() {
    let stack = Stack::start().await;
    let composed = stack.stranger("Zoe").with_password("caf\u{e9} cr\u{e8}me");
    composed.signs_up().await.assert_created();
    composed.with_password("cafe\u{301} cre\u{300}me").signs_in().await;
    composed.with_password("cafe creme").tries_to_sign_in().await.assert_refused(
        401,
        "invalid_credentials",
        "Invalid credentials",
    );
}

#[tokio::test]
async fn sign_in_checks_passwords_of_up_to_4096_bytes() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    for (length, accepted) in [(4096, true), (4097, false)] {
        let password = "x".repeat(length);
        stack.sql(&format!("UPDATE users SET password = '{}'", pbkdf2(&password))).await;
        let reply = ada.with_password(&password).tries_to_sign_in().await;
        assert_eq!(reply.status, if accepted { 200 } else { 401 }, "{length}");
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
