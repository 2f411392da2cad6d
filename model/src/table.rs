//! The state table in DynamoDB. Each function is one call of `shared/src/sessions/dynamodb.rs`, and takes effect as a whole.

use crate::{
    defects::Defect,
    protocol::Protocol,
    world::{AccountId, RefreshId, Session, SessionId, Version},
};

/// The table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Table {
    /// The items of sessions.
    pub sessions: Vec<Session>,
    /// The items `account`: the minimum version of each account that has one.
    pub minimum_versions: Vec<(AccountId, Version)>,
}

impl Table {
    /// The minimum version of an account. If there is no item, every version is live.
    #[must_use]
    pub fn minimum_version(&self, account: AccountId) -> Version {
        self.minimum_versions.iter().find(|(of, _)| *of == account).map_or(0, |(_, version)| *version)
    }

    /// `BatchGetItem`: the session, if it is live.
    #[must_use]
    pub fn find(&self, session: SessionId) -> Option<Session> {
        let item = self.sessions.iter().find(|item| item.id == session)?;
        (item.version >= self.minimum_version(item.account)).then_some(*item)
    }

    /// `Query`: the live sessions of an account.
    #[must_use]
    pub fn live(&self, account: AccountId) -> Vec<SessionId> {
        let of_account = self.sessions.iter().filter(|item| item.account == account);
        of_account.filter_map(|item| Some(self.find(item.id)?.id)).collect()
    }

    /// `PutItem`: stores a new session.
    pub fn put(&mut self, session: Session) {
        self.sessions.push(session);
        self.sessions.sort_unstable_by_key(|item| item.id);
    }

    /// `UpdateItem`: raises the minimum version. Does nothing if it is already this high or higher.
    pub fn raise_minimum_version(&mut self, account: AccountId, version: Version) {
        if self.minimum_version(account) < version {
            self.minimum_versions.retain(|(of, _)| *of != account);
            self.minimum_versions.push((account, version));
            self.minimum_versions.sort_unstable();
        }
    }

    /// `UpdateItem`: gives the session a new refresh token, or counts the repetition of a refresh. It is refused if the session has changed since it
    /// was read. Then it returns the session as it is now.
    ///
    /// # Errors
    /// The session as it is now.
    pub fn refresh(
        &mut self,
        protocol: &Protocol,
        read: Session,
        successor: Option<RefreshId>,
    ) -> Result<Session, Option<Session>> {
        let Some(item) = self.sessions.iter_mut().find(|item| item.id == read.id) else {
            if !protocol.has(Defect::UpdatesCreateItems) {
                return Err(None);
            }
            self.put(read);
            return Ok(read);
        };
        if (item.refresh, item.version) != (read.refresh, read.version) && !protocol.has(Defect::RotatesUnconditionally)
        {
            return Err(Some(*item));
        }
        if let Some(successor) = successor {
            *item = Session { refresh: successor, parent: Some(read.refresh), in_grace: true, ..*item };
        }
        Ok(*item)
    }

    /// `UpdateItem`: records that the user of the session has proved the password again.
    pub fn renew(&mut self, session: SessionId, version: Version) -> Option<Session> {
        let item = self.sessions.iter_mut().find(|item| (item.id, item.version) == (session, version))?;
        item.is_fresh = true;
        Some(*item)
    }

    /// `UpdateItem`: keeps a session, as it was found, under another credential version. Returns whether it was still there.
    pub fn keep(&mut self, found: &Session, kept: Session) -> bool {
        let Some(item) = self.sessions.iter_mut().find(|item| item.id == found.id) else { return false };
        // The second run of this call finds the version that the first one has set.
        let may_be_kept = item.version == found.version || item.version == kept.version;
        if may_be_kept {
            (item.version, item.shown) = (kept.version, kept.shown);
        }
        may_be_kept
    }

    /// `DeleteItem`. Returns the session if it was there.
    pub fn delete(&mut self, session: SessionId) -> Option<Session> {
        let place = self.sessions.iter().position(|item| item.id == session)?;
        Some(self.sessions.remove(place))
    }
}
