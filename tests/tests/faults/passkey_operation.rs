//! The requests about passkeys that faults interrupt.

use serde_json::{Value, json};
use tests::{Person, Reply, Stack, Tokens, mailbox::PASSKEY_ADDED, passkey::Device};
use tokio::sync::Mutex;

/// A request about a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasskeyOperation {
    Add,
    Remove,
    SignIn,
    Show,
    Reauthenticate,
}

/// What a person needs for such a request.
pub struct WithPasskey {
    device: Mutex<Device>,
    /// What the device has returned for the request.
    response: Value,
    /// The tokens of a session.
    tokens: Tokens,
    /// The tokens of another session of the same person.
    other: Tokens,
    /// The id of the passkey, or the token of a sign-in that waits for it.
    handle: String,
}

impl PasskeyOperation {
    pub fn function(self) -> &'static str {
        match self {
            Self::Add | Self::Remove => "passkeys",
            Self::SignIn => "signin-passkey",
            Self::Show => "signin-second-factor",
            Self::Reauthenticate => "reauthenticate",
        }
    }

    pub async fn prepare(self, stack: &Stack, ada: &Person<'_>) -> WithPasskey {
        ada.has_verified().await;
        let (tokens, mut device) = (ada.signs_in().await, Device::new());
        if self == Self::Add {
            let other = ada.signs_in().await;
            let response = device.creates(&ada.begins_passkey(&tokens.access).await.json()).await;
            return WithPasskey { device: Mutex::new(device), response, tokens, other, handle: String::new() };
        }
        let id = ada.adds_passkey_of(&mut device, &tokens.access).await.text_at("id");
        let other = Tokens::from(&ada.signs_in_with_passkey(&mut device).await);
        if self == Self::Reauthenticate {
            stack.sessions().move_auth_time_back(601).await;
        }
        let (handle, options) = match self {
            Self::Show => ada.signs_in_halfway_for_passkey().await,
            Self::Reauthenticate => (id, ada.reauthentication_options(&tokens.access).await.json()),
            _ => (id, ada.passkey_options().await),
        };
        let response = device.signs(&options).await;
        WithPasskey { device: Mutex::new(device), response, tokens, other, handle }
    }

    pub async fn send(self, ada: &Person<'_>, with: &WithPasskey) -> Reply {
        let (access, response) = (&*with.tokens.access, &with.response);
        match self {
            Self::Add => ada.adds_created_passkey(access, "Phone", response).await,
            Self::Remove => ada.removes_passkey(access, &with.handle).await,
            Self::SignIn => ada.signs_in_with_assertion(response).await,
            Self::Show => ada.shows_factor(&with.handle, &json!({ "passkey": response })).await,
            Self::Reauthenticate => ada.reauthenticates_with(access, json!({ "passkey": response })).await,
        }
    }

    /// Asserts that the operation was done completely, after a retry got this answer.
    pub async fn assert_completed(self, stack: &Stack, ada: &Person<'_>, with: &WithPasskey, reply: &Reply) {
        let mut device = with.device.lock().await;
        stack.send_owed_mails().await;
        match (self, reply.status) {
            // 400 or 401 if the first request has added the passkey: it has used the challenge up, and may have ended the session.
            (Self::Add, 201 | 400 | 401) => {
                assert_ended(ada, &with.other).await;
                let reply = ada.signs_in_with_passkey(&mut device).await;
                let access = Tokens::from(&reply).access;
                assert_eq!(ada.lists_passkeys(&access).await.json()["passkeys"].as_array().unwrap().len(), 1);
                assert_eq!(ada.replaces_recovery_codes(&access).await.status, 201);
                assert!(ada.newest_mail(PASSKEY_ADDED).await.link().contains("undo-factor"));
            }
            // 404 if the first request has removed the passkey. 401 if it could not keep the session in DynamoDB.
            (Self::Remove, 200 | 404 | 401) => {
                assert_ended(ada, &with.other).await;
                let is_kept = ada.dashboard(&with.tokens.access).await.status == 200;
                assert_eq!(is_kept, reply.status != 401);
                ada.signs_in().await;
                ada.newest_mail("A passkey was removed from your account").await;
            }
            // 400 or 401 if the first request has used the challenge or the token up. Then the user signs in again.
            (Self::SignIn, 200 | 400) | (Self::Show, 200 | 400 | 401) => {
                let (token, options) = ada.signs_in_halfway_for_passkey().await;
                let assertion = device.signs(&options).await;
                assert_eq!(ada.shows_factor(&token, &json!({ "passkey": assertion })).await.status, 200);
                assert_eq!(ada.signs_in_with_passkey(&mut device).await.status, 200);
            }
            (Self::Reauthenticate, 200 | 400) => {
                let options = ada.reauthentication_options(&with.tokens.access).await.json();
                let assertion = device.signs(&options).await;
                let again = ada.reauthenticates_with(&with.tokens.access, json!({ "passkey": assertion })).await;
                assert_eq!(ada.ends_other_sessions(&Tokens::from(&again).access).await.status, 200);
            }
            (_, status) => panic!("{self:?}: the retry was answered with {status} {}", reply.text),
        }
    }
}

async fn assert_ended(ada: &Person<'_>, tokens: &Tokens) {
    assert_eq!(ada.dashboard(&tokens.access).await.status, 401);
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
}
