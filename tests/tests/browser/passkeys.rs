//! Passkeys in Chromium, with its virtual authenticator.

use fantoccini::Client;
use serde_json::{Value, json};
use tests::{Person, Reply, Stack, Tokens, jwt::claims, mailbox::PASSKEY_COPIED};

use crate::browser::{devtools, open_browser};

/// A browser with a virtual authenticator.
struct Device {
    browser: Client,
    authenticator: Value,
}

impl Device {
    /// A browser on a page of the stack. `properties` are those of the authenticator that differ from those of a phone.
    async fn open(stack: &Stack, properties: Value) -> Self {
        let browser = open_browser().await;
        browser.goto(&page_of(stack, "localhost")).await.unwrap();
        devtools(&browser, "WebAuthn.enable", json!({})).await;
        let mut options = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true, "isUserVerified": true,
        });
        options.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        let added = devtools(&browser, "WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await;
        Self { browser, authenticator: added["authenticatorId"].clone() }
    }

    /// Creates a passkey as a page does, or returns the name of the error.
    async fn creates(&self, options: &Value) -> Result<Value, String> {
        self.asks("create", "parseCreationOptionsFromJSON", options).await
    }

    /// Signs as a page does, or returns the name of the error.
    async fn signs(&self, options: &Value) -> Result<Value, String> {
        self.asks("get", "parseRequestOptionsFromJSON", options).await
    }

    async fn asks(&self, method: &str, parse: &str, options: &Value) -> Result<Value, String> {
        let script = format!(
            "const [options, done] = arguments;
            navigator.credentials.{method}({{ publicKey: PublicKeyCredential.{parse}(options) }}).then(
                (credential) => done({{ credential: credential.toJSON() }}),
                (error) => done({{ error: error.name }}),
            );"
        );
        let result = self.browser.execute_async(&script, vec![options.clone()]).await.unwrap();
        match &result["error"] {
            Value::String(error) => Err(error.clone()),
            _ => Ok(result["credential"].clone()),
        }
    }

    /// Sends a command about the authenticator.
    async fn set(&self, method: &'static str, mut parameters: Value) -> Value {
        parameters["authenticatorId"] = self.authenticator.clone();
        devtools(&self.browser, method, parameters).await
    }

    /// The passkey of the authenticator, as Chromium describes it.
    async fn credential(&self) -> Value {
        self.set("WebAuthn.getCredentials", json!({})).await["credentials"][0].clone()
    }

    async fn close(self) {
        self.browser.close().await.unwrap();
    }
}

/// A page of the stack, below this host name.
fn page_of(stack: &Stack, host: &str) -> String {
    format!("{}/reset-password/x", stack.base_url.replace("127.0.0.1", host))
}

async fn stack() -> Stack {
    Stack::builder().with_passkeys_of_its_own_pages().start().await
}

async fn verified_user<'a>(stack: &'a Stack, name: &str) -> Person<'a> {
    let person = stack.user(name).await;
    person.has_verified().await;
    person
}

/// A person who has added a passkey of the device. Returns the person and the access token of the session.
async fn with_passkey<'a>(stack: &'a Stack, device: &Device) -> (Person<'a>, String) {
    let ada = verified_user(stack, "Ada").await;
    let access = ada.signs_in().await.access;
    let created = device.creates(&ada.begins_passkey(&access).await.json()).await.expect("a passkey");
    let added = ada.adds_created_passkey(&access, "Phone", &created).await;
    assert_eq!(added.status, 201, "{}", added.text);
    (ada, access)
}

async fn signs_in(ada: &Person<'_>, device: &Device) -> Reply {
    let assertion = device.signs(&ada.passkey_options().await).await.expect("an assertion");
    ada.signs_in_with_assertion(&assertion).await
}

#[track_caller]
fn assert_rejected(reply: &Reply) {
    reply.assert_refused(400, "passkey_rejected", "Passkey rejected");
}

// Requirements 69, 70, 75, 76.
#[tokio::test]
async fn a_browser_adds_a_passkey_signs_in_with_it_and_reauthenticates() {
    let stack = stack().await;
    let device = Device::open(&stack, json!({})).await;
    let (ada, access) = with_passkey(&stack, &device).await;
    let options = ada.passkey_options().await;
    let assertion = device.signs(&options).await.unwrap();
    let alone = Tokens::from(&ada.signs_in_with_assertion(&assertion).await);
    assert_eq!(claims(&alone.access)["amr"], json!(["pop", "user"]));
    assert_rejected(&ada.signs_in_with_assertion(&assertion).await);

    let (token, options) = ada.signs_in_halfway_for_passkey().await;
    let assertion = device.signs(&options).await.unwrap();
    let both = Tokens::from(&ada.shows_factor(&token, &json!({ "passkey": assertion })).await);
    assert_eq!(claims(&both.access)["amr"], json!(["pwd", "pop"]));

    stack.sessions().move_auth_time_back(3600).await;
    assert_eq!(ada.begins_passkey(&access).await.text_at("code"), "reauthentication_required");
    let assertion = device.signs(&ada.reauthentication_options(&access).await.json()).await.unwrap();
    let renewed = Tokens::from(&ada.reauthenticates_with(&access, json!({ "passkey": assertion })).await);
    // The browser does not create a second passkey in an authenticator that already has one of the account.
    let options = ada.begins_passkey(&renewed.access).await.json();
    assert_eq!(device.creates(&options).await, Err("InvalidStateError".to_owned()));
    device.close().await;
}

// Requirement 69.
#[tokio::test]
async fn an_authenticator_that_did_not_verify_the_user_or_signs_wrongly_is_rejected() {
    let stack = stack().await;
    let device = Device::open(&stack, json!({})).await;
    let (ada, _) = with_passkey(&stack, &device).await;
    for fault in ["isBadUV", "isBadUP", "isBogusSignature"] {
        device.set("WebAuthn.setResponseOverrideBits", json!({ fault: true })).await;
        assert_rejected(&signs_in(&ada, &device).await);
        device.set("WebAuthn.setResponseOverrideBits", json!({ fault: false })).await;
        assert_eq!(signs_in(&ada, &device).await.status, 200, "without {fault}");
    }
    // The options require verification, so the browser itself refuses.
    device.set("WebAuthn.setUserVerified", json!({ "isUserVerified": false })).await;
    assert_eq!(device.signs(&ada.passkey_options().await).await, Err("NotAllowedError".to_owned()));
    device.close().await;
}

// Requirement 69.
#[tokio::test]
async fn a_page_of_another_origin_and_another_relying_party_are_rejected() {
    let (stack, other) = (stack().await, stack().await);
    let device = Device::open(&stack, json!({})).await;
    let (ada, access) = with_passkey(&stack, &device).await;
    // Another port is another origin, although it may use the passkeys of the same RP ID.
    device.browser.goto(&page_of(&other, "localhost")).await.unwrap();
    assert_rejected(&signs_in(&ada, &device).await);
    // On a page of another domain, the browser refuses the RP ID.
    device.browser.goto(&page_of(&stack, "app.localhost")).await.unwrap();
    let mut options = ada.begins_passkey(&access).await.json();
    options["excludeCredentials"] = json!([]);
    options["rp"]["id"] = json!("app.localhost");
    let created = device.creates(&options).await.expect("a passkey of another relying party");
    assert_rejected(&ada.adds_created_passkey(&access, "Phone", &created).await);
    let mut options = ada.passkey_options().await;
    options["rpId"] = json!("app.localhost");
    let assertion = device.signs(&options).await.expect("an assertion for another relying party");
    assert_rejected(&ada.signs_in_with_assertion(&assertion).await);
    device.close().await;
}

// Requirement 69.
#[tokio::test]
async fn a_copied_passkey_is_noticed_by_its_counter() {
    let stack = stack().await;
    let device = Device::open(&stack, json!({})).await;
    let (ada, _) = with_passkey(&stack, &device).await;
    let copy = device.credential().await;
    for _ in 0..3 {
        assert_eq!(signs_in(&ada, &device).await.status, 200);
    }
    device.set("WebAuthn.clearCredentials", json!({})).await;
    device.set("WebAuthn.addCredential", json!({ "credential": copy })).await;
    assert_rejected(&signs_in(&ada, &device).await);
    ada.newest_mail(PASSKEY_COPIED).await;
    device.close().await;
}

// Requirement 69.
#[tokio::test]
async fn a_backed_up_passkey_is_listed_as_such_and_must_stay_eligible() {
    let stack = stack().await;
    let device = Device::open(&stack, json!({ "defaultBackupEligibility": true, "defaultBackupState": false })).await;
    let (ada, access) = with_passkey(&stack, &device).await;
    let is_backed_up = async || ada.lists_passkeys(&access).await.json()["passkeys"][0]["backed_up"].clone();
    assert_eq!(is_backed_up().await, json!(false));
    let id = device.credential().await["credentialId"].clone();
    let set = async |name: &str, value: bool| {
        device.set("WebAuthn.setCredentialProperties", json!({ "credentialId": id, name: value })).await;
    };
    set("backupState", true).await;
    assert_eq!(signs_in(&ada, &device).await.status, 200);
    assert_eq!(is_backed_up().await, json!(true));
    set("backupState", false).await;
    set("backupEligibility", false).await;
    assert_rejected(&signs_in(&ada, &device).await);
    device.close().await;
}

// Requirement 69.
#[tokio::test]
async fn a_passkey_must_be_resident_and_a_security_key_without_verification_does_not_suffice() {
    let stack = stack().await;
    let ada = verified_user(&stack, "Ada").await;
    let access = ada.signs_in().await.access;
    for lacks in ["hasResidentKey", "hasUserVerification"] {
        let device = Device::open(&stack, json!({ "transport": "usb", lacks: false, "isUserVerified": false })).await;
        let options = ada.begins_passkey(&access).await.json();
        let error = device.creates(&options).await.expect_err("the browser finds no such authenticator");
        assert!(["NotAllowedError", "ConstraintError"].contains(&&*error), "{lacks}: {error}");
        device.close().await;
    }
    // A key that the authenticator does not store can be created if a page asks for it, but it cannot name the account.
    let device = Device::open(&stack, json!({})).await;
    let mut options = ada.begins_passkey(&access).await.json();
    options["authenticatorSelection"] = json!({ "residentKey": "discouraged", "userVerification": "required" });
    let created = device.creates(&options).await.expect("a key that is not resident");
    assert_eq!(ada.adds_created_passkey(&access, "Key", &created).await.status, 201);
    assert_eq!(device.signs(&ada.passkey_options().await).await, Err("NotAllowedError".to_owned()));
    let (token, options) = ada.signs_in_halfway_for_passkey().await;
    let assertion = device.signs(&options).await.expect("an assertion");
    assert_eq!(ada.shows_factor(&token, &json!({ "passkey": assertion })).await.status, 200);
    device.close().await;
}
