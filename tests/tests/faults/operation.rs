//! The requests that faults interrupt, and what a client may expect of a retry.

use serde_json::json;
use tests::{
    Person, Reply, Stack, Tokens,
    authenticator::Authenticator,
    jwt::claims,
    mailbox::{self, EMAIL_CHANGE, EMAIL_CHANGED, EMAIL_RESTORED, Mail, RESET, TOTP_ADDED},
};

use crate::passkey_operation::{PasskeyOperation, WithPasskey};

/// A request that a fault interrupts.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    SignUp,
    SignIn,
    Refresh,
    LogOut,
    ForgotPassword,
    ResetPassword,
    ChangeAccount,
    Reauthenticate,
    ChangePassword,
    EndOtherSessions,
    DeleteAccount,
    KeepAccount,
    VerifyByCode,
    VerifyByLink,
    SendVerification,
    RequestEmailChange,
    ChangeEmail,
    UndoEmailChange,
    ConfirmTotp,
    RemoveTotp,
    ReplaceRecoveryCodes,
    ShowTotp,
    ReauthenticateWithTotp,
    UndoFactor,
    Passkey(PasskeyOperation),
}

/// A person with the tokens that an operation needs.
pub struct Client<'a> {
    pub ada: Person<'a>,
    pub tokens: Option<Tokens>,
    /// The tokens of another session of the same person.
    pub other_session: Option<Tokens>,
    /// The token in the link of the newest mail, or the token of a sign-in that waits for a second factor.
    pub link_token: Option<String>,
    /// The authenticator of the account, and its code.
    pub app: Option<(Authenticator, String)>,
    /// The passkey of the account.
    pub passkey: Option<WithPasskey>,
    /// The newest mail that verifies the address.
    pub verification: Option<Mail>,
    /// Ada with the address that she changes to.
    pub renamed: Person<'a>,
}

impl Client<'_> {
    fn access(&self) -> &str {
        &self.tokens.as_ref().expect("the operation needs a session").access
    }

    async fn assert_other_session_ended(&self) {
        let other = self.other_session.as_ref().expect("the operation ends another session");
        assert_eq!(self.ada.dashboard(&other.access).await.status, 401);
        assert_eq!(self.ada.refreshes(&other.refresh).await.status, 401);
    }
}

pub const NEW_PASSWORD: &str = "another password";
const NEW_NAME: &str = "Ada King";

impl Operation {
    pub fn function(self) -> &'static str {
        match self {
            Self::SignUp => "signup",
            Self::SignIn => "signin",
            Self::Refresh => "refresh",
            Self::LogOut => "logout",
            Self::ForgotPassword => "forgot-password",
            Self::ResetPassword => "reset-password",
            Self::ChangeAccount | Self::DeleteAccount => "account",
            Self::Reauthenticate | Self::ReauthenticateWithTotp => "reauthenticate",
            Self::ChangePassword => "change-password",
            Self::EndOtherSessions => "sessions",
            Self::KeepAccount => "keep-account",
            Self::VerifyByCode | Self::VerifyByLink | Self::SendVerification => "verify-email",
            Self::RequestEmailChange | Self::ChangeEmail | Self::UndoEmailChange => "change-email",
            Self::ConfirmTotp | Self::RemoveTotp => "totp",
            Self::ReplaceRecoveryCodes => "recovery-codes",
            Self::ShowTotp => "signin-second-factor",
            Self::UndoFactor => "undo-factor",
            Self::Passkey(operation) => operation.function(),
        }
    }

    pub async fn prepare(self, stack: &Stack) -> Client<'_> {
        // A test prepares many clients at one source. Together, they would reach the limit of its mails.
        stack.sql("DELETE FROM throttle").await;
        let ada = match self {
            Self::SignUp => stack.stranger("Ada"),
            _ => stack.user("Ada").await,
        };
        let (mut app, mut tokens) = (None, None);
        match self {
            Self::SignUp | Self::SignIn | Self::ForgotPassword | Self::Passkey(_) => {}
            Self::ConfirmTotp => {
                ada.has_verified().await;
                let session = ada.signs_in().await;
                let enrolled = Authenticator::of(&ada.enrols_totp(&session.access).await);
                let code = enrolled.code();
                (app, tokens) = (Some((enrolled, code)), Some(session));
            }
            _ if self.needs_totp() => {
                ada.has_verified().await;
                let added = ada.adds_totp().await;
                let code = added.app.code();
                (app, tokens) = (Some((added.app, code)), Some(added.tokens));
            }
            _ => tokens = Some(ada.signs_in().await),
        }
        let other_session = match self {
            Self::ChangePassword | Self::EndOtherSessions | Self::DeleteAccount | Self::ConfirmTotp => {
                Some(ada.signs_in().await)
            }
            Self::RemoveTotp | Self::UndoFactor => {
                let (authenticator, _) = app.as_ref().expect("an authenticator");
                Some(Tokens::from(&ada.signs_in_with_totp(authenticator).await))
            }
            _ => None,
        };
        if matches!(self, Self::Reauthenticate | Self::ReauthenticateWithTotp) {
            stack.sessions().move_auth_time_back(601).await;
        }
        let passkey = match self {
            Self::Passkey(operation) => Some(operation.prepare(stack, &ada).await),
            _ => None,
        };
        let renamed = ada.with_email(&stack.stranger("Ada").email);
        let link_token = match (self, &tokens) {
            (Self::ResetPassword, _) => Some(ada.receives_reset_mail(1).await.token()),
            (Self::ShowTotp, _) => Some(ada.signs_in_halfway().await),
            (Self::UndoFactor, _) => Some(ada.newest_mail(TOTP_ADDED).await.token()),
            (Self::KeepAccount, Some(tokens)) => Some(ada.deletes_account_with_mail(&tokens.access, 1).await),
            (Self::ChangeEmail, Some(tokens)) => Some(link_to_change(&ada, tokens, &renamed).await),
            (Self::UndoEmailChange, Some(tokens)) => {
                let link = link_to_change(&ada, tokens, &renamed).await;
                assert_eq!(ada.changes_email(&link).await.status, 200);
                Some(ada.newest_mail(EMAIL_CHANGED).await.token())
            }
            _ => None,
        };
        let verification = match (self, &tokens) {
            (Self::VerifyByCode | Self::VerifyByLink, Some(tokens)) => {
                assert_eq!(ada.requests_verification_mail(&tokens.access).await.status, 202);
                Some(ada.mails(1).await.remove(0))
            }
            _ => None,
        };
        Client { ada, tokens, other_session, link_token, app, passkey, verification, renamed }
    }

    /// Whether the account must have an authenticator before.
    fn needs_totp(self) -> bool {
        matches!(
            self,
            Self::RemoveTotp
                | Self::ReplaceRecoveryCodes
                | Self::ShowTotp
                | Self::ReauthenticateWithTotp
                | Self::UndoFactor
        )
    }

    pub async fn send(self, client: &Client<'_>) -> Reply {
        let Client { ada, tokens, link_token, app, passkey, verification, renamed, .. } = client;
        if let (Self::Passkey(operation), Some(passkey)) = (self, passkey) {
            return operation.send(ada, passkey).await;
        }
        if let (Some((_, code)), Some(Tokens { access, .. })) = (app, tokens) {
            return match (self, link_token) {
                (Self::ConfirmTotp, _) => ada.confirms_totp(access, code).await,
                (Self::RemoveTotp, _) => ada.removes_totp(access).await,
                (Self::ReplaceRecoveryCodes, _) => ada.replaces_recovery_codes(access).await,
                (Self::ShowTotp, Some(token)) => ada.shows_factor(token, &json!({ "totp": code })).await,
                (Self::UndoFactor, Some(token)) => ada.undoes_factor(token).await,
                _ => ada.reauthenticates_with(access, json!({ "totp": code })).await,
            };
        }
        if let (Some(mail), Some(tokens)) = (verification, tokens) {
            return match self {
                Self::VerifyByLink => ada.verifies_by_link(&mail.token()).await,
                _ => ada.verifies_by_code(&tokens.access, &mail.code()).await,
            };
        }
        match (self, tokens, link_token) {
            (Self::SignUp, ..) => ada.signs_up().await,
            (Self::SignIn, ..) => ada.tries_to_sign_in().await,
            (Self::Refresh, Some(tokens), _) => ada.refreshes(&tokens.refresh).await,
            (Self::LogOut, Some(tokens), _) => ada.logs_out(&tokens.access).await,
            (Self::ForgotPassword, ..) => ada.forgets_password().await,
            (Self::ResetPassword, _, Some(token)) => ada.resets_password(token, NEW_PASSWORD).await,
            (Self::ChangeAccount, Some(tokens), _) => {
                ada.changes_account(&tokens.access, json!({ "name": NEW_NAME, "locale": "de" })).await
            }
            (Self::Reauthenticate, Some(tokens), _) => ada.reauthenticates(&tokens.access).await,
            (Self::ChangePassword, Some(tokens), _) => ada.changes_password(&tokens.access, NEW_PASSWORD).await,
            (Self::EndOtherSessions, Some(tokens), _) => ada.ends_other_sessions(&tokens.access).await,
            (Self::DeleteAccount, Some(tokens), _) => ada.deletes_account(&tokens.access).await,
            (Self::KeepAccount, _, Some(token)) => ada.keeps_account(token).await,
            (Self::SendVerification, Some(tokens), _) => ada.requests_verification_mail(&tokens.access).await,
            (Self::RequestEmailChange, Some(tokens), _) => {
                ada.requests_email_change(&tokens.access, &renamed.email).await
            }
            (Self::ChangeEmail, _, Some(token)) => ada.changes_email(token).await,
            (Self::UndoEmailChange, _, Some(token)) => ada.undoes_email_change(token).await,
            _ => unreachable!("`prepare` sets the fields that the operation needs"),
        }
    }

    /// Sends the request again, like a client that got no answer. Asserts that the operation has then been done completely and
    /// exactly once. If the first request already completed the operation, the retry may be refused (for example
    /// `user_already_exists`).
    pub async fn retry(self, stack: &Stack, client: &Client<'_>) -> Reply {
        let reply = self.send(client).await;
        match (self, &client.passkey) {
            (Self::Passkey(operation), Some(passkey)) => {
                operation.assert_completed(stack, &client.ada, passkey, &reply).await;
            }
            _ => self.assert_completed(stack, client, &reply).await,
        }
        Self::assert_nothing_owed(stack).await;
        reply
    }

    async fn assert_completed(self, stack: &Stack, client: &Client<'_>, reply: &Reply) {
        let ada = &client.ada;
        match (self, reply.status) {
            (Self::SignUp, 201 | 400) => {
                assert!(reply.status == 201 || reply.text_at("code") == "user_already_exists");
                let tokens = ada.signs_in().await;
                stack.send_owed_mails().await;
                let query = format!("SELECT count(*) FROM email_verifications WHERE email = '{}'", ada.email);
                let newest = mailbox::mails_to(&ada.email).await.pop();
                assert_eq!(stack.sql_number(&query).await == 1, newest.is_some(), "the mail that the sign-up owes");
                if let Some(mail) = newest {
                    assert_eq!(ada.verifies_by_code(&tokens.access, &mail.code()).await.status, 200);
                }
            }
            (Self::SignIn, 200) => assert_eq!(ada.dashboard(&Tokens::from(reply).access).await.status, 200),
            (Self::Refresh, 200) => {
                let successor = Tokens::from(reply);
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
                stack.send_owed_mails().await;
                let newest = mailbox::mails_to(&ada.email).await.pop().unwrap();
                assert_eq!(ada.resets_password(&newest.token(), NEW_PASSWORD).await.status, 200);
                ada.with_password(NEW_PASSWORD).signs_in().await;
            }
            (Self::ResetPassword, 200 | 400) => {
                ada.with_password(NEW_PASSWORD).signs_in().await;
                assert_eq!(ada.tries_to_sign_in().await.status, 401, "the old password is refused");
                stack.send_owed_mails().await;
                let mails = mailbox::mails_to(&ada.email).await;
                assert!(mails.iter().any(|mail| mail.subject == "Your password was changed"), "the notice was sent");
                let tokens = client.tokens.as_ref().unwrap();
                assert_eq!(ada.dashboard(&tokens.access).await.status, 401, "the reset has ended the session");
                assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
            }
            (Self::ChangeAccount, 200) => {
                let user = &ada.account(client.access()).await.json()["user"];
                assert_eq!((&user["name"], &user["locale"]), (&json!(NEW_NAME), &json!("de")));
            }
            (Self::Reauthenticate, 200) => {
                assert_eq!(ada.ends_other_sessions(&Tokens::from(reply).access).await.status, 200);
            }
            (Self::EndOtherSessions, 200) => {
                assert_eq!(ada.dashboard(client.access()).await.status, 200);
                client.assert_other_session_ended().await;
            }
            // 401 if the first request has deleted the account, because it also ended the session.
            (Self::DeleteAccount, 202 | 401) => {
                assert_eq!(ada.tries_to_sign_in().await.status, 401, "nobody can sign in");
                assert_eq!(ada.dashboard(client.access()).await.status, 401, "the deletion has ended the session");
                client.assert_other_session_ended().await;
                stack.send_owed_mails().await;
                let newest = mailbox::mails_to(&ada.email).await.pop().expect("the mail about the deletion was sent");
                assert_eq!(ada.keeps_account(&newest.token()).await.status, 200);
                ada.signs_in().await;
            }
            // 400 if the first request has kept the account, because it also used up the token.
            (Self::KeepAccount, 200 | 400) => drop(ada.signs_in().await),
            // 400 if the first request has used the link or the code up. Then it has verified the address.
            (Self::VerifyByCode | Self::VerifyByLink, 200 | 400) => {
                assert_eq!(ada.account(client.access()).await.json()["user"]["email_verified"], true);
                // It makes the sessions in DynamoDB know the verification if the first request could not.
                assert_eq!(ada.requests_verification_mail(client.access()).await.status, 202);
                let refreshed = Tokens::from(&ada.refreshes(&client.tokens.as_ref().unwrap().refresh).await);
                assert_eq!(claims(&refreshed.access)["email_verified"], true);
                ada.signs_in().await;
            }
            (Self::SendVerification, 202) => {
                stack.send_owed_mails().await;
                let newest = mailbox::mails_to(&ada.email).await.pop().unwrap();
                assert_eq!(ada.verifies_by_code(client.access(), &newest.code()).await.status, 200);
            }
            // 401 if the first request has changed the password, because it also ended the session.
            (Self::ChangePassword, 200 | 401) => {
                if reply.status == 200 {
                    assert_eq!(ada.dashboard(&Tokens::from(reply).access).await.status, 200);
                }
                ada.with_password(NEW_PASSWORD).signs_in().await;
                assert_eq!(ada.tries_to_sign_in().await.status, 401, "the old password is refused");
                assert_eq!(ada.dashboard(client.access()).await.status, 401, "the change has ended the session");
                client.assert_other_session_ended().await;
                stack.send_owed_mails().await;
                let mails = mailbox::mails_to(&ada.email).await;
                assert!(mails.iter().any(|mail| mail.subject == "Your password was changed"), "the notice was sent");
            }
            (Self::RequestEmailChange, 202) | (Self::ChangeEmail | Self::UndoEmailChange, 200 | 400) => {
                self.assert_address_completed(stack, client).await;
            }
            (_, status) if client.app.is_some() => self.assert_factor_completed(stack, client, status, reply).await,
            (_, status) => panic!("{self:?}: the retry was answered with {status} {}", reply.text),
        }
    }

    /// Asserts that no mail is due, and that no session must still end.
    async fn assert_nothing_owed(stack: &Stack) {
        assert_eq!(stack.sql_number("SELECT count(*) FROM outbox WHERE due_at <= now()").await, 0);
        if stack.state_table.is_some() {
            assert_eq!(stack.sql_number("SELECT count(*) FROM session_endings").await, 0, "no debt is left");
        }
    }

    /// Asserts that a use or a change of a second factor was done completely.
    async fn assert_factor_completed(self, stack: &Stack, client: &Client<'_>, status: u16, reply: &Reply) {
        let ada = &client.ada;
        let (app, code) = client.app.as_ref().expect("an authenticator");
        ada.may_reuse_codes().await;
        match (self, status) {
            // 401 if the first request has confirmed the enrolment, because it also ended the session.
            (Self::ConfirmTotp, 200 | 401) => {
                stack.send_owed_mails().await;
                client.assert_other_session_ended().await;
                assert_eq!(ada.dashboard(client.access()).await.status, 401);
                assert_eq!(ada.signs_in_with_totp(app).await.status, 200);
                assert!(ada.newest_mail(TOTP_ADDED).await.link().contains("undo-factor"));
            }
            // 404 if the first request has removed the authenticator. 401 if it could not keep the session in DynamoDB.
            (Self::RemoveTotp, 200 | 404 | 401) => {
                stack.send_owed_mails().await;
                client.assert_other_session_ended().await;
                let is_kept = ada.dashboard(client.access()).await.status == 200;
                assert_eq!(is_kept, status != 401);
                ada.signs_in().await;
                ada.newest_mail("The authenticator app was removed from your account").await;
            }
            (Self::ReplaceRecoveryCodes, 201) => {
                let left = ada.recovery_codes_left(client.access()).await.json();
                assert_eq!(left["left"], 10);
                ada.newest_mail("The recovery codes of your account were replaced").await;
            }
            // 400 or 401 if the first request has used the code up. Then the user signs in again.
            (Self::ShowTotp, 200 | 400 | 401) => assert_eq!(ada.signs_in_with_totp(app).await.status, 200),
            (Self::ReauthenticateWithTotp, 200 | 400) => {
                let again = ada.reauthenticates_with(client.access(), json!({ "totp": code })).await;
                let renewed = Tokens::from(&again);
                assert_eq!(ada.ends_other_sessions(&renewed.access).await.status, 200);
            }
            // 400 if the first request has removed the factor, because it also used up the token.
            (Self::UndoFactor, 200 | 400) => {
                stack.send_owed_mails().await;
                client.assert_other_session_ended().await;
                assert_eq!(ada.dashboard(client.access()).await.status, 401);
                let reset = ada.newest_mail(RESET).await.token();
                assert_eq!(ada.resets_password(&reset, NEW_PASSWORD).await.status, 200);
                ada.with_password(NEW_PASSWORD).signs_in().await;
            }
            _ => panic!("{self:?}: the retry was answered with {status} {}", reply.text),
        }
        stack.send_owed_mails().await;
    }

    /// Asserts that a request, a change of the address or its undoing was done completely.
    async fn assert_address_completed(self, stack: &Stack, client: &Client<'_>) {
        let (ada, renamed) = (&client.ada, &client.renamed);
        match self {
            Self::RequestEmailChange => {
                let link = renamed.newest_mail(EMAIL_CHANGE).await.token();
                assert_eq!(ada.changes_email(&link).await.status, 200);
                renamed.signs_in().await;
            }
            Self::ChangeEmail => {
                renamed.signs_in().await;
                assert_eq!(ada.tries_to_sign_in().await.status, 401, "the account has another address");
                assert_eq!(ada.dashboard(client.access()).await.status, 200, "the session stays live");
                let undo = ada.newest_mail(EMAIL_CHANGED).await.token();
                assert_eq!(ada.undoes_email_change(&undo).await.status, 200);
            }
            _ => {
                stack.send_owed_mails().await;
                assert_eq!(ada.dashboard(client.access()).await.status, 401, "every session has ended");
                assert_eq!(renamed.tries_to_sign_in().await.status, 401);
                renamed.newest_mail(EMAIL_RESTORED).await;
                let reset = ada.newest_mail(RESET).await.token();
                assert_eq!(ada.resets_password(&reset, NEW_PASSWORD).await.status, 200);
                ada.with_password(NEW_PASSWORD).signs_in().await;
            }
        }
        stack.send_owed_mails().await;
    }
}

/// Requests a change of the address, and returns the token of the mail to the new one.
async fn link_to_change(ada: &Person<'_>, tokens: &Tokens, renamed: &Person<'_>) -> String {
    assert_eq!(ada.requests_email_change(&tokens.access, &renamed.email).await.status, 202);
    renamed.newest_mail(EMAIL_CHANGE).await.token()
}
