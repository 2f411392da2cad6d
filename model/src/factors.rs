//! Second factors: an authenticator app, and passkeys. `Sessions` demands one wherever it opens a session: **no session is accepted without a second
//! factor if its account had one when the session was opened.** A passkey can also sign its user in alone.

use crate::{
    defects::Defect,
    endpoints::{Answer, Operation, Outcome, Request, revoked},
    history::Ended,
    postgres::{Account, Presented},
    protocol::{Protocol, Store},
    world::{AccountId, FactorId, Link, LinkKind, Session, Version, Who, World},
};

/// The factors that were shown in a session. The password was, unless a passkey opened it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shown {
    /// The authenticator app of which a code was shown: `otp` in the claim `amr`.
    pub app: Option<FactorId>,
    /// The last passkey that was shown: `pop` in the claim `amr`.
    pub passkey: Option<FactorId>,
}

impl Shown {
    fn app(id: FactorId) -> Self {
        Self { app: Some(id), passkey: None }
    }

    fn passkey(id: FactorId) -> Self {
        Self { app: None, passkey: Some(id) }
    }

    /// These factors, and others that were shown later.
    fn and(self, later: Self) -> Self {
        Self { app: later.app.or(self.app), passkey: later.passkey.or(self.passkey) }
    }

    /// Whether any was shown.
    #[must_use]
    pub fn has_any(self) -> bool {
        self.app.is_some() || self.passkey.is_some()
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
    let holds = |(_, account): &(AccountId, &Account)| {
        account.factors.second_steps.contains(&(token, account.version)) && account.deletion.is_none()
    };
    let Some((id, account)) = world.postgres.all().find(holds) else {
        return Outcome::Answer(Answer::refused(401, "invalid_mfa_token"));
    };
    let shown = match passkey {
        None => match account.factors.app() {
            Some(app) if app.holder == request.by => Shown::app(app.id),
            _ => return Outcome::Answer(Answer::refused(400, "invalid_code")),
        },
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
    let holds = |(_, account): &(AccountId, &Account)| {
        account.factors.has_passkey(passkey, request.by) && account.deletion.is_none()
    };
    match world.postgres.all().find(holds) {
        Some((id, account)) => {
            let shown = Shown::passkey(passkey);
            let session = Session::new(request.random, id, account.version, request.by, shown);
            Outcome::Next(Operation::open(protocol, session))
        }
        None => Outcome::Answer(Answer::refused(400, "passkey_rejected")),
    }
}

/// Raises the credential version, which ends all sessions that do not get it, and voids the links that belong to a version.
fn raise_version(protocol: &Protocol, world: &mut World, account: AccountId) -> Version {
    if let Some(owner) = world.postgres.account_mut(account) {
        (owner.reset, owner.verification, owner.change) = (None, None, None);
    }
    world.postgres.raise_version_and_owe(protocol, account)
}

/// `POST /api/totp/confirm` and `POST /api/passkeys`: adds a factor of the person, with a link that undoes it, and ends all sessions but one, which has shown
/// the factor. For an authenticator app, this is a new session. For a passkey, it is the session of the request.
pub fn add(
    protocol: &Protocol,
    world: &mut World,
    session: Session,
    presented: Presented,
    kind: Kind,
    request: &Request,
) -> Outcome {
    let Some(owner) = world.postgres.presented(presented) else { return revoked() };
    if !owner.is_verified {
        return Outcome::Answer(Answer::refused(403, "email_not_verified"));
    }
    if kind == Kind::App && owner.factors.app().is_some() {
        return Outcome::Answer(Answer::refused(409, "totp_exists"));
    }
    owner.factors.held.push(Factor { id: request.random, kind, holder: request.by });
    owner.factors.undos.push(request.random);
    let address = owner.address;
    let version = raise_version(protocol, world, session.account);
    world.send(address, LinkKind::UndoFactor, request.random, session.account);
    if kind == Kind::Passkey {
        world.knowledge_mut(request.by).passkeys.push(request.random);
        let shown = session.shown.and(Shown::passkey(request.random));
        return keep(protocol, world, session, Session { version, shown, ..session }, 201);
    }
    let shown = session.shown.and(Shown::app(request.random));
    let new = Session { shown, ..Session::replacing(&session, request.random, version) };
    if protocol.store == Store::DynamoDb {
        return Outcome::Next(Operation::PutAndQuery(new));
    }
    world.postgres.open(new);
    world.remember_factors(&new);
    Outcome::Answer(Answer::tokens(new).and_ended(Ended::Below(session.account, version)))
}

/// `DELETE /api/totp` and `DELETE /api/passkeys/{id}`: removes a factor, and ends all other sessions.
pub fn remove(
    protocol: &Protocol,
    world: &mut World,
    session: Session,
    presented: Presented,
    passkey: Option<FactorId>,
    request: &Request,
) -> Outcome {
    let Some(owner) = world.postgres.presented(presented) else { return revoked() };
    let app = owner.factors.app().map(|app| app.id);
    let Some(removed) = passkey.or(app).filter(|id| owner.factors.held.iter().any(|factor| factor.id == *id)) else {
        let code = if passkey.is_some() { "passkey_not_found" } else { "totp_not_found" };
        return Outcome::Answer(Answer::refused(404, code));
    };
    owner.factors.held.retain(|factor| factor.id != removed);
    world.history.removals.push((request.random, vec![removed]));
    let version = if protocol.has(Defect::RemovalKeepsVersion) {
        session.version
    } else {
        raise_version(protocol, world, session.account)
    };
    keep(protocol, world, session, Session { version, ..session }, 200)
}

/// Keeps the session of the request after its account got another credential version.
fn keep(protocol: &Protocol, world: &mut World, found: Session, kept: Session, status: u16) -> Outcome {
    if protocol.store == Store::DynamoDb {
        return Outcome::Next(Operation::Keep(found, kept, status));
    }
    world.postgres.keep(kept);
    Outcome::Answer(Answer::success(status).and_ended(Ended::Below(kept.account, kept.version)))
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
        world.history.removals.push((request.random, undone));
    }
    let version = raise_version(protocol, world, account);
    if let Some(address) = world.postgres.account(account).map(|owner| owner.address) {
        world.request_reset(address, request.random);
    }
    Operation::end_below(protocol, account, version)
}

impl World {
    /// Remembers, for the promises, whether a session that was just opened needs a factor, and whether its factor was removed before.
    pub fn remember_factors(&mut self, session: &Session) {
        let has_factor = |account: &Account| !account.factors.held.is_empty() && account.version == session.version;
        let history = &mut self.history;
        if self.postgres.account(session.account).is_some_and(has_factor)
            && !history.opened_with_factor.contains(&session.id)
        {
            history.opened_with_factor.push(session.id);
        }
        let Shown { app, passkey } = session.shown;
        let is_removed = [app, passkey].into_iter().flatten().any(|factor| history.removed.contains(&factor));
        if is_removed && !history.opened_with_removed.contains(&session.id) {
            history.opened_with_removed.push(session.id);
        }
    }
}
