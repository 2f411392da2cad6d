//! Second factors: an authenticator app, and passkeys. The rule, which `Sessions::open` checks for every kind of factor, is: **no session is live
//! without the factors that the account held when the session was opened.** A passkey can also sign its user in alone.

use crate::{
    defects::Defect,
    endpoints::{Answer, Operation, Outcome, Request, revoked},
    history::Ended,
    postgres::Account,
    protocol::{Protocol, Store},
    world::{AccountId, FactorId, Link, LinkKind, Session, Version, Who, World},
};

/// The factors that were shown in a session. The password was, unless a passkey opened it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shown {
    /// Whether a code of the authenticator app was shown: `otp` in the claim `amr`.
    pub code: bool,
    /// The last passkey that was shown: `pop` in the claim `amr`.
    pub passkey: Option<FactorId>,
}

impl Shown {
    /// A code of the authenticator app.
    pub const CODE: Self = Self { code: true, passkey: None };

    /// A passkey.
    #[must_use]
    pub fn passkey(id: FactorId) -> Self {
        Self { code: false, passkey: Some(id) }
    }

    /// Whether any was shown.
    #[must_use]
    pub fn has_any(self) -> bool {
        self.code || self.passkey.is_some()
    }
}

/// What kind of factor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An authenticator app. An account has at most one.
    App,
    /// A passkey.
    Passkey,
}

/// A factor of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Factor {
    /// Its id, which is also the name of the link that undoes it.
    pub id: FactorId,
    /// What it is.
    pub kind: Kind,
    /// Who has the app or the passkey.
    pub holder: Who,
}

/// The factors of an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Factors {
    /// The factors.
    pub held: Vec<Factor>,
    /// The links that undo factors, in the order in which the factors were added. A link outlives the removal of its factor.
    pub undos: Vec<Link>,
    /// Tokens for the second step of a sign-in, each with the credential version under which the password was verified.
    pub second_steps: Vec<(Link, Version)>,
}

impl Factors {
    fn app(&self) -> Option<&Factor> {
        self.held.iter().find(|factor| factor.kind == Kind::App)
    }

    /// Whether this person can show this passkey.
    #[must_use]
    pub fn has_passkey(&self, id: FactorId, holder: Who) -> bool {
        self.held.contains(&Factor { id, kind: Kind::Passkey, holder })
    }
}

impl Account {
    /// Whether a user who has proved only the password must show a factor.
    #[must_use]
    pub fn needs_factor(&self, protocol: &Protocol) -> bool {
        !self.factors.held.is_empty() && !protocol.has(Defect::SignInSkipsFactors)
    }
}

/// After the right password: the answer is a token for the second step, which opens nothing by itself.
pub fn begin_second_step(world: &mut World, account: AccountId, version: Version, request: &Request) -> Outcome {
    if let Some(owner) = world.postgres.account_mut(account) {
        owner.factors.second_steps.push((request.random, version));
    }
    world.knowledge_mut(request.by).second_steps.push(request.random);
    Outcome::Answer(Answer::refused(401, "second_factor_required"))
}

/// `POST /api/signin/second-factor`: the token works once, and only under the credential version of the password. Without a passkey, the person shows a
/// code of the app.
pub fn take_second_step(
    protocol: &Protocol,
    world: &mut World,
    token: Link,
    passkey: Option<FactorId>,
    request: &Request,
) -> Outcome {
    let holds = |(_, account): &(AccountId, &Account)| account.factors.second_steps.contains(&(token, account.version));
    let Some((id, account)) = world.postgres.all().find(holds) else {
        return Outcome::Answer(Answer::refused(401, "invalid_mfa_token"));
    };
    let shown = match passkey {
        None if account.factors.app().is_some_and(|app| app.holder == request.by) => Shown::CODE,
        None => return Outcome::Answer(Answer::refused(400, "invalid_code")),
        Some(passkey) if account.factors.has_passkey(passkey, request.by) => Shown::passkey(passkey),
        Some(_) => return Outcome::Answer(Answer::refused(400, "passkey_rejected")),
    };
    let version = account.version;
    if let Some(owner) = world.postgres.account_mut(id) {
        owner.factors.second_steps.retain(|(other, _)| *other != token);
    }
    Outcome::Next(Operation::open(protocol, Session::new(request.random, id, version, request.by, shown)))
}

/// `POST /api/signin/passkey`: the passkey says which account it belongs to.
#[must_use]
pub fn sign_in(protocol: &Protocol, world: &World, passkey: FactorId, request: &Request) -> Outcome {
    let holds = |(_, account): &(AccountId, &Account)| account.factors.has_passkey(passkey, request.by);
    match world.postgres.all().find(holds) {
        Some((id, account)) => {
            let shown = Shown::passkey(passkey);
            let session = Session::new(request.random, id, account.version, request.by, shown);
            Outcome::Next(Operation::open(protocol, session))
        }
        None => Outcome::Answer(Answer::refused(400, "passkey_rejected")),
    }
}

/// Adds a factor of the person, with a link that undoes it. Returns the new credential version, which ends all sessions that do not get it.
fn add(protocol: &Protocol, world: &mut World, session: Session, kind: Kind, request: &Request) -> Option<Version> {
    let owner = world.postgres.account_mut(session.account)?;
    if owner.version != session.version {
        return None;
    }
    owner.factors.held.push(Factor { id: request.random, kind, holder: request.by });
    owner.factors.undos.push(request.random);
    let address = owner.address;
    let version = raise_version(protocol, world, session.account);
    world.send(address, LinkKind::UndoFactor, request.random, session.account);
    Some(version)
}

/// Raises the credential version, which ends all sessions that do not get it, and voids the links that belong to a version.
fn raise_version(protocol: &Protocol, world: &mut World, account: AccountId) -> Version {
    if let Some(owner) = world.postgres.account_mut(account) {
        (owner.reset, owner.verification, owner.change) = (None, None, None);
    }
    world.postgres.raise_version_and_owe(protocol, account)
}

/// `POST /api/totp/confirm`: adds the authenticator app of the person, ends all sessions, and opens a new one that has shown a code.
pub fn add_app(protocol: &Protocol, world: &mut World, session: Session, request: &Request) -> Outcome {
    let may_add = |account: &Account| account.factors.app().is_none() && account.is_verified;
    if !world.postgres.account(session.account).is_some_and(may_add) {
        return Outcome::Answer(Answer::refused(409, "totp_exists"));
    }
    let Some(version) = add(protocol, world, session, Kind::App, request) else { return revoked() };
    let shown = Shown { code: true, ..session.shown };
    let new = Session { shown, ..Session::replacing(&session, request.random, version) };
    if protocol.store == Store::PostgreSql {
        world.postgres.open(new);
        return Outcome::Answer(Answer::tokens(new).and_ended(Ended::Below(session.account, version)));
    }
    Outcome::Next(Operation::PutAndQuery(new))
}

/// `POST /api/passkeys`: adds a passkey of the person, and ends all other sessions. The session of the request has shown the passkey.
pub fn add_passkey(protocol: &Protocol, world: &mut World, session: Session, request: &Request) -> Outcome {
    let Some(version) = add(protocol, world, session, Kind::Passkey, request) else { return revoked() };
    world.knowledge_mut(request.by).passkeys.push(request.random);
    keep(protocol, world, session, version, Some(request.random), 201)
}

/// `DELETE /api/totp` and `DELETE /api/passkeys/{id}`: removes a factor, and ends all other sessions.
pub fn remove(protocol: &Protocol, world: &mut World, session: Session, factor: Option<FactorId>) -> Outcome {
    let Some(owner) = world.postgres.account_mut(session.account) else { return revoked() };
    if owner.version != session.version {
        return revoked();
    }
    let app = owner.factors.app().map(|app| app.id);
    let Some(removed) = factor.or(app).filter(|id| owner.factors.held.iter().any(|factor| factor.id == *id)) else {
        let code = if factor.is_some() { "passkey_not_found" } else { "totp_not_found" };
        return Outcome::Answer(Answer::refused(404, code));
    };
    owner.factors.held.retain(|factor| factor.id != removed);
    let version = if protocol.has(Defect::RemovalKeepsVersion) {
        session.version
    } else {
        raise_version(protocol, world, session.account)
    };
    keep(protocol, world, session, version, None, 200)
}

/// Keeps the session of the request after its account got another credential version, and records that it has shown a passkey.
fn keep(
    protocol: &Protocol,
    world: &mut World,
    session: Session,
    version: Version,
    passkey: Option<FactorId>,
    status: u16,
) -> Outcome {
    let shown = Shown { passkey: passkey.or(session.shown.passkey), ..session.shown };
    let kept = Session { version, shown, ..session };
    if protocol.store == Store::DynamoDb {
        return Outcome::Next(Operation::Keep(session, kept, status));
    }
    world.postgres.keep(kept);
    Outcome::Answer(Answer::success(status).and_ended(Ended::Below(session.account, version)))
}

/// `POST /api/undo-factor/{token}`: removes the factor and what was added since, ends all sessions, and mails a reset link.
pub fn undo(protocol: &Protocol, world: &mut World, link: Link, request: &Request) -> Outcome {
    let holds = |(_, account): &(AccountId, &Account)| account.factors.undos.contains(&link);
    let Some(account) = world.postgres.all().find(holds).map(|(id, _)| id) else {
        return Outcome::Answer(Answer::refused(400, "invalid_or_expired_token"));
    };
    world.record_use(LinkKind::UndoFactor, link);
    if let Some(owner) = world.postgres.account_mut(account) {
        let place = owner.factors.undos.iter().position(|other| *other == link).unwrap_or(0);
        let undone = owner.factors.undos.split_off(place);
        if protocol.has(Defect::UndoRemovesOneFactor) {
            owner.factors.undos.extend(undone.iter().filter(|other| **other != link));
            owner.factors.held.retain(|factor| factor.id != link);
        } else {
            owner.factors.held.retain(|factor| !undone.contains(&factor.id));
        }
        world.history.undone.push((link, undone));
    }
    let version = raise_version(protocol, world, account);
    if let Some(address) = world.postgres.account(account).map(|owner| owner.address) {
        world.request_reset(address, request.random);
    }
    Operation::end_below(protocol, account, version)
}

impl World {
    /// Remembers, for the promises, whether a session that was just opened needs a factor, and whether its passkey was removed before.
    pub fn remember_factors(&mut self, session: &Session) {
        let has_factor = |account: &Account| !account.factors.held.is_empty() && account.version == session.version;
        if self.postgres.account(session.account).is_some_and(has_factor) {
            self.history.opened_with_factor.push(session.id);
            self.history.opened_with_factor.dedup();
        }
        if session.shown.passkey.is_some_and(|passkey| self.history.removed.contains(&passkey)) {
            self.history.opened_with_removed.push(session.id);
            self.history.opened_with_removed.dedup();
        }
    }
}
