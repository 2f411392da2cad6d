//! `/api/signin/passkey`, and passkeys as a second factor and for reauthentication.

use ciborium::Value as Cbor;
use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use tests::{
    Person, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    jwt::claims,
    mailbox::{PASSKEY_COPIED, mails_to},
    passkey::{
        Device, ORIGIN, cbor, encode,
        faults::{of_assertions, of_challenges},
    },
};

use crate::support::{assert_passkey_rejected, verified_user};

async fn with_passkey(stack: &Stack) -> (Person<'_>, Device) {
    let ada = verified_user(stack, "Ada").await;
    let mut device = Device::new();
    ada.adds_passkey_of(&mut device, &ada.signs_in().await.access).await;
    (ada, device)
}

// Requirements 64, 70, 76.
#[rstest]
#[tokio::test]
async fn a_passkey_alone_opens_a_session(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, mut device) = with_passkey(&stack).await;
    let options = ada.passkey_options().await;
    assert_eq!(
        options,
        json!({
            "challenge": options["challenge"], "timeout": 300_000, "rpId": "example.com", "allowCredentials": [],
            "userVerification": "required",
        })
    );
    let assertion = device.signs(&options).await;
    let reply = ada.signs_in_with_assertion(&assertion).await;
    let tokens = Tokens::from(&reply);
    assert_eq!(reply.json()["user"]["email"], json!(ada.email));
    let of_access = claims(&tokens.access);
    assert_eq!((&of_access["amr"], &of_access["acr"]), (&json!(["pop", "user"]), &json!("aal2")));
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    // `aal2` suffices for sensitive actions.
    assert_eq!(ada.replaces_recovery_codes(&tokens.access).await.status, 201);
    let changed = Tokens::from(&ada.changes_password(&tokens.access, "another password").await);
    assert_eq!(claims(&changed.access)["amr"], json!(["pwd", "pop", "user"]), "the password was shown, too");
    assert_passkey_rejected(&ada.signs_in_with_assertion(&assertion).await);
    assert!(stack.log_of("signin-passkey").contains("reason=the challenge was used before"));
}

// Requirement 70.
#[rstest]
#[tokio::test]
async fn of_many_requests_with_one_assertion_one_opens_a_session(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let (ada, mut device) = with_passkey(&stack).await;
    let assertion = device.signs(&ada.passkey_options().await).await;
    let replies = join_all((0..50).map(|_| ada.signs_in_with_assertion(&assertion))).await;
    let (opened, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!(opened.len(), 1);
    refused.into_iter().for_each(assert_passkey_rejected);
    assert_eq!(stack.sql_number("SELECT count(*) FROM used_challenges").await, 2, "the enrolment and the sign-in");
}

// Requirement 69.
#[tokio::test]
async fn an_assertion_with_one_fault_is_rejected() {
    let stack = Stack::builder().processes(1).start().await;
    let (ada, mut device) = with_passkey(&stack).await;
    for fault in of_assertions().into_iter().chain(of_challenges()) {
        let assertion = device.signs(&ada.passkey_options().await).await;
        let changed = device.changed(&assertion, |parts| fault.make(parts));
        let reply = ada.signs_in_with_assertion(&changed).await;
        assert_eq!(reply.status, 400, "{}", fault.name);
        assert_passkey_rejected(&reply);
        // Without the fault, the same assertion succeeds, because a rejected one does not use the challenge up.
        let unchanged = device.changed(&assertion, |_| ());
        assert_eq!(ada.signs_in_with_assertion(&unchanged).await.status, 200, "without: {}", fault.name);
    }
    // Extensions of the authenticator are allowed, and ignored.
    let assertion = device.signs(&ada.passkey_options().await).await;
    let extended = device.changed(&assertion, |parts| {
        parts.data[32] |= 128;
        parts.data.extend(cbor(&Cbor::Map(vec![("uvm".into(), Cbor::Array(vec![]))])));
    });
    assert_eq!(ada.signs_in_with_assertion(&extended).await.status, 200);
}

// Requirement 69.
#[tokio::test]
async fn a_response_that_was_changed_after_signing_is_rejected() {
    let stack = Stack::builder().processes(1).start().await;
    let (ada, mut device) = with_passkey(&stack).await;
    let (linus, mut other) = (verified_user(&stack, "Linus").await, Device::new());
    linus.adds_passkey_of(&mut other, &linus.signs_in().await.access).await;
    let assertion = device.signs(&ada.passkey_options().await).await;
    let of_other = other.signs(&ada.passkey_options().await).await;
    let replaced: [(&str, &str, Value); 12] = [
        ("a signature of nothing", "/response/signature", json!("")),
        ("the signature of another passkey", "/response/signature", of_other["response"]["signature"].clone()),
        ("the credential of another account", "/rawId", of_other["rawId"].clone()),
        ("an unknown credential", "/id", json!(encode([1; 16]))),
        ("no user handle", "/response/userHandle", Value::Null),
        ("the user handle of another account", "/response/userHandle", of_other["response"]["userHandle"].clone()),
        ("an empty user handle", "/response/userHandle", json!("")),
        ("no base64url", "/response/clientDataJSON", json!("e30=")),
        ("client data that is no JSON", "/response/clientDataJSON", json!(encode("{"))),
        ("another kind of credential", "/type", json!("password")),
        ("no authenticator data", "/response/authenticatorData", Value::Null),
        ("no response", "/response", Value::Null),
    ];
    for (fault, place, value) in replaced {
        let mut changed = assertion.clone();
        *changed.pointer_mut(place).unwrap() = value;
        if place == "/id" {
            changed["rawId"] = changed["id"].clone();
        }
        let reply = ada.signs_in_with_assertion(&changed).await;
        assert_eq!(reply.status, 400, "{fault}");
        assert_passkey_rejected(&reply);
    }
    for (body, code) in [(json!({}), "passkey_rejected"), (json!([]), "invalid_json"), (json!("x"), "invalid_json")] {
        assert_eq!(ada.signs_in_with_assertion(&body).await.text_at("code"), code, "{body}");
    }
    assert_eq!(ada.signs_in_with_assertion(&assertion).await.status, 200);
}

// Requirement 70.
#[rstest]
#[tokio::test]
async fn a_challenge_is_valid_only_for_its_purpose_its_account_and_its_session(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let (ada, mut device) = with_passkey(&stack).await;
    let (linus, mut other) = (verified_user(&stack, "Linus").await, Device::new());
    linus.adds_passkey_of(&mut other, &linus.signs_in().await.access).await;
    let tokens = Tokens::from(&ada.signs_in_with_passkey(&mut device).await);
    let second = Tokens::from(&ada.signs_in_with_passkey(&mut device).await);
    let of_linus = Tokens::from(&linus.signs_in_with_passkey(&mut other).await);
    let (waiting, for_second_factor) = ada.signs_in_halfway_for_passkey().await;
    let (other_waiting, _) = ada.signs_in_halfway_for_passkey().await;
    let (_, of_other_account) = linus.signs_in_halfway_for_passkey().await;
    let in_session = ada.reauthentication_options(&tokens.access).await.json();
    let in_other_session = ada.reauthentication_options(&second.access).await.json();
    let to_enrol = ada.begins_passkey(&tokens.access).await.json();
    let alone = ada.passkey_options().await;
    // The device signs any challenge, whatever it is for.
    let get = json!({ "challenge": "", "rpId": "example.com", "userVerification": "required" });
    let mut signed = Vec::new();
    for options in [&alone, &for_second_factor, &of_other_account, &in_session, &in_other_session, &to_enrol] {
        let mut options_of_get = get.clone();
        options_of_get["challenge"] = options["challenge"].clone();
        signed.push(device.signs(&options_of_get).await);
    }
    let at_sign_in = [1, 2, 3, 4, 5];
    for wrong in at_sign_in {
        assert_passkey_rejected(&ada.signs_in_with_assertion(&signed[wrong]).await);
    }
    for wrong in [0, 2, 3] {
        assert_passkey_rejected(&ada.shows_factor(&waiting, &json!({ "passkey": signed[wrong] })).await);
    }
    assert_passkey_rejected(&ada.shows_factor(&other_waiting, &json!({ "passkey": signed[1] })).await);
    for wrong in [0, 1, 4, 5] {
        assert_passkey_rejected(&ada.reauthenticates_with(&tokens.access, json!({ "passkey": signed[wrong] })).await);
    }
    assert_passkey_rejected(&linus.reauthenticates_with(&of_linus.access, json!({ "passkey": signed[3] })).await);
    assert_eq!(ada.signs_in_with_assertion(&signed[0]).await.status, 200);
    assert_eq!(ada.shows_factor(&waiting, &json!({ "passkey": signed[1] })).await.status, 200);
    assert_eq!(ada.reauthenticates_with(&tokens.access, json!({ "passkey": signed[3] })).await.status, 200);
}

// Requirements 64, 76.
#[rstest]
#[tokio::test]
async fn a_passkey_is_a_second_factor(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, mut device) = with_passkey(&stack).await;
    let asked = ada.tries_to_sign_in().await;
    let (token, options) = (asked.text_at("mfa_token"), asked.json()["passkey_options"].clone());
    assert_eq!(asked.json()["factors"], json!(["passkey", "recovery_code"]));
    assert_eq!(options["allowCredentials"].as_array().unwrap().len(), 1);
    let assertion = device.signs(&options).await;
    let both = json!({ "passkey": assertion, "totp": "123456" });
    ada.shows_factor(&token, &both).await.assert_refused(400, "missing_factor", "Send exactly one factor");
    assert_passkey_rejected(&ada.shows_factor(&token, &json!({ "passkey": {} })).await);
    assert_passkey_rejected(&ada.shows_factor(&token, &json!({ "passkey": "x" })).await);
    let tokens = Tokens::from(&ada.shows_factor(&token, &json!({ "passkey": assertion })).await);
    let of_access = claims(&tokens.access);
    assert_eq!((&of_access["amr"], &of_access["acr"]), (&json!(["pwd", "pop"]), &json!("aal2")));
    assert_eq!(ada.shows_factor(&token, &json!({ "passkey": assertion })).await.text_at("code"), "invalid_mfa_token");
}

// Requirement 74.
#[tokio::test]
async fn five_factors_may_be_tried_with_one_token() {
    let stack = Stack::start().await;
    let (ada, mut device) = with_passkey(&stack).await;
    let (token, options) = ada.signs_in_halfway_for_passkey().await;
    for _ in 0..5 {
        assert_passkey_rejected(&ada.shows_factor(&token, &json!({ "passkey": {} })).await);
    }
    let assertion = device.signs(&options).await;
    let reply = ada.shows_factor(&token, &json!({ "passkey": assertion })).await;
    // A response that is no assertion is refused before the attempt is counted.
    assert_eq!(reply.status, 200, "{}", reply.text);
    let (token, options) = ada.signs_in_halfway_for_passkey().await;
    let assertion = device.signs(&options).await;
    let wrong = device.changed(&assertion, |parts| parts.client_data["origin"] = json!("https://example.org"));
    for _ in 0..5 {
        assert_passkey_rejected(&ada.shows_factor(&token, &json!({ "passkey": wrong })).await);
    }
    let reply = ada.shows_factor(&token, &json!({ "passkey": assertion })).await;
    assert_eq!(reply.text_at("code"), "invalid_mfa_token");
    let (token, options) = ada.signs_in_halfway_for_passkey().await;
    let assertion = device.signs(&options).await;
    assert_eq!(ada.shows_factor(&token, &json!({ "passkey": assertion })).await.status, 200);
}

// Requirement 75.
#[rstest]
#[tokio::test]
async fn a_passkey_reauthenticates(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, mut device) = with_passkey(&stack).await;
    let (token, options) = ada.signs_in_halfway_for_passkey().await;
    let assertion = device.signs(&options).await;
    let tokens = Tokens::from(&ada.shows_factor(&token, &json!({ "passkey": assertion })).await);
    stack.sessions().move_auth_time_back(3600).await;
    let replace = async |access: &str| ada.replaces_recovery_codes(access).await;
    assert_eq!(replace(&tokens.access).await.text_at("code"), "reauthentication_required");
    let options = ada.reauthentication_options(&tokens.access).await;
    let assertion = device.signs(&options.json()).await;
    let reply = ada.reauthenticates_with(&tokens.access, json!({ "passkey": assertion })).await;
    assert_eq!(reply.text_at("message"), "Reauthenticated");
    let renewed = Tokens::from(&reply);
    assert_eq!(claims(&renewed.access)["amr"], json!(["pwd", "pop"]));
    assert_eq!(replace(&renewed.access).await.status, 201);
    assert_passkey_rejected(&ada.reauthenticates_with(&renewed.access, json!({ "passkey": assertion })).await);
    // The account has a second factor, so the password alone is refused.
    assert_eq!(ada.reauthenticates(&renewed.access).await.text_at("code"), "second_factor_required");
    let linus = stack.user("Linus").await;
    let of_linus = linus.signs_in().await;
    linus.reauthentication_options(&of_linus.access).await.assert_refused(
        404,
        "passkey_not_found",
        "Passkey not found",
    );
}

// Requirement 69.
#[tokio::test]
async fn a_counter_that_does_not_rise_is_rejected_and_the_user_is_told_once_a_day() {
    let stack = Stack::start().await;
    let ada = verified_user(&stack, "Ada").await;
    let mut device = Device::that_counts();
    ada.adds_passkey_of(&mut device, &ada.signs_in().await.access).await;
    let count = |reply: Reply| assert_eq!(reply.status, 200, "{}", reply.text);
    count(ada.signs_in_with_passkey(&mut device).await);
    count(ada.signs_in_with_passkey(&mut device).await);
    let stored = stack.sql_number("SELECT sign_count FROM passkeys").await;
    assert!(stored > 1, "{stored}");
    let with_count = async |device: &mut Device, count: u32| {
        let assertion = device.signs(&ada.passkey_options().await).await;
        let changed = device.changed(&assertion, |parts| parts.data[33..37].copy_from_slice(&count.to_be_bytes()));
        ada.signs_in_with_assertion(&changed).await
    };
    let stored = u32::try_from(stored).unwrap();
    for fallen in [stored, stored - 1, 0] {
        assert_passkey_rejected(&with_count(&mut device, fallen).await);
    }
    // A client that repeats a request after a lost answer causes no warning.
    let linus = verified_user(&stack, "Linus").await;
    let mut of_linus = Device::that_counts();
    linus.adds_passkey_of(&mut of_linus, &linus.signs_in().await.access).await;
    let assertion = of_linus.signs(&linus.passkey_options().await).await;
    assert_eq!(linus.signs_in_with_assertion(&assertion).await.status, 200);
    assert_passkey_rejected(&linus.signs_in_with_assertion(&assertion).await);

    ada.newest_mail(PASSKEY_COPIED).await;
    assert!(mails_to(&linus.email).await.iter().all(|mail| mail.subject != PASSKEY_COPIED));
    let mails = mails_to(&ada.email).await;
    assert_eq!(mails.iter().filter(|mail| mail.subject == PASSKEY_COPIED).count(), 1);
    count(with_count(&mut device, u32::MAX).await);
    assert_passkey_rejected(&with_count(&mut device, 1).await);
    // An authenticator that does not count always says zero.
    stack.sql("UPDATE passkeys SET sign_count = 0").await;
    count(with_count(&mut device, 0).await);
    count(with_count(&mut device, 1).await);
}

// Requirement 71.
#[rstest]
#[tokio::test]
async fn nobody_can_tell_which_credentials_exist(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, mut device) = with_passkey(&stack).await;
    let tokens = Tokens::from(&ada.signs_in_with_passkey(&mut device).await);
    let assertion = device.signs(&ada.passkey_options().await).await;
    assert_eq!(ada.deletes_account(&tokens.access).await.status, 202);
    let deleted = ada.signs_in_with_assertion(&assertion).await;
    assert_passkey_rejected(&deleted);
    let mut unknown = assertion.clone();
    (unknown["id"], unknown["rawId"]) = (json!(encode([3; 16])), json!(encode([3; 16])));
    assert_eq!(ada.signs_in_with_assertion(&unknown).await.text, deleted.text);
}

// Requirement 69.
#[tokio::test]
async fn a_passkey_of_another_relying_party_is_a_factor_that_cannot_be_shown() {
    let stack = Stack::start().await;
    let (ada, mut device) = with_passkey(&stack).await;
    stack.sql("UPDATE passkeys SET rp_id = 'example.org'").await;
    assert_passkey_rejected(&ada.signs_in_with_passkey(&mut device).await);
    let asked = ada.tries_to_sign_in().await;
    assert_eq!((&asked.json()["factors"], asked.json().get("passkey_options")), (&json!(["recovery_code"]), None));
}

#[tokio::test]
async fn without_a_relying_party_there_are_no_passkeys() {
    let stack = Stack::builder().with("PASSKEY_RP_ID", "").with("PASSKEY_ORIGINS", "").start().await;
    let ada = verified_user(&stack, "Ada").await;
    let tokens = ada.signs_in().await;
    let replies = [
        stack.post("/api/signin/passkey/options", &json!({})).await,
        ada.signs_in_with_assertion(&json!({})).await,
        ada.begins_passkey(&tokens.access).await,
        ada.adds_created_passkey(&tokens.access, "Phone", &json!({})).await,
        ada.lists_passkeys(&tokens.access).await,
        ada.renames_passkey(&tokens.access, "x", "Phone").await,
        ada.removes_passkey(&tokens.access, "x").await,
        ada.reauthentication_options(&tokens.access).await,
        stack.get("/.well-known/webauthn").await,
    ];
    for reply in replies {
        reply.assert_refused(404, "passkeys_not_configured", "This service does not offer passkeys");
    }

    // The sign-in allows five factors. A passkey is not counted.
    let app = ada.adds_totp().await.app;
    let token = ada.signs_in_halfway().await;
    let assertion = json!({ "id": "", "rawId": "", "type": "public-key", "response": { "clientDataJSON": "", "authenticatorData": "", "signature": "" } });
    for _ in 0..5 {
        let reply = ada.shows_factor(&token, &json!({ "passkey": assertion })).await;
        reply.assert_refused(404, "passkeys_not_configured", "This service does not offer passkeys");
    }
    assert_eq!(ada.shows_factor(&token, &json!({ "totp": app.code() })).await.status, 200);
}

#[tokio::test]
async fn browsers_learn_which_origins_may_use_the_passkeys() {
    let origins = format!("{ORIGIN}, https://app.example.org, android:apk-key-hash:abc");
    let stack = Stack::builder().with("PASSKEY_ORIGINS", &origins).start().await;
    let reply = stack.get("/.well-known/webauthn").await;
    reply.assert_ok(&json!({ "origins": [ORIGIN, "https://app.example.org"] }));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}
