//! A user of the service, and the requests they send.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    Reply, Stack,
    functions::SOURCE,
    mailbox::{self, Mail},
};

/// A person with a name, an address and a password.
#[derive(Clone)]
pub struct Person<'a> {
    stack: &'a Stack,
    /// The name for the sign-up.
    pub name: String,
    /// The email address.
    pub email: String,
    /// The password that the next sign-up or sign-in sends.
    pub password: String,
    /// The IP address that requests come from.
    pub source: String,
}

/// The tokens that a sign-in or a refresh returned.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

impl Tokens {
    /// The tokens of a successful reply.
    #[must_use]
    #[track_caller]
    pub fn from(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{}", reply.text);
        Self { access: reply.text_at("access_token"), refresh: reply.text_at("refresh_token") }
    }
}

impl<'a> Person<'a> {
    pub(crate) fn new(stack: &'a Stack, name: &str, email: &str) -> Self {
        Self {
            stack,
            name: name.to_owned(),
            email: email.to_owned(),
            password: "password123".to_owned(),
            source: "203.0.113.7".to_owned(),
        }
    }

    /// The same person, who sends another password.
    #[must_use]
    pub fn with_password(&self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self.clone() }
    }

    /// The same person, who sends another email address.
    #[must_use]
    pub fn with_email(&self, email: &str) -> Self {
        Self { email: email.to_owned(), ..self.clone() }
    }

    /// The same person, at another IP address.
    #[must_use]
    pub fn from_source(&self, source: &str) -> Self {
        Self { source: source.to_owned(), ..self.clone() }
    }

    /// The stack that the person uses.
    pub(crate) fn stack(&self) -> &'a Stack {
        self.stack
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.stack.send(Method::POST, path, |request| request.header(SOURCE, &self.source).json(&body)).await
    }

    fn credentials(&self) -> Value {
        json!({ "email": self.email, "password": self.password })
    }

    /// Signs up.
    pub async fn signs_up(&self) -> Reply {
        let body = json!({ "name": self.name, "email": self.email, "password": self.password });
        self.post("/api/signup", body).await
    }

    /// Sends a sign-in, which may be refused.
    pub async fn tries_to_sign_in(&self) -> Reply {
        self.post("/api/signin", self.credentials()).await
    }

    /// Signs in successfully.
    pub async fn signs_in(&self) -> Tokens {
        Tokens::from(&self.tries_to_sign_in().await)
    }

    /// Requests the dashboard with an access token.
    pub async fn dashboard(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::GET, "/api/dashboard", access_token).await
    }

    /// Sends a refresh token.
    pub async fn refreshes(&self, refresh_token: &str) -> Reply {
        self.stack.with_token(Method::POST, "/api/refresh", refresh_token).await
    }

    /// Logs out.
    pub async fn logs_out(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::POST, "/api/logout", access_token).await
    }

    /// Requests the account.
    pub async fn account(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::GET, "/api/account", access_token).await
    }

    /// Requests everything that is stored about this person.
    pub async fn exports_account(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::GET, "/api/account/export", access_token).await
    }

    /// Changes fields of the account.
    pub async fn changes_account(&self, access_token: &str, changes: Value) -> Reply {
        self.sends(Method::PATCH, "/api/account", access_token, changes).await
    }

    /// Deletes the account.
    pub async fn deletes_account(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::DELETE, "/api/account", access_token).await
    }

    /// Deletes the account, waits until this person has received `count` mails in all, and returns the token in the newest, which keeps the account.
    pub async fn deletes_account_with_mail(&self, access_token: &str, count: usize) -> String {
        let reply = self.deletes_account(access_token).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        let mail = self.mails(count).await.pop().expect("a mail");
        assert_eq!(mail.subject, "Your account will be erased");
        mail.token()
    }

    /// Keeps the deleted account, with the token of the mail.
    pub async fn keeps_account(&self, token: &str) -> Reply {
        let path = format!("/api/keep-account/{token}");
        self.stack.send(Method::POST, &path, |request| request.header(SOURCE, &self.source)).await
    }

    /// Changes the password.
    pub async fn changes_password(&self, access_token: &str, new_password: &str) -> Reply {
        let passwords = json!({ "current_password": self.password, "new_password": new_password });
        self.sends(Method::POST, "/api/change-password", access_token, passwords).await
    }

    /// Requests a change of the address.
    pub async fn requests_email_change(&self, access_token: &str, new_email: &str) -> Reply {
        self.sends(Method::POST, "/api/change-email", access_token, json!({ "email": new_email })).await
    }

    /// Changes the address with the token of the mail to the new address, and this person's password.
    pub async fn changes_email(&self, token: &str) -> Reply {
        self.post(&format!("/api/change-email/{token}"), json!({ "password": self.password })).await
    }

    /// Undoes a change of the address with the token of the mail to the earlier address.
    pub async fn undoes_email_change(&self, token: &str) -> Reply {
        let path = format!("/api/undo-email-change/{token}");
        self.stack.send(Method::POST, &path, |request| request.header(SOURCE, &self.source)).await
    }

    /// Proves the password again.
    pub async fn reauthenticates(&self, access_token: &str) -> Reply {
        let password = json!({ "password": self.password });
        self.sends(Method::POST, "/api/reauthenticate", access_token, password).await
    }

    /// Requests the list of sessions.
    pub async fn sessions(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::GET, "/api/sessions", access_token).await
    }

    /// Ends the session with this id.
    pub async fn ends_session(&self, access_token: &str, id: &str) -> Reply {
        self.stack.with_token(Method::DELETE, &format!("/api/sessions/{id}"), access_token).await
    }

    /// Ends all other sessions.
    pub async fn ends_other_sessions(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::DELETE, "/api/sessions", access_token).await
    }

    /// Sends a body with an access token.
    pub async fn sends(&self, method: Method, path: &str, access_token: &str, body: Value) -> Reply {
        let fill_in =
            |request: RequestBuilder| request.header(SOURCE, &self.source).bearer_auth(access_token).json(&body);
        self.stack.send(method, path, fill_in).await
    }

    /// Requests another verification mail.
    pub async fn requests_verification_mail(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::POST, "/api/verify-email/send", access_token).await
    }

    /// Verifies the address with a code, in a session.
    pub async fn verifies_by_code(&self, access_token: &str, code: &str) -> Reply {
        self.sends(Method::POST, "/api/verify-email", access_token, json!({ "code": code })).await
    }

    /// Verifies the address with the token of a link, and the password.
    pub async fn verifies_by_link(&self, token: &str) -> Reply {
        self.post(&format!("/api/verify-email/{token}"), json!({ "password": self.password })).await
    }

    /// Requests a reset mail.
    pub async fn forgets_password(&self) -> Reply {
        self.post("/api/forgot-password", json!({ "email": self.email })).await
    }

    /// Requests a reset mail, waits until this person has received `count` mails in all, and returns the newest.
    pub async fn receives_reset_mail(&self, count: usize) -> Mail {
        assert_eq!(self.forgets_password().await.status, 200);
        self.mails(count).await.pop().expect("a mail")
    }

    /// Requests a reset mail, and returns the token in it.
    pub async fn newest_reset_link(&self) -> String {
        assert_eq!(self.forgets_password().await.status, 200);
        self.newest_mail(mailbox::RESET).await.token()
    }

    /// Waits until this person has received `count` mails, and returns them. On a busy machine a request may have no time left to send its
    /// mail; then this method sends it.
    pub async fn mails(&self, count: usize) -> Vec<Mail> {
        if let Some(mails) = mailbox::try_to_wait_for(&self.email, count, Duration::from_secs(1)).await {
            return mails;
        }
        self.stack.send_owed_mails().await;
        mailbox::wait_for(&self.email, count).await
    }

    /// The newest mail with this subject to this person. The requests before have tried to send their mails, and this method sends those that
    /// they could not send.
    pub async fn newest_mail(&self, subject: &str) -> Mail {
        self.stack.send_owed_mails().await;
        let mails = mailbox::mails_to(&self.email).await;
        let newest = mails.into_iter().rfind(|mail| mail.subject == subject);
        newest.unwrap_or_else(|| panic!("{} got no mail `{subject}`", self.email))
    }

    /// Sets a new password with a reset token.
    pub async fn resets_password(&self, token: &str, password: &str) -> Reply {
        self.post(&format!("/api/reset-password/{token}"), json!({ "password": password })).await
    }
}

impl Reply {
    /// Asserts that an account was created.
    #[track_caller]
    pub fn assert_created(&self) {
        assert_eq!((self.status, self.json()), (201, json!({ "message": "User created successfully" })));
    }
}
