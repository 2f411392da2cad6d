//! What a signed-in simulated user does with the account and its sessions.

use std::time::Instant;

use serde_json::json;

use super::{
    SimulatedUser,
    client_state::{Certainty, RequestResult, Session},
};
use crate::Tokens;

impl SimulatedUser<'_> {
    /// Shows the account, or changes its language.
    pub(super) async fn view_or_change_account(&mut self, session: usize, change: bool) {
        let access = self.sessions[session].tokens.access.clone();
        let outcome = if change {
            self.send("account", self.person.changes_account(&access, json!({ "locale": "de" }))).await
        } else {
            self.send("account", self.person.account(&access)).await
        };
        match outcome {
            RequestResult::Done(_) => self.observe(session, true, "account"),
            RequestResult::Refused(_) => self.observe(session, false, "account"),
            RequestResult::Unknown => {}
        }
    }

    /// Lists the sessions. Their number must be at least that of the certainly live ones, and at most also that of the uncertain ones.
    pub(super) async fn list_sessions(&mut self, session: usize) {
        let access = self.sessions[session].tokens.access.clone();
        match self.send("sessions", self.person.sessions(&access)).await {
            RequestResult::Done(reply) => {
                self.observe(session, true, "sessions");
                let listed = reply.json()["sessions"].as_array().map_or(0, Vec::len);
                let count = |alive| self.sessions.iter().filter(|session| session.alive == alive).count();
                let least = count(Certainty::Yes);
                let most = least + count(Certainty::Unknown) + self.sign_ins.unanswered;
                if !(least..=most).contains(&listed) {
                    self.report_violation(&format!("{listed} sessions are listed instead of {least} to {most}"));
                }
            }
            RequestResult::Refused(_) => self.observe(session, false, "sessions"),
            RequestResult::Unknown => {}
        }
    }

    /// Ends all sessions but this one.
    pub(super) async fn end_other_sessions(&mut self, session: usize) {
        let access = self.sessions[session].tokens.access.clone();
        match self.send("sessions", self.person.ends_other_sessions(&access)).await {
            RequestResult::Done(_) => {
                self.end_sessions_except(session, Certainty::No);
                self.observe(session, true, "sessions");
            }
            RequestResult::Refused(_) => self.observe(session, false, "sessions"),
            RequestResult::Unknown => self.end_sessions_except(session, Certainty::Unknown),
        }
    }

    /// Proves the password again, with the newest password that may be the current one.
    pub(super) async fn reauthenticate(&mut self, session: usize) {
        let sent = Instant::now();
        let access = self.sessions[session].tokens.access.clone();
        let person = self.person.with_password(self.passwords.last().expect("a password"));
        match self.prove("reauthenticate", person.reauthenticates(&access)).await {
            Ok(RequestResult::Done(reply)) => {
                self.observe(session, true, "reauthenticate");
                if self.factors.has_passkey == Certainty::Yes {
                    self.report_violation("reauthenticated without the passkey");
                }
                let tokens = Tokens::from(&reply);
                let session = &mut self.sessions[session];
                // If the answer to a refresh was lost, the session already has the successor.
                let is_unchanged = tokens.refresh == session.tokens.refresh || session.first_unanswered.is_some();
                session.tokens.access = tokens.access;
                if !is_unchanged {
                    self.report_violation("proving the password again has changed the refresh token");
                }
            }
            // The password does not suffice.
            Err(_) => {
                self.observe(session, true, "reauthenticate");
                if self.factors.has_passkey == Certainty::No {
                    self.report_violation("reauthentication asks for a passkey that the account does not have");
                }
            }
            Ok(RequestResult::Refused(401)) => self.refused_proof(session, sent, "reauthenticate").await,
            Ok(RequestResult::Refused(_)) => {}
            Ok(RequestResult::Unknown) => self.failed_sign_ins.unanswered += 1,
        }
    }

    /// Changes the password.
    pub(super) async fn change_password(&mut self, session: usize) {
        let sent = *self.links_voided.insert(Instant::now());
        self.most_mails += 1;
        let access = self.sessions[session].tokens.access.clone();
        let person = self.person.with_password(self.passwords.last().expect("a password"));
        let new = self.next_password();
        match self.send("change-password", person.changes_password(&access, &new)).await {
            RequestResult::Done(reply) => {
                self.observe(session, true, "change-password");
                self.resets.acknowledge(sent);
                self.sign_ins.acknowledge(sent);
                self.passwords = vec![new];
                for session in &mut self.sessions {
                    session.alive = Certainty::No;
                }
                self.sessions.push(Session::new(Certainty::Yes, Tokens::from(&reply), sent));
            }
            RequestResult::Refused(401) => self.refused_proof(session, sent, "change-password").await,
            RequestResult::Refused(_) => {}
            RequestResult::Unknown => {
                self.resets.unanswered += 1;
                self.sign_ins.unanswered += 1;
                self.passwords.push(new);
                (0..self.sessions.len()).for_each(|session| self.may_have_ended(session));
            }
        }
    }

    /// Records a refusal with 401: either the session has ended, or the password is wrong, which counts as a failed sign-in.
    async fn refused_proof(&mut self, session: usize, sent: Instant, endpoint: &str) {
        if self.passwords.len() > 1 {
            self.failed_sign_ins.unanswered += 1;
            self.may_have_ended(session);
        } else if self.sessions[session].alive == Certainty::Yes {
            self.failed_sign_ins.acknowledge(sent);
            self.report_violation(&format!("a live session with the only possible password was refused by {endpoint}"));
        } else {
            self.observe(session, false, endpoint);
        }
    }
}
