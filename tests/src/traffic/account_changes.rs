//! How a simulated user verifies the address, changes it and undoes the change, and deletes and keeps the account.

use std::time::Instant;

use super::{
    SimulatedUser,
    client_state::{Certainty, Changes, RequestResult},
};
use crate::{Tokens, mailbox::Mail};

/// What a simulated user knows about the account.
pub(super) struct Account {
    /// The address of the sign-up, and the only one that the user changes to.
    pub(super) addresses: [String; 2],
    /// Whether the account has the second address.
    pub(super) is_moved: Certainty,
    pub(super) is_verified: Certainty,
    /// Whether the first address was verified when the account was moved.
    was_verified: Certainty,
    pub(super) is_deleted: Certainty,
    pub(super) moves: Changes,
    pub(super) undos: Changes,
    pub(super) deletions: Changes,
}

impl Account {
    pub(super) fn new(addresses: [String; 2]) -> Self {
        Self {
            addresses,
            is_moved: Certainty::No,
            is_verified: Certainty::No,
            was_verified: Certainty::No,
            is_deleted: Certainty::No,
            moves: Changes::default(),
            undos: Changes::default(),
            deletions: Changes::default(),
        }
    }

    /// Whether a sign-in with the user's address finds the account.
    pub(super) fn is_certainly_found(&self) -> bool {
        self.is_deleted == Certainty::No && self.is_moved != Certainty::Unknown
    }

    /// Records that the current address is verified. If it is uncertain which one that is, it may be the first.
    pub(super) fn verified(&mut self) {
        self.may_be_verified();
        self.is_verified = Certainty::Yes;
    }

    /// Records that an unanswered request may have verified the current address.
    pub(super) fn may_be_verified(&mut self) {
        self.is_verified.may_become_true();
        if self.is_moved == Certainty::Unknown {
            self.was_verified.may_become_true();
        }
    }
}

impl SimulatedUser<'_> {
    pub(super) async fn request_verification_mail(&mut self, session: usize) {
        self.most_mails += 1;
        let access = self.sessions[session].tokens.access.clone();
        let outcome = self.send("verify-email", self.person.requests_verification_mail(&access)).await;
        self.observe_outcome(session, &outcome, "verify-email");
    }

    pub(super) async fn verify_by_code(&mut self, session: usize) {
        let Some(mail) = self.newest_mail("verify-email") else { return };
        let access = self.sessions[session].tokens.access.clone();
        match self.send("verify-email", self.person.verifies_by_code(&access, &mail.code())).await {
            RequestResult::Done(reply) => {
                self.observe(session, true, "verify-email");
                self.sessions[session].tokens.access = Tokens::from(&reply).access;
                self.account.verified();
            }
            RequestResult::Refused(401) => self.observe(session, false, "verify-email"),
            // The code was used, or is void.
            RequestResult::Refused(_) => {}
            RequestResult::Unknown => self.account.may_be_verified(),
        }
    }

    pub(super) async fn verify_by_link(&mut self) {
        let Some(mail) = self.newest_mail("verify-email") else { return };
        let person = self.person.with_password(self.passwords.last().expect("a password"));
        match self.send("verify-email", person.verifies_by_link(&mail.token())).await {
            RequestResult::Done(_) => self.account.verified(),
            RequestResult::Refused(status) => self.refused_link(status, "verify-email"),
            RequestResult::Unknown => {
                self.failed_sign_ins.unanswered += 1;
                self.account.may_be_verified();
            }
        }
    }

    /// Requests a change to the second address.
    pub(super) async fn request_move(&mut self, session: usize) {
        if self.account.is_moved != Certainty::No {
            return;
        }
        self.most_mails += 2;
        let access = self.sessions[session].tokens.access.clone();
        let request = self.person.requests_email_change(&access, &self.account.addresses[1]);
        let outcome = self.send("change-email", request).await;
        self.observe_outcome(session, &outcome, "change-email");
    }

    /// Changes the address with the newest link.
    pub(super) async fn use_link_to_move(&mut self) {
        let Some(mail) = self.newest_mail("change-email") else { return };
        if self.account.is_moved != Certainty::No || self.account.is_deleted != Certainty::No {
            return;
        }
        self.most_mails += 1;
        let sent = *self.links_voided.insert(Instant::now());
        let person = self.person.with_password(self.passwords.last().expect("a password"));
        match self.send("change-email", person.changes_email(&mail.token())).await {
            RequestResult::Done(_) => {
                self.account.moves.acknowledge(sent);
                self.account.was_verified = self.account.is_verified;
                self.account.is_verified = Certainty::Yes;
                self.is_moved(Certainty::Yes);
            }
            RequestResult::Refused(status) => self.refused_link(status, "change-email"),
            RequestResult::Unknown => {
                self.failed_sign_ins.unanswered += 1;
                self.account.was_verified = self.account.is_verified;
                self.account.is_verified.may_become_true();
                self.is_moved(Certainty::Unknown);
            }
        }
    }

    /// Undoes the change of the address with the newest link. This also takes a deletion back.
    pub(super) async fn undo_move(&mut self) {
        let Some(mail) = self.newest_mail("undo-email-change") else { return };
        // The notice, the link that resets the password, and the notices about passkeys that were added since.
        self.most_mails += 2 + self.factors.changes.acknowledged + self.factors.changes.unanswered;
        let sent = *self.links_voided.insert(Instant::now());
        match self.send("change-email", self.person.undoes_email_change(&mail.token())).await {
            RequestResult::Done(_) => {
                if self.account.is_moved == Certainty::No {
                    self.report_violation("a link that undoes a change of the address worked twice");
                }
                self.account.undos.acknowledge(sent);
                self.account.is_verified = self.account.was_verified;
                self.account.is_deleted = Certainty::No;
                self.is_moved(Certainty::No);
                self.end_sessions(Certainty::No);
            }
            RequestResult::Unknown if self.account.is_moved != Certainty::No => {
                self.account.undos.unanswered += 1;
                if self.account.is_verified != self.account.was_verified {
                    self.account.is_verified = Certainty::Unknown;
                }
                self.account.is_deleted.may_become_false();
                self.is_moved(Certainty::Unknown);
                self.end_sessions(Certainty::Unknown);
            }
            RequestResult::Unknown | RequestResult::Refused(_) => {}
        }
    }

    pub(super) async fn delete_account(&mut self, session: usize) {
        if self.account.is_deleted != Certainty::No {
            return;
        }
        self.most_mails += 1;
        let sent = *self.links_voided.insert(Instant::now());
        let access = self.sessions[session].tokens.access.clone();
        match self.send("account", self.person.deletes_account(&access)).await {
            RequestResult::Done(_) => {
                self.observe(session, true, "account");
                self.account.deletions.acknowledge(sent);
                self.account.is_deleted = Certainty::Yes;
                self.end_sessions(Certainty::No);
            }
            RequestResult::Refused(_) => self.observe(session, false, "account"),
            RequestResult::Unknown => {
                self.account.deletions.unanswered += 1;
                self.account.is_deleted = Certainty::Unknown;
                self.end_sessions(Certainty::Unknown);
            }
        }
    }

    /// Keeps the account with the newest link. Returns whether that succeeded.
    pub(super) async fn keep_account(&mut self) -> bool {
        let Some(mail) = self.newest_mail("keep-account") else { return false };
        self.links_voided = Some(Instant::now());
        match self.send("keep-account", self.person.keeps_account(&mail.token())).await {
            RequestResult::Done(_) => {
                if self.account.is_deleted == Certainty::No {
                    self.report_violation("a link that keeps the account worked twice");
                }
                self.account.is_deleted = Certainty::No;
                true
            }
            RequestResult::Unknown => {
                self.account.is_deleted.may_become_false();
                false
            }
            RequestResult::Refused(_) => false,
        }
    }

    /// Records what is certain about the address. The first address is either the current one, or reserved for this account.
    fn is_moved(&mut self, certainty: Certainty) {
        self.account.is_moved = certainty;
        let address = &self.account.addresses[usize::from(certainty == Certainty::Yes)];
        self.person = self.person.with_email(address);
    }

    /// Records that all sessions have ended, or may have ended.
    pub(super) fn end_sessions(&mut self, alive: Certainty) {
        (0..self.sessions.len()).for_each(|session| self.end_session(session, alive));
    }

    /// Records that all sessions but one have ended, or may have ended.
    pub(super) fn end_sessions_except(&mut self, kept: usize, alive: Certainty) {
        (0..self.sessions.len()).filter(|other| *other != kept).for_each(|session| self.end_session(session, alive));
    }

    fn end_session(&mut self, session: usize, alive: Certainty) {
        match alive {
            Certainty::No => self.sessions[session].alive = Certainty::No,
            _ => self.may_have_ended(session),
        }
    }

    pub(super) fn observe_outcome(&mut self, session: usize, outcome: &RequestResult, endpoint: &str) {
        match outcome {
            RequestResult::Done(_) => self.observe(session, true, endpoint),
            RequestResult::Refused(401) => self.observe(session, false, endpoint),
            RequestResult::Refused(_) | RequestResult::Unknown => {}
        }
    }

    /// Records the refusal of a link that asks for the password. A link that is used or void is refused with 400, and a wrong password with 401.
    fn refused_link(&mut self, status: u16, endpoint: &str) {
        match status {
            401 if self.passwords.len() == 1 => {
                self.report_violation(&format!("the only possible password was refused by a link of {endpoint}"));
            }
            401 => self.failed_sign_ins.unanswered += 1,
            _ => {}
        }
    }

    /// The newest mail with a link to this page.
    pub(super) fn newest_mail(&self, page: &str) -> Option<Mail> {
        self.mails().into_iter().rev().map(|(_, mail)| mail).find(|mail| mail.text.contains(&format!("/{page}/")))
    }
}
