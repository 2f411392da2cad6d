//! Reads mails from the local stand-in for SES.

use std::time::{Duration, Instant};

use serde_json::Value;
use url::Url;

use crate::server;

/// The subject of the mail with a link to reset the password.
pub const RESET: &str = "Reset your password";
/// The subject of the notice that the password was changed.
pub const PASSWORD_CHANGED: &str = "Your password was changed";
/// The subject of the notice that somebody tried to sign up with the address.
pub const SIGN_UP_ATTEMPTED: &str = "Somebody tried to sign up with your address";
/// The subject of the mail that proves a new address.
pub const EMAIL_CHANGE: &str = "Verify your new email address";
/// The subject of the notice of a requested change of the address.
pub const EMAIL_CHANGE_REQUESTED: &str = "A new email address was requested for your account";
/// The subject of the mail with a link that undoes a change of the address.
pub const EMAIL_CHANGED: &str = "The email address of your account was changed";
/// The subject of the notice with the link that removes a new authenticator.
pub const TOTP_ADDED: &str = "An authenticator app was added to your account";
/// The subject of the notice with the link that removes a new passkey.
pub const PASSKEY_ADDED: &str = "A passkey was added to your account";
/// The subject of the notice that a passkey was rejected because of its signature counter.
pub const PASSKEY_COPIED: &str = "There may be a copy of your passkey";
/// The subject of the notice that a change of the address was undone.
pub const EMAIL_RESTORED: &str = "The change of your email address was undone";

/// A mail that SES accepted.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The subject.
    pub subject: String,
    /// The sender.
    pub from: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

impl Mail {
    /// The token in the mail's link.
    #[must_use]
    pub fn token(&self) -> String {
        let link = self.link();
        link.rsplit('/').next().expect("a link has a path").to_owned()
    }

    /// The code in a mail that verifies an address.
    #[must_use]
    pub fn code(&self) -> String {
        let is_code = |word: &&str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_digit());
        let codes = self.text.split(|character: char| !character.is_alphanumeric()).filter(is_code).collect::<Vec<_>>();
        assert_eq!(codes.len(), 1, "expected one code in {}", self.text);
        codes[0].to_owned()
    }

    /// The link in the text part.
    #[must_use]
    pub fn link(&self) -> String {
        let links = self.text.split_whitespace().filter(|word| word.starts_with("http")).collect::<Vec<_>>();
        assert_eq!(links.len(), 1, "expected one link in {}", self.text);
        links[0].to_owned()
    }
}

/// The mails an address has received, oldest first.
pub async fn mails_to(address: &str) -> Vec<Mail> {
    let store = Url::parse_with_params(&format!("{}/store", server("TEST_SES_URL")), [("to", address)]);
    let reply = reqwest::get(store.expect("the URL of the local SES")).await.expect("the local SES answers");
    let mut mails: Vec<Value> = reply.json().await.expect("a list of mails");
    mails.sort_by_key(|mail| mail["at"].as_u64());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mail = |mail: &Value| Mail {
        subject: text(&mail["subject"]),
        from: text(&mail["from"]),
        text: text(&mail["body"]["text"]),
        html: text(&mail["body"]["html"]),
    };
    mails.iter().map(mail).collect()
}

/// Waits until an address has received `count` mails, and returns them.
pub async fn wait_for(address: &str, count: usize) -> Vec<Mail> {
    let mails = try_to_wait_for(address, count, Duration::from_secs(5)).await;
    mails.unwrap_or_else(|| panic!("{address} did not receive {count} mail(s)"))
}

/// Waits for `count` mails up to `time`, and returns `None` if they have not arrived by then.
pub(crate) async fn try_to_wait_for(address: &str, count: usize, time: Duration) -> Option<Vec<Mail>> {
    let began = Instant::now();
    loop {
        let mails = mails_to(address).await;
        if mails.len() >= count {
            assert_eq!(mails.len(), count, "more mails than expected");
            return Some(mails);
        }
        if began.elapsed() > time {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
