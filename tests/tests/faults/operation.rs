//! The requests that faults interrupt, and what a client may expect of a retry.

use tests::{Person, Reply, Stack, Tokens, mailbox};

/// A request that a fault interrupts.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    SignUp,
    SignIn,
    Refresh,
    LogOut,
    ForgotPassword,
    ResetPassword,
}

/// A person with the tokens that an operation needs.
pub struct Client<'a> {
    pub ada: Person<'a>,
    pub tokens: Option<Tokens>,
    /// The token in the link of the reset mail.
    pub reset_token: Option<String>,
}

pub const NEW_PASSWORD: &str = "another password";

impl Operation {
    pub fn function(self) -> &'static str {
        match self {
            Self::SignUp => "signup",
            Self::SignIn => "signin",
            Self::Refresh => "refresh",
            Self::LogOut => "logout",
            Self::ForgotPassword => "forgot-password",
            Self::ResetPassword => "reset-password",
        }
    }

    pub async fn prepare(self, stack: &Stack) -> Client<'_> {
        let ada = match self {
            Self::SignUp => stack.stranger("Ada"),
            _ => stack.user("Ada").await,
        };
        let tokens = match self {
            Self::Refresh | Self::LogOut | Self::ResetPassword => Some(ada.signs_in().await),
            _ => None,
        };
        let reset_token = match self {
            Self::ResetPassword => Some(ada.receives_reset_mail(1).await.reset_token()),
            _ => None,
        };
        Client { ada, tokens, reset_token }
    }

    pub async fn send(self, Client { ada, tokens, reset_token }: &Client<'_>) -> Reply {
        match (self, tokens, reset_token) {
            (Self::SignUp, ..) => ada.signs_up().await,
            (Self::SignIn, ..) => ada.tries_to_sign_in().await,
            (Self::Refresh, Some(tokens), _) => ada.refreshes(&tokens.refresh).await,
            (Self::LogOut, Some(tokens), _) => ada.logs_out(&tokens.access).await,
            (Self::ForgotPassword, ..) => ada.forgets_password().await,
            (Self::ResetPassword, _, Some(token)) => ada.resets_password(token, NEW_PASSWORD).await,
            _ => unreachable!("`prepare` sets the fields that the operation needs"),
        }
    }

    /// Sends the request again, like a client that got no answer. Asserts that the operation has then been done completely and
    /// exactly once. If the first request already completed the operation, the retry may be refused (for example
    /// `user_already_exists`).
    pub async fn retry(self, stack: &Stack, client: &Client<'_>) -> Reply {
        let ada = &client.ada;
        let reply = self.send(client).await;
        match (self, reply.status) {
            (Self::SignUp, 201 | 400) => {
                assert!(reply.status == 201 || reply.text_at("code") == "user_already_exists");
                ada.signs_in().await;
            }
            (Self::SignIn, 200) => assert_eq!(ada.dashboard(&Tokens::from(&reply).access).await.status, 200),
            (Self::Refresh, 200) => {
                let successor = Tokens::from(&reply);
                assert_eq!(ada.dashboard(&successor.access).await.status, 200);
                assert_eq!(ada.refreshes(&successor.refresh).await.status, 200);
            }
            (Self::LogOut, 200 | 401) => {
                let tokens = client.tokens.as_ref().unwrap();
                let revoked = ada.dashboard(&tokens.access).await;
                revoked.assert_refused(401, "token_revoked", "Token has been revoked");
                assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
            }
            (Self::ForgotPassword, 200) => {
                send_pending_mails(stack).await;
                let newest = mailbox::mails_to(&ada.email).await.pop().unwrap();
                assert_eq!(ada.resets_password(&newest.reset_token(), NEW_PASSWORD).await.status, 200);
                ada.with_password(NEW_PASSWORD).signs_in().await;
            }
            (Self::ResetPassword, 200 | 400) => {
                ada.with_password(NEW_PASSWORD).signs_in().await;
                assert_eq!(ada.tries_to_sign_in().await.status, 401, "the old password is refused");
                send_pending_mails(stack).await;
                let mails = mailbox::mails_to(&ada.email).await;
                assert!(mails.iter().any(|mail| mail.subject == "Your password was changed"), "the notice was sent");
                let tokens = client.tokens.as_ref().unwrap();
                assert_eq!(ada.dashboard(&tokens.access).await.status, 401, "the reset has ended the session");
                assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
            }
            (_, status) => panic!("{self:?}: the retry was answered with {status} {}", reply.text),
        }
        assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE due_at <= now()").await, 0);
        if stack.state_table.is_some() {
            assert_eq!(stack.sql_number("SELECT count(*) FROM session_endings").await, 0, "no debt is left");
        }
        reply
    }
}

/// Sends all pending mails.
pub async fn send_pending_mails(stack: &Stack) {
    stack.make_mails_due().await;
    assert_eq!(stack.sweep().await["mails_owed"], 0);
}
