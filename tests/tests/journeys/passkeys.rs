//! `/api/passkeys`: adding, listing, renaming and removing passkeys.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents},
    signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256},
};
use ciborium::Value as Cbor;
use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use tests::{
    Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    authenticator::Added,
    jwt::claims,
    mailbox::PASSKEY_ADDED,
    passkey::{
        Device, cbor, changed_creation, decode, encode,
        faults::{change_key, of_challenges, of_creations},
    },
};

use crate::support::{assert_link_refused, assert_passkey_rejected, assert_session_ended, verified_user};

const REMOVED: &str = "A passkey was removed from your account";

// Requirements 69, 72, 76.
#[rstest]
#[tokio::test]
async fn an_added_passkey_ends_the_other_sessions_and_is_required_from_then_on(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = verified_user(&stack, "Ada").await;
    let (tokens, other) = (ada.signs_in().await, ada.signs_in().await);
    let options = ada.begins_passkey(&tokens.access).await.json();
    let (handle, challenge) = (options["user"]["id"].clone(), options["challenge"].clone());
    assert_eq!(
        options,
        json!({
            "rp": { "id": "example.com", "name": "example.com" },
            "user": { "id": handle, "name": ada.email, "displayName": "Ada" },
            "challenge": challenge,
            "pubKeyCredParams": [
                { "type": "public-key", "alg": -7 }, { "type": "public-key", "alg": -8 }, { "type": "public-key", "alg": -257 },
            ],
            "timeout": 300_000,
            "excludeCredentials": [],
            "authenticatorSelection": { "residentKey": "required", "requireResidentKey": true, "userVerification": "required" },
            "attestation": "none",
        })
    );
    assert_eq!(decode(handle.as_str().unwrap()).len(), 32);
    // Options are no factor yet.
    ada.signs_in().await;

    let mut device = Device::new();
    let created = device.creates(&options).await;
    let added = ada.adds_created_passkey(&tokens.access, "Phone", &created).await;
    assert_eq!((added.status, &*added.text_at("name")), (201, "Phone"));
    assert_eq!(added.json()["recovery_codes"].as_array().unwrap().len(), 10);
    assert_session_ended(&stack, &other).await;
    // The session that has added it stays, and has shown it.
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    assert_eq!(ada.replaces_recovery_codes(&tokens.access).await.status, 201);
    let refreshed = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    let of_access = claims(&refreshed.access);
    assert_eq!(of_access["sid"], claims(&tokens.access)["sid"]);
    assert_eq!((&of_access["amr"], &of_access["acr"]), (&json!(["pwd", "pop"]), &json!("aal2")));
    assert_eq!(ada.tries_to_sign_in().await.text_at("code"), "second_factor_required");
    assert_eq!(ada.signs_in_with_passkey(&mut device).await.status, 200);

    let listed = ada.lists_passkeys(&refreshed.access).await.json();
    let passkey = &listed["passkeys"][0];
    assert_eq!(
        listed,
        json!({ "passkeys": [{
            "id": added.json()["id"], "name": "Phone", "created_at": added.json()["created_at"],
            "last_used_at": passkey["last_used_at"], "backed_up": true,
        }] })
    );
    assert!(passkey["last_used_at"].is_string());
    // The next options name the same user, and exclude the passkey.
    let again = ada.begins_passkey(&refreshed.access).await.json();
    assert_eq!(again["user"]["id"], handle);
    assert_eq!(again["excludeCredentials"][0]["id"], created["rawId"]);
    assert_ne!(again["challenge"], challenge);
    assert!(ada.newest_mail(PASSKEY_ADDED).await.text.contains("72 hours"));
    assert_eq!(stack.logs().matches("event=\"passkey_added\" user_id=1").count(), 1);
    // Tables, backups and logs contain no secret of the passkey, because this service never has one.
    assert_eq!(stack.sql_number("SELECT count(*) FROM used_challenges").await, 2);
    stack.sql("UPDATE used_challenges SET expires_at = now()").await;
    assert_eq!(stack.sweep().await["factor_rows_deleted"], 2);
}

// Requirement 72.
#[rstest]
#[tokio::test]
async fn passkeys_need_a_fresh_session_and_a_verified_address(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let unverified = |reply: &Reply| reply.assert_refused(403, "email_not_verified", "Verify your email address first");
    unverified(&ada.begins_passkey(&tokens.access).await);
    unverified(&ada.adds_created_passkey(&tokens.access, "Phone", &json!({})).await);
    ada.has_verified().await;
    let Added { tokens, .. } = ada.adds_totp().await;
    let mut device = Device::new();
    let id = ada.adds_passkey_of(&mut device, &tokens.access).await.text_at("id");
    let created = json!({});
    stack.sessions().move_auth_time_back(3600).await;
    let stale = |reply: &Reply| reply.assert_refused(401, "reauthentication_required", "Sign in again to do this");
    stale(&ada.begins_passkey(&tokens.access).await);
    stale(&ada.adds_created_passkey(&tokens.access, "Phone", &created).await);
    stale(&ada.removes_passkey(&tokens.access, &id).await);
    assert_eq!(ada.renames_passkey(&tokens.access, &id, "Laptop").await.text_at("name"), "Laptop");
    assert_eq!(ada.lists_passkeys(&tokens.access).await.json()["passkeys"][0]["name"], "Laptop");
    for (body, status, code) in [
        (json!({ "name": "Phone" }), 400, "missing_required_fields"),
        (json!({ "name": "", "passkey": {} }), 400, "missing_required_fields"),
        (json!({ "name": "x".repeat(101), "passkey": {} }), 400, "name_too_long"),
    ] {
        let reply = ada.sends(reqwest::Method::POST, "/api/passkeys", &tokens.access, body).await;
        assert_eq!((reply.status, &*reply.text_at("code")), (status, code));
    }
    for unknown in ["x", "00000000-0000-0000-0000-000000000000"] {
        let reply = ada.renames_passkey(&tokens.access, unknown, "Laptop").await;
        reply.assert_refused(404, "passkey_not_found", "Passkey not found");
    }
}

// Requirement 69.
#[tokio::test]
async fn a_new_passkey_with_one_fault_is_rejected() {
    let stack = Stack::builder().processes(1).start().await;
    let ada = verified_user(&stack, "Ada").await;
    let access = ada.signs_in().await.access;
    let options = ada.begins_passkey(&access).await.json();
    let mut device = Device::new();
    let created = device.creates(&options).await;
    for fault in of_creations().into_iter().chain(of_challenges()) {
        let reply =
            ada.adds_created_passkey(&access, "Phone", &changed_creation(&created, |parts| fault.make(parts))).await;
        assert_eq!(reply.status, 400, "{}", fault.name);
        assert_passkey_rejected(&reply);
    }
    let replaced: [(&str, &str, Value); 6] = [
        ("another id", "/id", json!(encode([1; 16]))),
        ("another kind of credential", "/type", json!("password")),
        ("no CBOR", "/response/attestationObject", json!(encode("x"))),
        ("no base64url", "/response/attestationObject", json!("o2==")),
        ("no client data", "/response/clientDataJSON", Value::Null),
        ("transports that are no texts", "/response/transports", json!([1])),
    ];
    for (fault, place, value) in replaced {
        let mut changed = created.clone();
        *changed.pointer_mut(place).unwrap() = value;
        let reply = ada.adds_created_passkey(&access, "Phone", &changed).await;
        assert_eq!(reply.status, 400, "{fault}");
        assert_passkey_rejected(&reply);
    }
    for statement in [json!({ "fmt": "none" }), json!({ "authData": "" })] {
        let mut changed = created.clone();
        let object = Cbor::serialized(&statement).unwrap();
        changed["response"]["attestationObject"] = encode(cbor(&object)).into();
        assert_passkey_rejected(&ada.adds_created_passkey(&access, "Phone", &changed).await);
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM passkeys").await, 0);
    assert_eq!(ada.adds_created_passkey(&access, "Phone", &created).await.status, 201);
}

/// A key of another algorithm than that of the device, and how it signs.
type OtherKey = (&'static str, Vec<(Cbor, Cbor)>, Box<dyn Fn(&[u8]) -> Vec<u8>>);

fn other_keys() -> Vec<OtherKey> {
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let x = ed25519.public_key().as_ref().to_vec();
    let of_ed25519 = vec![(1, 1.into()), (3, (-8).into()), (-1, 6.into()), (-2, Cbor::Bytes(x))];
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(rsa.public_key());
    let of_rsa = vec![(1, 3.into()), (3, (-257).into()), (-1, Cbor::Bytes(n)), (-2, Cbor::Bytes(e))];
    let labels = |key: Vec<(i64, Cbor)>| key.into_iter().map(|(label, value)| (label.into(), value)).collect();
    vec![
        ("EdDSA", labels(of_ed25519), Box::new(move |message| ed25519.sign(message).as_ref().to_vec())),
        (
            "RS256",
            labels(of_rsa),
            Box::new(move |message| {
                let mut signature = vec![0; rsa.public_modulus_len()];
                rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }),
        ),
    ]
}

// Requirement 69.
#[tokio::test]
async fn keys_of_all_offered_algorithms_are_accepted_and_only_with_their_signatures() {
    let stack = Stack::builder().processes(1).start().await;
    for (name, key, sign) in other_keys() {
        let ada = verified_user(&stack, name).await;
        let access = ada.signs_in().await.access;
        let mut device = Device::new();
        let created = device.creates(&ada.begins_passkey(&access).await.json()).await;
        let changed = changed_creation(&created, |parts| change_key(&mut parts.data, |old| *old = key.clone()));
        assert_eq!(ada.adds_created_passkey(&access, name, &changed).await.status, 201, "{name}");
        // The device signs with its own key, which is not the registered one.
        let mut assertion = device.signs(&ada.passkey_options().await).await;
        assert_passkey_rejected(&ada.signs_in_with_assertion(&assertion).await);
        let part = |part: &str| decode(assertion["response"][part].as_str().unwrap());
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &part("clientDataJSON"));
        let signature = sign(&[&part("authenticatorData"), hash.as_ref()].concat());
        assertion["response"]["signature"] = encode(signature).into();
        assert_eq!(ada.signs_in_with_assertion(&assertion).await.status, 200, "{name}");
    }
}

// Requirements 70, 71.
#[rstest]
#[tokio::test]
async fn a_credential_id_is_added_once(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = verified_user(&stack, "Ada").await;
    let access = ada.signs_in().await.access;
    let created = Device::new().creates(&ada.begins_passkey(&access).await.json()).await;
    let replies = join_all((0..20).map(|_| ada.adds_created_passkey(&access, "Phone", &created))).await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 400, 401].contains(status)), "{statuses:?}");
    assert_eq!(stack.sql_number("SELECT count(*) FROM passkeys").await, 1);
    assert_passkey_rejected(&ada.adds_created_passkey(&access, "Phone", &created).await);

    // The same credential with another challenge, in this account and in another one.
    let linus = verified_user(&stack, "Linus").await;
    let of_linus = linus.signs_in().await.access;
    for (person, access) in [(&ada, &access), (&linus, &of_linus)] {
        let challenge = person.begins_passkey(access).await.json()["challenge"].clone();
        let again = changed_creation(&created, |parts| parts.client_data["challenge"] = challenge.clone());
        let reply = person.adds_created_passkey(access, "Phone", &again).await;
        reply.assert_refused(409, "passkey_exists", "This passkey was already added");
    }
}

#[rstest]
#[tokio::test]
async fn an_account_has_at_most_ten_passkeys(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = verified_user(&stack, "Ada").await;
    let access = ada.signs_in().await.access;
    for number in 0..10 {
        let added = ada.adds_passkey_of(&mut Device::new(), &access).await;
        assert_eq!(added.json().get("recovery_codes").is_some(), number == 0, "only the first factor brings codes");
    }
    let created = Device::new().creates(&ada.begins_passkey(&access).await.json()).await;
    let reply = ada.adds_created_passkey(&access, "Phone", &created).await;
    reply.assert_refused(409, "too_many_passkeys", "The account has as many passkeys as it may have");
    assert_eq!(ada.dashboard(&access).await.status, 200);
}

// Requirement 72.
#[rstest]
#[tokio::test]
async fn a_removed_passkey_opens_nothing_and_the_last_factor_takes_the_recovery_codes_along(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = verified_user(&stack, "Ada").await;
    let (mut phone, mut laptop) = (Device::new(), Device::new());
    let access = ada.signs_in().await.access;
    let of_phone = ada.adds_passkey_of(&mut phone, &access).await.text_at("id");
    let of_laptop = ada.adds_passkey_of(&mut laptop, &access).await.text_at("id");
    let other = Tokens::from(&ada.signs_in_with_passkey(&mut laptop).await);
    let linus = verified_user(&stack, "Linus").await;
    let of_linus = linus.signs_in().await.access;
    let not_found = |reply: &Reply| reply.assert_refused(404, "passkey_not_found", "Passkey not found");
    not_found(&linus.removes_passkey(&of_linus, &of_phone).await);
    not_found(&linus.renames_passkey(&of_linus, &of_phone, "Mine").await);

    ada.removes_passkey(&access, &of_phone).await.assert_ok(&json!({ "message": "Passkey removed" }));
    not_found(&ada.removes_passkey(&access, &of_phone).await);
    assert_session_ended(&stack, &other).await;
    assert_passkey_rejected(&ada.signs_in_with_passkey(&mut phone).await);
    assert_eq!(ada.recovery_codes_left(&access).await.json()["left"], 10);
    assert_eq!(ada.tries_to_sign_in().await.status, 401);
    ada.newest_mail(REMOVED).await;

    assert_eq!(ada.removes_passkey(&access, &of_laptop).await.status, 200);
    assert_eq!(stack.sql_number("SELECT count(*) FROM recovery_codes").await, 0);
    assert_eq!(ada.dashboard(&ada.signs_in().await.access).await.status, 200, "the password suffices again");
    assert_eq!(stack.logs().matches("event=\"passkey_removed\" user_id=1").count(), 2);
}

// Requirement 72.
#[rstest]
#[tokio::test]
async fn an_authenticator_and_a_passkey_stand_beside_each_other(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = verified_user(&stack, "Ada").await;
    let Added { app, tokens, recovery_codes } = ada.adds_totp().await;
    let mut device = Device::new();
    let added = ada.adds_passkey_of(&mut device, &tokens.access).await;
    assert_eq!(added.json().get("recovery_codes"), None);
    let asked = ada.tries_to_sign_in().await.json();
    assert_eq!(asked["factors"], json!(["totp", "passkey", "recovery_code"]));
    assert_eq!(ada.signs_in_with_totp(&app).await.status, 200);
    assert_eq!(ada.removes_totp(&tokens.access).await.status, 200);
    // The codes that came with the authenticator stand in for the passkey, too.
    let waiting = ada.signs_in_halfway().await;
    let reply = ada.shows_factor(&waiting, &json!({ "recovery_code": recovery_codes[0] })).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(ada.tries_to_sign_in().await.json()["factors"], json!(["passkey", "recovery_code"]));
}

// Requirement 77.
#[rstest]
#[tokio::test]
async fn the_mailbox_undoes_a_passkey_and_the_earlier_factors_stay(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = verified_user(&stack, "Ada").await;
    let Added { tokens, recovery_codes, .. } = ada.adds_totp().await;
    let mut of_thief = Device::new();
    ada.adds_passkey_of(&mut of_thief, &tokens.access).await;
    let link = ada.newest_mail(PASSKEY_ADDED).await.token();
    let thief = Tokens::from(&ada.signs_in_with_passkey(&mut of_thief).await);
    ada.undoes_factor(&link).await.assert_ok(&json!({ "message": "Factor removed" }));
    assert_session_ended(&stack, &thief).await;
    assert_passkey_rejected(&ada.signs_in_with_passkey(&mut of_thief).await);
    // The authenticator is still required, and the codes from before still work.
    let waiting = ada.signs_in_halfway().await;
    let reply = ada.shows_factor(&waiting, &json!({ "recovery_code": recovery_codes[0] })).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    // A thief who adds another factor does not keep the owner out, whether it replaces the first one or not.
    let access = Tokens::from(&reply).access;
    let id = ada.adds_passkey_of(&mut of_thief, &access).await.text_at("id");
    let link = ada.newest_mail(PASSKEY_ADDED).await.token();
    let mut second = Device::new();
    ada.adds_passkey_of(&mut second, &access).await;
    let of_second = ada.newest_mail(PASSKEY_ADDED).await.token();
    assert_eq!(ada.removes_passkey(&access, &id).await.status, 200);
    assert_eq!(ada.undoes_factor(&link).await.status, 200);
    assert_passkey_rejected(&ada.signs_in_with_passkey(&mut second).await);
    assert_link_refused(&ada.undoes_factor(&of_second).await);
    assert_eq!(ada.tries_to_sign_in().await.json()["factors"], json!(["totp", "recovery_code"]));

    // Codes that the thief has made since are void.
    let waiting = ada.signs_in_halfway().await;
    let reply = ada.shows_factor(&waiting, &json!({ "recovery_code": recovery_codes[1] })).await;
    let access = Tokens::from(&reply).access;
    ada.adds_passkey_of(&mut Device::new(), &access).await;
    let codes = ada.replaces_recovery_codes(&access).await.json()["recovery_codes"].clone();
    let link = ada.newest_mail(PASSKEY_ADDED).await.token();
    assert_eq!(ada.undoes_factor(&link).await.status, 200);
    let waiting = ada.signs_in_halfway().await;
    let reply = ada.shows_factor(&waiting, &json!({ "recovery_code": codes[0] })).await;
    reply.assert_refused(400, "invalid_code", "Invalid or expired code");
}

// Requirement 72.
#[rstest]
#[tokio::test]
async fn the_session_that_adds_a_passkey_stays_verified(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).with("REQUIRE_VERIFIED_EMAIL", "on").with_verification().start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let code = ada.mails(1).await.remove(0).code();
    assert_eq!(ada.verifies_by_code(&tokens.access, &code).await.status, 200);
    let id = ada.adds_passkey_of(&mut Device::new(), &tokens.access).await.text_at("id");
    let refreshed = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(claims(&refreshed.access)["email_verified"], true);
    assert_eq!(ada.enrols_totp(&tokens.access).await.status, 201);
    assert_eq!(ada.removes_passkey(&tokens.access, &id).await.status, 200);
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
}

// Requirement 72.
#[rstest]
#[tokio::test]
async fn the_removal_of_an_unknown_passkey_ends_no_session(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = verified_user(&stack, "Ada").await;
    let (tokens, other) = (ada.signs_in().await, ada.signs_in().await);
    let reply = ada.removes_passkey(&tokens.access, "00000000-0000-0000-0000-000000000000").await;
    reply.assert_refused(404, "passkey_not_found", "Passkey not found");
    assert_eq!(ada.dashboard(&other.access).await.status, 200);
}

// Requirement 72.
#[rstest]
#[tokio::test]
async fn no_session_that_a_passkey_opens_outlives_its_removal(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(6).start().await;
    let ada = verified_user(&stack, "Ada").await;
    for _ in 0..4 {
        let (mut device, tokens) = (Device::new(), ada.signs_in().await);
        let id = ada.adds_passkey_of(&mut device, &tokens.access).await.text_at("id");
        let mut assertions = Vec::new();
        for _ in 0..12 {
            assertions.push(device.signs(&ada.passkey_options().await).await);
        }
        let sign_ins = join_all(assertions.iter().map(|assertion| ada.signs_in_with_assertion(assertion)));
        let (opened, removed) = tokio::join!(sign_ins, ada.removes_passkey(&tokens.access, &id));
        assert_eq!(removed.status, 200);
        for reply in opened.iter().filter(|reply| reply.status == 200) {
            assert_eq!(ada.dashboard(&Tokens::from(reply).access).await.status, 401);
        }
        assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    }
}
