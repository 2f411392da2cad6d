//! The authenticator app of a person, and the requests about second factors.

use data_encoding::BASE32_NOPAD;
use reqwest::Method;
use serde_json::{Value, json};
use shared::security::TotpSecret;

use crate::{Person, Reply, Tokens, functions::SOURCE, stored_sessions::now_in_millis};

/// An authenticator app with the secret of an account.
pub struct Authenticator(TotpSecret);

/// What the confirmation of an authenticator returned.
pub struct Added {
    /// The authenticator.
    pub app: Authenticator,
    /// The tokens of the new session.
    pub tokens: Tokens,
    /// The ten recovery codes.
    pub recovery_codes: Vec<String>,
}

impl Authenticator {
    /// An app that has read the secret of an enrolment.
    #[must_use]
    #[track_caller]
    pub fn of(enrolment: &Reply) -> Self {
        assert_eq!(enrolment.status, 201, "{}", enrolment.text);
        let secret = BASE32_NOPAD.decode(enrolment.text_at("secret").as_bytes()).expect("base32");
        Self(TotpSecret::from_bytes(secret.into()))
    }

    /// The code of the current step.
    #[must_use]
    pub fn code(&self) -> String {
        self.code_in(0)
    }

    /// The code that is current in this number of steps.
    #[must_use]
    pub fn code_in(&self, steps: i64) -> String {
        self.0.code(now_in_millis() / 30_000 + steps)
    }

    /// A code that is wrong in all steps near the current one.
    #[must_use]
    pub fn wrong_code(&self) -> String {
        let near: Vec<_> = (-2..=3).map(|steps| self.code_in(steps)).collect();
        let mut codes = (0..).map(|code| format!("{code:06}"));
        codes.find(|code| !near.contains(code)).expect("one of seven codes")
    }
}

impl Person<'_> {
    /// Verifies the address, as if a mail had done it. The sessions that are open already do not know it if they are in DynamoDB.
    pub async fn has_verified(&self) {
        let verify = format!("UPDATE users SET email_verified_at = now() WHERE email = '{}'", self.email);
        self.stack().sql(&verify).await;
    }

    /// Begins the enrolment of an authenticator.
    pub async fn enrols_totp(&self, access_token: &str) -> Reply {
        self.stack().with_token(Method::POST, "/api/totp", access_token).await
    }

    /// Confirms the enrolment with a code.
    pub async fn confirms_totp(&self, access_token: &str, code: &str) -> Reply {
        self.sends(Method::POST, "/api/totp/confirm", access_token, json!({ "code": code })).await
    }

    /// Removes the authenticator.
    pub async fn removes_totp(&self, access_token: &str) -> Reply {
        self.stack().with_token(Method::DELETE, "/api/totp", access_token).await
    }

    /// Signs in, and adds an authenticator. The address must be verified.
    pub async fn adds_totp(&self) -> Added {
        let access = self.signs_in().await.access;
        let app = Authenticator::of(&self.enrols_totp(&access).await);
        let reply = self.confirms_totp(&access, &app.code()).await;
        let tokens = Tokens::from(&reply);
        let codes = reply.json()["recovery_codes"].as_array().cloned().expect("recovery codes");
        let recovery_codes = codes.iter().map(|code| code.as_str().expect("a text").to_owned()).collect();
        self.may_reuse_codes().await;
        Added { app, tokens, recovery_codes }
    }

    /// Forgets which codes were used, so that a test need not wait for the next step.
    pub async fn may_reuse_codes(&self) {
        self.stack().sql("UPDATE totp SET last_step = 0").await;
    }

    /// Signs in with the right password, and returns the token for the second factor.
    pub async fn signs_in_halfway(&self) -> String {
        let reply = self.tries_to_sign_in().await;
        assert_eq!((reply.status, &*reply.text_at("code")), (401, "second_factor_required"), "{}", reply.text);
        reply.text_at("mfa_token")
    }

    /// Shows a factor, such as `{"totp": "123456"}`, for a sign-in.
    pub async fn shows_factor(&self, mfa_token: &str, factor: &Value) -> Reply {
        let mut body = json!({ "mfa_token": mfa_token });
        body.as_object_mut().expect("an object").extend(factor.as_object().expect("an object").clone());
        let path = "/api/signin/second-factor";
        self.stack().send(Method::POST, path, |request| request.header(SOURCE, &self.source).json(&body)).await
    }

    /// Signs in with the password and a code of the authenticator.
    pub async fn signs_in_with_totp(&self, app: &Authenticator) -> Reply {
        let token = self.signs_in_halfway().await;
        self.shows_factor(&token, &json!({ "totp": app.code() })).await
    }

    /// Reauthenticates with a factor, such as `{"totp": "123456"}`.
    pub async fn reauthenticates_with(&self, access_token: &str, factor: Value) -> Reply {
        self.sends(Method::POST, "/api/reauthenticate", access_token, factor).await
    }

    /// Asks how many recovery codes are left.
    pub async fn recovery_codes_left(&self, access_token: &str) -> Reply {
        self.stack().with_token(Method::GET, "/api/recovery-codes", access_token).await
    }

    /// Replaces the recovery codes.
    pub async fn replaces_recovery_codes(&self, access_token: &str) -> Reply {
        self.stack().with_token(Method::POST, "/api/recovery-codes", access_token).await
    }

    /// Removes a new factor with the token of the notice about it.
    pub async fn undoes_factor(&self, token: &str) -> Reply {
        let path = format!("/api/undo-factor/{token}");
        self.stack().send(Method::POST, &path, |request| request.header(SOURCE, &self.source)).await
    }
}
