//! PostgreSQL. Each public function is one statement of `shared/src/db`, or a part of one, and takes effect as a whole.
//!
//! A statement may run twice, because the service repeats it if its answer is lost. So each statement recognises its first run, by a random value
//! that only its request has.

use crate::{
    defects::Defect,
    factors::{Factors, Shown},
    protocol::{Protocol, Store},
    world::{
        AccountId, Address, Link, LinkKind, Passing, Password, PasswordHash, Random, Session, SessionId, Version, Who,
        World,
    },
};

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Postgres {
    /// The accounts. An erased account leaves its place empty.
    pub accounts: Vec<Option<Account>>,
    /// The table `sessions`. Empty if sessions are in DynamoDB.
    pub sessions: Vec<Session>,
    /// The table `session_endings`: the account and the minimum version that DynamoDB must still have.
    pub debts: Vec<(AccountId, Version)>,
}

/// A row of `users`, with the rows of other tables of which a user has at most one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account {
    /// The address.
    pub address: Address,
    /// Whether it is verified.
    pub is_verified: bool,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// The credential version.
    pub version: Version,
    /// `password_resets`.
    pub reset: Option<Reset>,
    /// `email_verifications`.
    pub verification: Option<Verification>,
    /// `email_changes`.
    pub change: Option<Change>,
    /// `email_undos`, the oldest first.
    pub undos: Vec<Undo>,
    /// `account_deletions`.
    pub deletion: Option<Deletion>,
    /// Wrong passwords in a row under this credential version, from the networks of Ada, Bob and Eve.
    pub failures: [u8; 3],
    /// The second factors.
    pub factors: Factors,
}

/// A reset token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reset {
    /// The token.
    pub link: Link,
    /// Whether it was used, and sessions in DynamoDB must still end.
    pub is_redeemed: bool,
}

/// A link that verifies the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verification {
    /// The token.
    pub link: Link,
    /// The address to which it was sent.
    pub address: Address,
    /// The credential version at the request.
    pub version: Version,
}

/// A requested change of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Change {
    /// The token.
    pub link: Link,
    /// The new address.
    pub to: Address,
    /// The credential version at the request.
    pub version: Version,
}

/// A change of the address that can be undone. The earlier address is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Undo {
    /// The token.
    pub link: Link,
    /// The earlier address.
    pub address: Address,
    /// Whether it was verified.
    pub is_verified: bool,
}

/// A deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deletion {
    /// The token that keeps the account.
    pub link: Link,
    /// Whether the account may be erased, and not be kept any more.
    pub is_due: bool,
}

/// The session that a request presents. If sessions are in DynamoDB, it was found live there with this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Presented {
    /// The account.
    pub account: AccountId,
    /// The session.
    pub session: SessionId,
    /// Its version in DynamoDB.
    pub version: Option<Version>,
}

/// The result of presenting a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// The session has a new refresh token, or still the current one.
    Tokens(Session),
    /// It was an old token, so the session has ended now.
    Reused,
    /// The session had ended before.
    Gone,
}

/// The account of a reset token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found {
    /// The token can be used.
    Valid(AccountId),
    /// The token has set this password. The sessions in DynamoDB must still end.
    Redeemed(AccountId, Password, Version),
}

impl Account {
    /// A new account.
    #[must_use]
    pub fn new(address: Address, password: Password, salt: Random) -> Self {
        Self {
            address,
            is_verified: false,
            hash: PasswordHash { password, salt },
            version: 1,
            reset: None,
            verification: None,
            change: None,
            undos: Vec::new(),
            deletion: None,
            failures: [0; 3],
            factors: Factors::default(),
        }
    }

    /// Raises the credential version. The counters of failures have the version in their names, so they begin again.
    fn raise_version(&mut self) -> Version {
        self.version += 1;
        self.failures = [0; 3];
        self.version
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Passing) {
        self.failures = [0; 3];
        if time >= Passing::Day {
            (self.reset, self.verification, self.change) = (None, None, None);
        }
        if time == Passing::Week {
            self.undos.clear();
            self.factors.undos.clear();
            if let Some(deletion) = &mut self.deletion {
                deletion.is_due = true;
            }
        }
    }
}

impl Postgres {
    /// An account, unless it was erased.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(usize::from(id))?.as_ref()
    }

    /// Like [`Self::account`].
    pub fn account_mut(&mut self, id: AccountId) -> Option<&mut Account> {
        self.accounts.get_mut(usize::from(id))?.as_mut()
    }

    /// The accounts that were not erased, with their ids.
    pub fn all(&self) -> impl Iterator<Item = (AccountId, &Account)> {
        (0..).zip(&self.accounts).filter_map(|(id, account)| Some((id, account.as_ref()?)))
    }

    /// `session_is_live!`: the row of a session that is live.
    #[must_use]
    pub fn live(&self, session: SessionId) -> Option<&Session> {
        let row = self.sessions.iter().find(|row| row.id == session)?;
        (!row.is_revoked && self.account(row.account)?.version == row.version).then_some(row)
    }

    /// `session_is_presented!`: the account of a presented session, if the session is live, or if it still has the account's credential version.
    pub fn presented(&mut self, Presented { account, session, version }: Presented) -> Option<&mut Account> {
        let is_presented = match version {
            None => self.live(session).is_some(),
            Some(version) => self.account(account)?.version == version,
        };
        if is_presented { self.account_mut(account) } else { None }
    }

    /// `owe_session_ending!`. The debt is also owed while sessions are in PostgreSQL, where nothing needs it, so the model leaves it out there.
    fn owe(&mut self, protocol: &Protocol, account: AccountId, version: Version) {
        if protocol.store == Store::PostgreSql
            || protocol.has(Defect::NothingIsOwed)
            || protocol.has(Defect::EndsBeforeCommit)
        {
            return;
        }
        self.debts.retain(|(of, _)| *of != account);
        self.debts.push((account, version));
        self.debts.sort_unstable();
    }

    /// Raises the credential version of an account, which ends its sessions in PostgreSQL, and owes their ending in DynamoDB.
    pub fn raise_version_and_owe(&mut self, protocol: &Protocol, id: AccountId) -> Version {
        let version = self.account_mut(id).map_or(0, Account::raise_version);
        self.owe(protocol, id, version);
        version
    }

    /// `SETTLE`: deletes the debt, and the used reset token that was kept for it.
    pub fn settle(&mut self, account: AccountId, version: Version) {
        let debts = self.debts.len();
        self.debts.retain(|(of, owed)| *of != account || *owed > version);
        if self.debts.len() < debts
            && let Some(owner) = self.account_mut(account)
        {
            owner.reset = owner.reset.filter(|reset| !reset.is_redeemed);
        }
    }

    /// `COUNT_SIGN_IN`: the account of this address, unless it is deleted.
    #[must_use]
    pub fn by_address(&self, address: Address) -> Option<(AccountId, &Account)> {
        self.all().find(|(_, account)| account.address == address && account.deletion.is_none())
    }

    /// Whether the counters refuse an attempt to sign in from this network.
    #[must_use]
    pub fn must_wait(&self, protocol: &Protocol, account: AccountId, source: Who, is_signed_in_from: bool) -> bool {
        let (Some(limits), Some(owner)) = (protocol.scenario.failures, self.account(account)) else { return false };
        let of_account = owner.failures.iter().sum::<u8>() >= limits.of_account;
        let is_closed = of_account && (!is_signed_in_from || protocol.has(Defect::FailuresCloseTheAccount));
        owner.failures[source as usize] >= limits.of_source || is_closed
    }

    /// `sessions::OPEN`.
    pub fn open(&mut self, session: Session) -> Option<Session> {
        let owner = self.account(session.account)?;
        if let Some(row) = self.sessions.iter().find(|row| row.id == session.id) {
            return Some(*row);
        }
        if owner.version != session.version {
            return None;
        }
        self.sessions.push(session);
        Some(session)
    }

    /// `sessions::REFRESH`.
    pub fn refresh(&mut self, protocol: &Protocol, session: SessionId, token: Random, successor: Random) -> Refreshed {
        if self.live(session).is_none() {
            return Refreshed::Gone;
        }
        let Some(row) = self.sessions.iter_mut().find(|row| row.id == session) else { return Refreshed::Gone };
        if row.refresh == token {
            *row = Session { refresh: successor, parent: Some(token), in_grace: true, ..*row };
        } else if !(row.refresh == successor || protocol.may_repeat(row, token)) {
            row.is_revoked = !protocol.has(Defect::OldTokensServe);
            return if row.is_revoked { Refreshed::Reused } else { Refreshed::Tokens(*row) };
        }
        Refreshed::Tokens(*row)
    }

    /// `sessions::END`. Returns whether the session was live. `is_repeated` says that an earlier run of the same request may have ended it.
    pub fn end(&mut self, session: SessionId, is_repeated: bool) -> bool {
        let was_live = self.live(session).is_some();
        self.sessions.iter_mut().filter(|row| row.id == session).for_each(|row| row.is_revoked = true);
        was_live || is_repeated
    }

    /// `sessions::END_OTHERS`: ends the other sessions of the account, if `kept` is live. Returns them.
    pub fn end_others(&mut self, account: AccountId, kept: SessionId) -> Option<Vec<SessionId>> {
        self.live(kept)?;
        let others = self.sessions.iter_mut().filter(|row| row.account == account && row.id != kept);
        Some(others.map(|row| (row.is_revoked = true, row.id).1).collect())
    }

    /// `sessions::RENEW`.
    pub fn renew(&mut self, session: SessionId, version: Version) -> Option<Session> {
        self.live(session).filter(|row| row.version == version)?;
        let row = self.sessions.iter_mut().find(|row| row.id == session)?;
        row.is_fresh = true;
        Some(*row)
    }

    /// The part of `passkeys::ADD` and `removals::REMOVE` that keeps the session of the request.
    pub fn keep(&mut self, kept: Session) {
        if let Some(row) = self.sessions.iter_mut().find(|row| row.id == kept.id) {
            (row.version, row.shown) = (kept.version, kept.shown);
        }
    }

    /// `password_resets::FIND`.
    #[must_use]
    pub fn find_reset(&self, link: Link) -> Option<Found> {
        let (id, account) = self
            .all()
            .find(|(_, account)| account.deletion.is_none() && account.reset.is_some_and(|reset| reset.link == link))?;
        let is_redeemed = account.reset.is_some_and(|reset| reset.is_redeemed);
        Some(if is_redeemed { Found::Redeemed(id, account.hash.password, account.version) } else { Found::Valid(id) })
    }

    /// `email_undos`: whether an address belongs to an account, or is reserved for an account other than this one.
    fn is_taken(&self, protocol: &Protocol, address: Address, by_another_than: Option<AccountId>) -> bool {
        self.all().any(|(id, account)| {
            let is_reserved =
                account.undos.iter().any(|undo| undo.address == address) && !protocol.has(Defect::NothingIsReserved);
            account.address == address || (is_reserved && Some(id) != by_another_than)
        })
    }
}

impl World {
    /// `users::CREATE`.
    pub fn create(&mut self, protocol: &Protocol, address: Address, password: Password, random: Random) -> bool {
        let hash = PasswordHash { password, salt: random };
        if self.postgres.all().any(|(_, account)| account.address == address && account.hash == hash) {
            return true;
        }
        if self.postgres.is_taken(protocol, address, None) {
            return false;
        }
        let id = u8::try_from(self.postgres.accounts.len()).unwrap_or(u8::MAX);
        let verification = Verification { link: random, address, version: 1 };
        let account = Account { verification: Some(verification), ..Account::new(address, password, random) };
        self.postgres.accounts.push(Some(account));
        self.send(address, LinkKind::Verify, random, id);
        true
    }

    /// `password_resets::REQUEST`: replaces the reset token. If the account is deleted, replaces the token that keeps it.
    pub fn request_reset(&mut self, address: Address, link: Link) {
        let Some((id, account)) = self.postgres.all().find(|(_, account)| account.address == address) else { return };
        let kind = match account.deletion {
            Some(Deletion { is_due: true, .. }) => return,
            Some(_) => LinkKind::Keep,
            None => LinkKind::Reset,
        };
        let Some(account) = self.postgres.account_mut(id) else { return };
        match &mut account.deletion {
            Some(deletion) => deletion.link = link,
            None => account.reset = Some(Reset { link, is_redeemed: false }),
        }
        self.send(address, kind, link, id);
    }

    /// `password_resets::REDEEM`. Returns the new credential version.
    pub fn redeem(&mut self, protocol: &Protocol, id: AccountId, link: Link, hash: PasswordHash) -> Option<Version> {
        let account = self.postgres.account(id)?;
        if account.hash == hash {
            return Some(account.version);
        }
        if account.reset != Some(Reset { link, is_redeemed: false }) || account.deletion.is_some() {
            return None;
        }
        self.record_use(LinkKind::Reset, link);
        let account = self.postgres.account_mut(id)?;
        let kept = Reset { link, is_redeemed: protocol.store == Store::DynamoDb };
        account.reset = (kept.is_redeemed || protocol.has(Defect::LinkServesTwice)).then_some(kept);
        (account.hash, account.is_verified) = (hash, true);
        if protocol.has(Defect::ResetKeepsSessions) {
            return Some(account.version);
        }
        let version = account.raise_version();
        self.postgres.owe(protocol, id, version);
        Some(version)
    }

    /// `password_changes::CHANGE_PASSWORD`. If sessions are in PostgreSQL, also opens the session that replaces the presented one. Returns the new
    /// credential version, and that session.
    pub fn change_password(
        &mut self,
        protocol: &Protocol,
        presented: Presented,
        hash: PasswordHash,
    ) -> Option<(Version, Option<Session>)> {
        let earlier = self.postgres.live(presented.session).copied();
        let Some(account) = self.postgres.presented(presented) else {
            let account = self.postgres.account(presented.account).filter(|account| account.hash == hash)?;
            return Some((account.version, self.postgres.live(hash.salt).copied()));
        };
        account.hash = hash;
        account.reset = account.reset.filter(|_| protocol.has(Defect::ResetLinkIsUnbound));
        let version = account.raise_version();
        self.postgres.owe(protocol, presented.account, version);
        let opened = earlier.map(|earlier| Session::replacing(&earlier, hash.salt, version));
        self.postgres.sessions.extend(opened);
        Some((version, opened))
    }

    /// `account_deletions::REQUEST`. Returns the new credential version.
    pub fn delete(&mut self, protocol: &Protocol, presented: Presented, link: Link) -> Option<Version> {
        let Presented { account: id, version, .. } = presented;
        let Some(account) = self.postgres.presented(presented) else {
            let account = self.postgres.account(id)?;
            let is_repeated =
                account.deletion?.link == link || version.is_some_and(|version| account.version == version + 1);
            return is_repeated.then_some(account.version);
        };
        (account.reset, account.verification, account.change) = (None, None, None);
        account.deletion = Some(Deletion { link, is_due: protocol.scenario.erases_at_once });
        self.history.kept.retain(|kept| *kept != id);
        let (version, address) = (account.raise_version(), account.address);
        self.postgres.owe(protocol, id, version);
        self.send(address, LinkKind::Keep, link, id);
        Some(version)
    }

    /// `account_deletions::KEEP`. Returns the account, or `None` if the link is not valid.
    pub fn keep(&mut self, link: Link) -> Option<AccountId> {
        let kept = Some(Deletion { link, is_due: false });
        let (id, _) = self.postgres.all().find(|(_, account)| account.deletion == kept)?;
        self.record_use(LinkKind::Keep, link);
        self.postgres.account_mut(id)?.deletion = None;
        Some(id)
    }

    /// `account_deletions::DUE`: an account that may be erased, and its credential version.
    #[must_use]
    pub fn due(&self) -> Option<(AccountId, Version)> {
        let is_due =
            |account: &Account| account.deletion.is_some_and(|deletion| deletion.is_due) && account.undos.is_empty();
        self.postgres.all().find(|(_, account)| is_due(account)).map(|(id, account)| (id, account.version))
    }

    /// `account_deletions::ERASE`.
    pub fn erase(&mut self, id: AccountId, version: Version) {
        if self.due() == Some((id, version)) {
            self.postgres.accounts[usize::from(id)] = None;
            self.postgres.sessions.retain(|session| session.account != id);
            self.postgres.debts.retain(|(of, _)| *of != id);
        }
    }

    /// `email_verifications::VERIFY_BY_LINK`. `version` is the one under which the password was verified.
    pub fn verify(&mut self, id: AccountId, link: Link, version: Version) -> bool {
        let Some(account) = self.postgres.account(id) else { return false };
        let expected = Verification { link, address: account.address, version };
        if account.verification != Some(expected) || account.version != version {
            return false;
        }
        self.record_use(LinkKind::Verify, link);
        if let Some(account) = self.postgres.account_mut(id) {
            (account.verification, account.is_verified) = (None, true);
        }
        true
    }

    /// `email_changes::REQUEST`. A taken address gets no mail. Returns whether the account has another address, or `None` if the session is not live.
    pub fn request_change(
        &mut self,
        protocol: &Protocol,
        presented: Presented,
        to: Address,
        link: Link,
    ) -> Option<bool> {
        let is_taken = self.postgres.is_taken(protocol, to, Some(presented.account));
        let account = self.postgres.presented(presented)?;
        if account.address == to {
            return Some(false);
        }
        account.change = Some(Change { link, to, version: account.version });
        if !is_taken {
            self.send(to, LinkKind::ChangeAddress, link, presented.account);
        }
        Some(true)
    }

    /// The account of a link that changes the address, and its credential version. With [`Self::verify_link`], these are `COUNT_OF_EMAIL_CHANGE` and
    /// `COUNT_OF_VERIFICATION`.
    #[must_use]
    pub fn change_link(&self, link: Link) -> Option<(AccountId, &Account)> {
        let belongs = |account: &Account| {
            account.change.is_some_and(|change| (change.link, change.version) == (link, account.version))
        };
        self.postgres.all().find(|(_, account)| belongs(account) && account.deletion.is_none())
    }

    /// The account of a link that verifies the address.
    #[must_use]
    pub fn verify_link(&self, link: Link) -> Option<(AccountId, &Account)> {
        let belongs = |account: &Account| {
            account.verification == Some(Verification { link, address: account.address, version: account.version })
        };
        self.postgres.all().find(|(_, account)| belongs(account) && account.deletion.is_none())
    }

    /// `email_changes::CHANGE`.
    pub fn change_address(&mut self, protocol: &Protocol, id: AccountId, link: Link, random: Random) -> bool {
        let Some(account) = self.postgres.account(id) else { return false };
        if account.undos.iter().any(|undo| undo.link == random) {
            return true;
        }
        let Some(Change { to, version, .. }) = account.change.filter(|change| change.link == link) else {
            return false;
        };
        let is_valid = version == account.version && account.deletion.is_none();
        if !is_valid || self.postgres.is_taken(protocol, to, Some(id)) {
            return false;
        }
        let undo = Undo { link: random, address: account.address, is_verified: account.is_verified };
        self.record_use(LinkKind::ChangeAddress, link);
        self.send(undo.address, LinkKind::UndoChange, random, id);
        if let Some(account) = self.postgres.account_mut(id) {
            (account.address, account.is_verified) = (to, true);
            (account.change, account.verification) = (None, None);
            account.reset = account.reset.filter(|reset| reset.is_redeemed);
            account.undos.push(undo);
        }
        true
    }

    /// `email_changes::UNDO`. Returns the account and its new credential version.
    pub fn undo_change(&mut self, protocol: &Protocol, link: Link, reset: Link) -> Option<(AccountId, Version)> {
        let found = self.postgres.all().find(|(_, account)| account.undos.iter().any(|undo| undo.link == link));
        let Some((id, account)) = found else {
            let again = Some(Reset { link: reset, is_redeemed: false });
            return self
                .postgres
                .all()
                .find(|(_, account)| account.reset == again)
                .map(|(id, account)| (id, account.version));
        };
        let place = account.undos.iter().position(|undo| undo.link == link)?;
        let undo = account.undos[place];
        self.record_use(LinkKind::UndoChange, link);
        let account = self.postgres.account_mut(id)?;
        (account.address, account.is_verified) = (undo.address, undo.is_verified);
        account.undos.truncate(place);
        (account.change, account.verification, account.deletion) = (None, None, None);
        account.reset = Some(Reset { link: reset, is_redeemed: false });
        let version = account.raise_version();
        self.postgres.owe(protocol, id, version);
        self.send(undo.address, LinkKind::Reset, reset, id);
        Some((id, version))
    }
}

impl Session {
    /// A session that is opened now.
    #[must_use]
    pub fn new(id: SessionId, account: AccountId, version: Version, source: Who, shown: Shown) -> Self {
        Self {
            id,
            account,
            version,
            refresh: id,
            parent: None,
            in_grace: false,
            is_fresh: true,
            is_revoked: false,
            source,
            shown,
        }
    }

    /// A session that replaces another one after a change of the password. It inherits the time of the proof, and the factors that were shown.
    #[must_use]
    pub fn replacing(earlier: &Self, id: SessionId, version: Version) -> Self {
        let new = Self::new(id, earlier.account, version, earlier.source, earlier.shown);
        Self { is_fresh: earlier.is_fresh, ..new }
    }
}
