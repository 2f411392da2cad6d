//! Somebody who uses the service.

use std::time::Duration;

use reqwest::Method;
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
    /// The name they sign up with.
    pub name: String,
    /// Their address.
    pub email: String,
    /// Their password, as they believe it to be.
    pub password: String,
    /// The address they come from.
    pub source: String,
}

/// What a sign-in or a refresh gave.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// For protected routes.
    pub access: String,
    /// For `refresh`.
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

    /// The same person, with another password in mind.
    #[must_use]
    pub fn with_password(&self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self.clone() }
    }

    /// The same person, writing their address differently.
    #[must_use]
    pub fn with_email(&self, email: &str) -> Self {
        Self { email: email.to_owned(), ..self.clone() }
    }

    /// The same person, somewhere else.
    #[must_use]
    pub fn at(&self, source: &str) -> Self {
        Self { source: source.to_owned(), ..self.clone() }
    }

    async fn posts(&self, path: &str, body: Value) -> Reply {
        self.stack.send(Method::POST, path, |request| request.header(SOURCE, &self.source).json(&body)).await
    }

    fn credentials(&self) -> Value {
        json!({ "email": self.email, "password": self.password })
    }

    /// Signs up.
    pub async fn signs_up(&self) -> Reply {
        let body = json!({ "name": self.name, "email": self.email, "password": self.password });
        self.posts("/api/signup", body).await
    }

    /// Tries to sign in.
    pub async fn tries_to_sign_in(&self) -> Reply {
        self.posts("/api/signin", self.credentials()).await
    }

    /// Signs in.
    pub async fn signs_in(&self) -> Tokens {
        Tokens::from(&self.tries_to_sign_in().await)
    }

    /// Looks at the dashboard with an access token.
    pub async fn dashboard(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::GET, "/api/dashboard", access_token).await
    }

    /// Presents a refresh token.
    pub async fn refreshes(&self, refresh_token: &str) -> Reply {
        self.stack.with_token(Method::POST, "/api/refresh", refresh_token).await
    }

    /// Logs out.
    pub async fn logs_out(&self, access_token: &str) -> Reply {
        self.stack.with_token(Method::POST, "/api/logout", access_token).await
    }

    /// Asks for a reset mail.
    pub async fn forgets_password(&self) -> Reply {
        self.posts("/api/forgot-password", json!({ "email": self.email })).await
    }

    /// Asks for a reset mail and reads the newest of the `count` mails there are now.
    pub async fn receives_reset_mail(&self, count: usize) -> Mail {
        assert_eq!(self.forgets_password().await.status, 200);
        self.mails(count).await.pop().expect("a mail")
    }

    /// The `count` mails this person has received. What a request had no time for on a busy machine comes by the next sweep, as it does in
    /// service.
    pub async fn mails(&self, count: usize) -> Vec<Mail> {
        if let Some(mails) = mailbox::wait_a_while_for(&self.email, count, Duration::from_secs(1)).await {
            return mails;
        }
        self.stack.mails_become_due().await;
        self.stack.sweep().await;
        mailbox::wait_for(&self.email, count).await
    }

    /// Sets a new password with a reset token.
    pub async fn resets_password(&self, token: &str, password: &str) -> Reply {
        self.posts(&format!("/api/reset-password/{token}"), json!({ "password": password })).await
    }
}

impl Reply {
    /// Asserts that an account was made.
    #[track_caller]
    pub fn assert_created(&self) {
        assert_eq!((self.status, self.json()), (201, json!({ "message": "User created successfully" })));
    }
}
