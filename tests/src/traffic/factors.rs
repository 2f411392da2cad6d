//! How a simulated user adds a passkey, signs in with it, removes it, and undoes its addition.

use std::{collections::BTreeSet, time::Instant};

use serde_json::json;

use super::{
    SimulatedUser,
    client_state::{Certainty, Changes, RequestResult},
};
use crate::{Reply, passkey::Device};

/// What a simulated user knows about the passkeys of the account.
pub(super) struct Factors {
    /// Whether the account has a passkey.
    pub(super) has_passkey: Certainty,
    /// The devices with the passkeys that the account may have, oldest first.
    devices: Vec<Device>,
    /// Additions, removals and undone additions.
    pub(super) changes: Changes,
    /// The links that have undone an addition.
    used_links: BTreeSet<String>,
}

impl Factors {
    pub(super) fn new() -> Self {
        let (devices, changes, used_links) = Default::default();
        Self { has_passkey: Certainty::No, devices, changes, used_links }
    }

    /// Whether every addition, removal and undo so far was answered.
    fn are_certain(&self) -> bool {
        self.changes.unanswered == 0
    }

    /// Records that a passkey was removed. If every change was answered, it was the only one.
    fn removed(&mut self, sent: Instant) {
        self.changes.acknowledge(sent);
        if self.are_certain() {
            self.has_passkey = Certainty::No;
            self.devices.clear();
        } else {
            self.has_passkey = Certainty::Unknown;
        }
    }

    /// Records that a request without an answer may have removed a passkey.
    fn may_be_removed(&mut self) {
        self.changes.unanswered += 1;
        self.has_passkey.may_become_false();
    }
}

impl SimulatedUser<'_> {
    /// Adds a passkey on a new device, unless the account has one. Verifies the address first.
    pub(super) async fn add_passkey(&mut self, session: usize) {
        if self.factors.has_passkey == Certainty::Yes {
            return;
        }
        if self.account.is_verified == Certainty::No {
            return self.verify_by_link().await;
        }
        let access = self.sessions[session].tokens.access.clone();
        let outcome = self.send("passkeys", self.person.begins_passkey(&access)).await;
        self.observe_outcome(session, &outcome, "passkeys");
        let options = match outcome {
            RequestResult::Done(reply) => reply.json(),
            RequestResult::Refused(403) if self.account.is_verified == Certainty::Yes => {
                return self.report_violation("cannot add a passkey, although the address is verified");
            }
            _ => return,
        };
        let mut device = Device::new();
        let created = device.creates(&options).await;
        self.most_mails += 1;
        let sent = *self.links_voided.insert(Instant::now());
        let outcome = self.send("passkeys", self.person.adds_created_passkey(&access, "Phone", &created)).await;
        match self.unless_already_done(session, outcome) {
            RequestResult::Done(_) => {
                self.observe(session, true, "passkeys");
                self.factors.changes.acknowledge(sent);
                // An undo without an answer may still remove it.
                self.factors.has_passkey = if self.factors.are_certain() { Certainty::Yes } else { Certainty::Unknown };
                self.factors.devices.push(device);
                self.end_sessions_except(session, Certainty::No);
            }
            RequestResult::Refused(401) => self.observe(session, false, "passkeys"),
            // The address may have changed since.
            RequestResult::Refused(403) => {}
            RequestResult::Refused(status) => {
                self.report_violation(&format!("a new passkey was answered with {status}"));
            }
            RequestResult::Unknown => {
                self.factors.changes.unanswered += 1;
                self.factors.has_passkey.may_become_true();
                self.factors.devices.push(device);
                self.end_sessions(Certainty::Unknown);
            }
        }
    }

    /// Removes the first passkey that is listed.
    pub(super) async fn remove_passkey(&mut self, session: usize) {
        let access = self.sessions[session].tokens.access.clone();
        let outcome = self.send("passkeys", self.person.lists_passkeys(&access)).await;
        self.observe_outcome(session, &outcome, "passkeys");
        let RequestResult::Done(reply) = outcome else { return };
        let listed = reply.json()["passkeys"].as_array().cloned().unwrap_or_default();
        let contradicted = if listed.is_empty() { Certainty::Yes } else { Certainty::No };
        if self.factors.has_passkey == contradicted {
            self.report_violation(&format!("{} passkeys are listed", listed.len()));
        }
        let Some(id) = listed.first().and_then(|passkey| passkey["id"].as_str()) else { return };
        self.most_mails += 1;
        let sent = *self.links_voided.insert(Instant::now());
        let outcome = self.send("passkeys", self.person.removes_passkey(&access, id)).await;
        match self.unless_already_done(session, outcome) {
            RequestResult::Done(_) => {
                self.observe(session, true, "passkeys");
                self.factors.removed(sent);
                self.end_sessions_except(session, Certainty::No);
            }
            RequestResult::Refused(401) => self.observe(session, false, "passkeys"),
            RequestResult::Refused(404) if self.factors.are_certain() => {
                self.report_violation("a listed passkey cannot be removed");
            }
            RequestResult::Refused(_) => {}
            RequestResult::Unknown => {
                self.factors.may_be_removed();
                self.end_sessions(Certainty::Unknown);
            }
        }
    }

    /// With sessions in DynamoDB, a request changes the passkeys first, and is refused afterwards if a late logout has deleted its session meanwhile. So
    /// if the session may have ended, a refusal with 401 does not say that nothing has changed.
    fn unless_already_done(&self, session: usize, outcome: RequestResult) -> RequestResult {
        let is_in_table = self.traffic.stack.state_table.is_some();
        match outcome {
            RequestResult::Refused(401) if is_in_table && self.sessions[session].alive == Certainty::Unknown => {
                RequestResult::Unknown
            }
            other => other,
        }
    }

    /// Undoes the addition of a passkey with the newest link. The link also works after the passkey was removed.
    pub(super) async fn undo_passkey(&mut self) {
        let Some(token) = self.newest_mail("undo-factor").map(|mail| mail.token()) else { return };
        self.most_mails += 1;
        let sent = *self.links_voided.insert(Instant::now());
        match self.send("undo-factor", self.person.undoes_factor(&token)).await {
            RequestResult::Done(_) => {
                self.factors.removed(sent);
                self.end_sessions(Certainty::No);
                if !self.factors.used_links.insert(token) {
                    self.report_violation("a link that undoes a factor worked twice");
                }
            }
            RequestResult::Refused(_) => {}
            RequestResult::Unknown => {
                self.factors.may_be_removed();
                self.end_sessions(Certainty::Unknown);
            }
        }
    }

    /// Shows the passkey that the answer to the password asks for.
    pub(super) async fn show_passkey(&mut self, asked: &Reply) -> RequestResult {
        if self.factors.has_passkey == Certainty::No {
            self.report_violation("a sign-in asks for a passkey that the account does not have");
        }
        let answer = asked.json();
        let options = &answer["passkey_options"];
        let Some(device) = self.factors.devices.iter_mut().find(|device| device.is_listed(options)) else {
            self.report_violation("a sign-in asks for passkeys that the user does not have");
            return RequestResult::Unknown;
        };
        let assertion = device.signs(options).await;
        let factor = json!({ "passkey": assertion });
        self.send("signin-second-factor", self.person.shows_factor(&asked.text_at("mfa_token"), &factor)).await
    }

    /// Signs in with the newest passkey alone.
    pub(super) async fn sign_in_with_passkey(&mut self) {
        if self.factors.devices.is_empty() {
            return;
        }
        let RequestResult::Done(options) = self.send("signin-passkey", self.person.asks_for_passkey()).await else {
            return;
        };
        let Some(device) = self.factors.devices.last_mut() else { return };
        let assertion = device.signs(&options.json()).await;
        let sent = Instant::now();
        let is_certain = self.is_certainly_unchanged() && self.factors.has_passkey == Certainty::Yes;
        match self.send("signin-passkey", self.person.signs_in_with_assertion(&assertion)).await {
            RequestResult::Done(reply) => {
                if self.factors.has_passkey == Certainty::No {
                    self.report_violation("signed in with a removed passkey");
                }
                self.signed_in(&reply, sent);
            }
            RequestResult::Refused(status) if is_certain => {
                self.report_violation(&format!("a sign-in with a passkey was answered with {status}"));
            }
            RequestResult::Refused(_) => {}
            RequestResult::Unknown => self.sign_ins.unanswered += 1,
        }
    }

    /// Whether no unanswered request may still change the credentials, and the account is not deleted.
    pub(super) fn is_certainly_unchanged(&self) -> bool {
        self.passwords.len() == 1 && self.account.is_certainly_found() && self.factors.are_certain()
    }
}
