//! Second factors. The model has one, an authenticator app. The rule, which `Sessions::open` checks for every kind of factor, is: **no session is live
//! without the factors that the account held when the session was opened.**

use crate::{
    defects::Defect,
    endpoints::{Answer, Operation, Outcome, Request, revoked},
    history::Ended,
    postgres::Account,
    protocol::{Protocol, Store},
    world::{AccountId, Link, LinkKind, Session, Version, Who, World},
};

/// The factors that were shown when a session was opened. The password always was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shown {
    /// Whether a code of the authenticator app was shown: `otp` in the claim `amr`.
    pub code: bool,
}

/// The factors of an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Factors {
    /// Whose authenticator app the account has.
    pub app: Option<Who>,
    /// The link that removes the app again.
    pub undo: Option<Link>,
    /// Tokens for the second step of a sign-in, each with the credential version under which the password was verified.
    pub second_steps: Vec<(Link, Version)>,
}

impl Account {
    /// Whether a user who has shown these factors must show another one.
    #[must_use]
    pub fn lacks_factor(&self, protocol: &Protocol, shown: Shown) -> bool {
        self.factors.app.is_some() && !shown.code && !protocol.has(Defect::SignInSkipsFactors)
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

/// `POST /api/signin/second-factor`: the token works once, and only under the credential version of the password.
pub fn take_second_step(protocol: &Protocol, world: &mut World, token: Link, request: &Request) -> Outcome {
    let holds = |(_, account): &(AccountId, &Account)| account.factors.second_steps.contains(&(token, account.version));
    let found = world.postgres.all().find(holds).map(|(id, account)| (id, account.version, account.factors.app));
    let Some((account, version, app)) = found else {
        return Outcome::Answer(Answer::refused(401, "invalid_mfa_token"));
    };
    if app != Some(request.by) {
        return Outcome::Answer(Answer::refused(400, "invalid_code"));
    }
    if let Some(owner) = world.postgres.account_mut(account) {
        owner.factors.second_steps.retain(|(other, _)| *other != token);
    }
    let session = Session::new(request.random, account, version, request.by, Shown { code: true });
    Outcome::Next(Operation::open(protocol, session))
}

/// `POST /api/totp/confirm`: adds the authenticator app of the person, ends all sessions, and opens a new one that has shown a code.
pub fn add_app(protocol: &Protocol, world: &mut World, session: Session, request: &Request) -> Outcome {
    let Some(owner) = world.postgres.account_mut(session.account) else { return revoked() };
    if owner.version != session.version || owner.factors.app.is_some() || !owner.is_verified {
        return Outcome::Answer(Answer::refused(409, "totp_exists"));
    }
    (owner.factors.app, owner.factors.undo) = (Some(request.by), Some(request.random));
    (owner.reset, owner.verification, owner.change) = (None, None, None);
    let address = owner.address;
    let version = world.postgres.raise_version_and_owe(protocol, session.account);
    world.send(address, LinkKind::UndoFactor, request.random, session.account);
    let new = Session { shown: Shown { code: true }, ..Session::replacing(&session, request.random, version) };
    if protocol.store == Store::PostgreSql {
        world.postgres.open(new);
        return Outcome::Answer(Answer::tokens(new).and_ended(Ended::Below(session.account, version)));
    }
    Outcome::Next(Operation::PutAndQuery(new))
}

/// `POST /api/undo-factor/{token}`: removes the app, ends all sessions, and mails a reset link.
pub fn undo(protocol: &Protocol, world: &mut World, link: Link, request: &Request) -> Outcome {
    let holds = |(_, account): &(AccountId, &Account)| account.factors.undo == Some(link);
    let found = world.postgres.all().find(holds).map(|(id, _)| id);
    let Some(account) = found else { return Outcome::Answer(Answer::refused(400, "invalid_or_expired_token")) };
    world.record_use(LinkKind::UndoFactor, link);
    let version = world.postgres.raise_version_and_owe(protocol, account);
    if let Some(owner) = world.postgres.account_mut(account) {
        (owner.factors.app, owner.factors.undo) = (None, None);
        (owner.reset, owner.verification, owner.change) = (None, None, None);
        let address = owner.address;
        world.request_reset(address, request.random);
    }
    Operation::end_below(protocol, account, version)
}

impl World {
    /// Remembers, for the promise, whether the account of a session that was just opened has an authenticator app.
    pub fn remember_factors(&mut self, session: &Session) {
        let has_app = |account: &Account| account.factors.app.is_some() && account.version == session.version;
        if self.postgres.account(session.account).is_some_and(has_app)
            && !self.history.opened_with_app.contains(&session.id)
        {
            self.history.opened_with_app.push(session.id);
        }
    }
}
