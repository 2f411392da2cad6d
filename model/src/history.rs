//! What answers have said, and which promises were broken. The service knows nothing of this. Only the promises read it.

use crate::{
    promises::Broken,
    world::{AccountId, FactorId, Link, LinkKind, Mail, Random, RefreshId, SessionId, Version, World},
};

/// The history of a state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct History {
    /// Sessions that have ended according to an answer.
    pub ended: Vec<SessionId>,
    /// Accounts of which an answer has said that all sessions below this version have ended.
    pub ended_below: Vec<(AccountId, Version)>,
    /// Which refresh token replaced which one, in which session.
    pub successors: Vec<(SessionId, RefreshId, RefreshId)>,
    /// Sessions of which the thief has copied a token.
    pub copied: Vec<SessionId>,
    /// Accounts that Ada has reset, with the credential version that the reset assigned.
    pub reset: Vec<(AccountId, Version)>,
    /// Accounts that are kept according to an answer.
    pub kept: Vec<AccountId>,
    /// Sessions that were opened while their account had a factor.
    pub opened_with_factor: Vec<SessionId>,
    /// Requests that have removed factors, with the factors that each must remove.
    pub removals: Vec<(Random, Vec<FactorId>)>,
    /// Factors that are removed according to an answer.
    pub removed: Vec<FactorId>,
    /// Sessions that were opened with a factor after an answer has said that it was removed.
    pub opened_with_removed: Vec<SessionId>,
    /// The promises that a step has broken.
    pub broken: Vec<Broken>,
}

/// What an answer says has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// These sessions.
    Sessions(Vec<SessionId>),
    /// All sessions of an account that were opened below this credential version.
    Below(AccountId, Version),
}

impl History {
    /// Records what an answer says has ended.
    pub fn record_ended(&mut self, ended: Ended) {
        match ended {
            Ended::Sessions(sessions) => {
                self.ended.extend(sessions);
                self.ended.sort_unstable();
                self.ended.dedup();
            }
            Ended::Below(account, version) => {
                self.ended_below.retain(|(of, below)| *of != account || *below > version);
                if !self.ended_below.iter().any(|(of, _)| *of == account) {
                    self.ended_below.push((account, version));
                    self.ended_below.sort_unstable();
                }
            }
        }
    }

    /// Records that a step has broken a promise.
    pub fn record_broken(&mut self, broken: Broken) {
        if !self.broken.contains(&broken) {
            self.broken.push(broken);
        }
    }

    /// Records that a refresh token was replaced.
    pub fn record_rotation(&mut self, session: SessionId, parent: RefreshId, successor: RefreshId) {
        if !self.successors.contains(&(session, parent, successor)) {
            self.successors.push((session, parent, successor));
        }
        if self.successors.iter().filter(|(of, replaced, _)| (*of, *replaced) == (session, parent)).count() > 1 {
            self.record_broken(Broken::TwoSuccessors);
        }
    }

    /// The newest refresh token of a session.
    fn newest(&self, session: SessionId) -> RefreshId {
        let newest = self.successors.iter().rfind(|(of, ..)| *of == session);
        // The first refresh token is named after the request that opened the session, as the session is.
        newest.map_or(session, |(.., successor)| *successor)
    }

    /// Whether this refresh token was presented in time: it is the newest one, or its unused successor is, and the grace has not ended.
    #[must_use]
    pub fn is_in_time(&self, session: SessionId, token: RefreshId, in_grace: bool) -> bool {
        let newest = self.newest(session);
        token == newest || (in_grace && self.successors.contains(&(session, token, newest)))
    }
}

impl World {
    /// Records that a link takes effect, before it changes the account.
    pub fn record_use(&mut self, kind: LinkKind, link: Link) {
        let Some(place) = self.mails.iter().position(|mail| mail.kind == kind && mail.link == link) else { return };
        let mail @ Mail { account, is_used, .. } = self.mails[place];
        self.mails[place].is_used = true;
        if is_used {
            self.history.record_broken(Broken::LinkUsedTwice(kind));
        }
        let Some(owner) = self.postgres.account(account) else { return };
        let outlives = matches!(kind, LinkKind::UndoChange | LinkKind::Keep | LinkKind::UndoFactor);
        if !outlives && (owner.version, owner.address) != (mail.version, mail.address) {
            self.history.record_broken(Broken::LinkOutlivedItsVersion(kind));
        }
    }
}
