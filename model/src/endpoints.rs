//! The endpoints: which statements and calls each of them sends, in which order, and what it answers.
//!
//! A request is a sequence of operations. Between two operations of one request, any other request may run, and the function may stop.

use crate::{
    defects::Defect,
    factors::{self, Shown},
    history::Ended,
    postgres::{Found, Presented, Refreshed},
    promises::Broken,
    protocol::{Protocol, Store},
    world::{
        AccountId, Address, FactorId, Link, Password, PasswordHash, Random, RefreshId, Session, SessionId, Tokens,
        Version, Who, World,
    },
};

/// What a person asks of the service, or what `sweep` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `POST /api/signup`.
    SignUp(Address, Password),
    /// `POST /api/signin`.
    SignIn(Address, Password),
    /// `POST /api/signin/second-factor`, with a passkey, or with a code of the authenticator app.
    SecondFactor(Link, Option<FactorId>),
    /// `POST /api/signin/passkey`.
    SignInWithPasskey(FactorId),
    /// `POST /api/refresh`.
    Refresh(SessionId, RefreshId),
    /// `POST /api/logout`.
    LogOut(SessionId),
    /// `DELETE /api/sessions`, with an access token whose `auth_time` is fresh or not.
    EndOthers(SessionId, bool),
    /// `POST /api/reauthenticate`.
    Reauthenticate(SessionId, Password),
    /// `POST /api/change-password`, with the current password and the new one.
    ChangePassword(SessionId, Password, Password),
    /// `POST /api/forgot-password`.
    ForgotPassword(Address),
    /// `POST /api/reset-password/{token}`.
    ResetPassword(Link, Password),
    /// `DELETE /api/account`.
    DeleteAccount(SessionId, bool),
    /// `POST /api/keep-account/{token}`.
    KeepAccount(Link),
    /// `POST /api/verify-email/{token}`.
    VerifyAddress(Link, Password),
    /// `POST /api/change-email`.
    RequestChange(SessionId, bool, Address),
    /// `POST /api/change-email/{token}`.
    ChangeAddress(Link, Password),
    /// `POST /api/undo-email-change/{token}`.
    UndoChange(Link),
    /// `POST /api/totp/confirm`.
    AddApp(SessionId, bool),
    /// `DELETE /api/totp`.
    RemoveApp(SessionId, bool),
    /// `POST /api/passkeys`.
    AddPasskey(SessionId, bool),
    /// `DELETE /api/passkeys/{id}`.
    RemovePasskey(SessionId, bool, FactorId),
    /// `POST /api/undo-factor/{token}`.
    UndoFactor(Link),
    /// `sweep` settles a debt.
    Settle(AccountId, Version),
    /// `sweep` erases an account that is due.
    Erase(AccountId, Version),
}

/// A request under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// Its random value.
    pub random: Random,
    /// Who sent it, and from which network.
    pub by: Who,
    /// What it asks.
    pub call: Call,
    /// The operation that it sends next.
    pub next: Operation,
    /// Whether the function has stopped, and its last operation is still on its way to the store.
    pub is_late: bool,
    /// Whether its operation ran before and its answer was lost.
    pub is_repeated: bool,
}

/// A statement or a call that a request sends next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The first operation, which depends on the call alone.
    First,
    /// The account is read in PostgreSQL, after the session was found live in DynamoDB.
    ReadAccount(Session),
    /// The statement that changes the account, for the session that was found live.
    Change(Session),
    /// The statement that changes the account of a link, after the password was verified under this credential version.
    ChangeByLink(AccountId, Version),
    /// `OPEN`, in PostgreSQL.
    Open(Session),
    /// A new session is stored in DynamoDB, and the account's sessions are read, at the same time.
    PutAndQuery(Session),
    /// The first half of `PutAndQuery` has run.
    Query(Session),
    /// The second half of `PutAndQuery` has run first, and found this minimum version.
    Put(Session, Version),
    /// The minimum version is raised to that of the new session.
    RaiseFor(Session),
    /// The debt is settled after a new session was opened.
    SettleFor(Session),
    /// A refresh in DynamoDB changes the session that it has read, under the minimum version that it has read.
    RefreshItem(Session, Version),
    /// A refresh in DynamoDB deletes the session, because its refresh token is too old.
    DeleteItem(Session),
    /// The other sessions of the account are read in DynamoDB. The list has those that were live when the request began.
    QueryOthers(Session, Vec<SessionId>),
    /// The others are deleted one after the other. The second list has those that are left.
    DeleteOthers(Vec<SessionId>, Vec<SessionId>),
    /// A reset link belongs to this account.
    Redeem(AccountId),
    /// The minimum version is raised.
    Raise(AccountId, Version),
    /// The debt is settled.
    Settle(AccountId, Version),
    /// The session of a request is kept under another credential version: as it was, as it will be, and the status of the answer.
    Keep(Session, Session, u16),
    /// After [`Operation::Keep`], the minimum version is raised. `None` if the session had ended.
    RaiseAfterKeeping(Session, Option<u16>),
    /// After [`Operation::Keep`], the debt is settled.
    SettleAfterKeeping(Session, Option<u16>),
    /// Only with a planted defect: PostgreSQL commits a reset after DynamoDB has ended the sessions.
    CommitAfterEnding(AccountId, Version),
    /// `sweep` deletes the sessions of an account that is due.
    EraseItems(AccountId, Version),
    /// `sweep` deletes the account in PostgreSQL.
    EraseAccount(AccountId, Version),
}

/// What an operation leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The request continues with this operation.
    Next(Operation),
    /// The request is answered.
    Answer(Answer),
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The code of a refusal.
    pub code: Option<&'static str>,
    /// The tokens.
    pub tokens: Option<Tokens>,
    /// What has ended.
    pub ended: Option<Ended>,
}

impl Answer {
    /// A success without tokens.
    #[must_use]
    pub fn success(status: u16) -> Self {
        Self { status, code: None, tokens: None, ended: None }
    }

    /// A refusal.
    #[must_use]
    pub fn refused(status: u16, code: &'static str) -> Self {
        Self { code: Some(code), ..Self::success(status) }
    }

    /// A success with the tokens of a session.
    #[must_use]
    pub fn tokens(session: Session) -> Self {
        let Session { id, account, refresh, is_fresh, .. } = session;
        let tokens = Tokens { session: id, account, refresh: Some(refresh), access: Some(is_fresh) };
        Self { tokens: Some(tokens), ..Self::success(200) }
    }

    /// The same answer, which also says that something has ended.
    #[must_use]
    pub fn and_ended(self, ended: Ended) -> Self {
        Self { ended: Some(ended), ..self }
    }
}

/// The refusal of an access token whose session has ended.
#[must_use]
pub fn revoked() -> Outcome {
    Outcome::Answer(Answer::refused(401, "token_revoked"))
}

fn refused(status: u16, code: &'static str) -> Outcome {
    Outcome::Answer(Answer::refused(status, code))
}

fn invalid_link() -> Outcome {
    refused(400, "invalid_or_expired_token")
}

impl Operation {
    /// Opens a session in the store of the sessions.
    #[must_use]
    pub fn open(protocol: &Protocol, session: Session) -> Self {
        if protocol.store == Store::PostgreSql { Self::Open(session) } else { Self::PutAndQuery(session) }
    }

    /// `SessionEndings::settle`, after PostgreSQL has assigned this version. In PostgreSQL, the version has ended the sessions already.
    #[must_use]
    pub fn end_below(protocol: &Protocol, account: AccountId, version: Version) -> Outcome {
        if protocol.store == Store::PostgreSql {
            return Outcome::Answer(Answer::success(200).and_ended(Ended::Below(account, version)));
        }
        Outcome::Next(Self::Raise(account, version))
    }

    /// Whether it changes a store, so that it matters whether it takes effect late.
    #[must_use]
    pub fn writes(&self, call: Call) -> bool {
        match self {
            Self::ReadAccount(_) | Self::Query(_) | Self::QueryOthers(..) => false,
            Self::First => matches!(
                call,
                Call::SignUp(..)
                    | Call::Refresh(..)
                    | Call::LogOut(_)
                    | Call::ForgotPassword(_)
                    | Call::KeepAccount(_)
                    | Call::UndoChange(_)
                    | Call::UndoFactor(_)
                    | Call::SecondFactor(..)
                    | Call::Settle(..)
                    | Call::Erase(..)
            ),
            _ => true,
        }
    }

    /// Whether the service sends it again if its answer is lost. It does not store a new session twice, and `sweep` just runs again.
    #[must_use]
    pub fn may_run_twice(&self, call: Call) -> bool {
        let is_sweep = matches!(call, Call::Settle(..) | Call::Erase(..));
        // How the statements of factors recognise their first run is not in the model.
        let decides = matches!(self, Self::First | Self::Change(_));
        let is_of_factors = decides
            && matches!(
                call,
                Call::AddApp(..)
                    | Call::RemoveApp(..)
                    | Call::AddPasskey(..)
                    | Call::RemovePasskey(..)
                    | Call::UndoFactor(_)
                    | Call::SecondFactor(..)
            );
        self.writes(call) && !is_sweep && !is_of_factors && !matches!(self, Self::PutAndQuery(_) | Self::Put(..))
    }
}

/// Runs the next operation of a request. With `queries_first`, the second half of [`Operation::PutAndQuery`] runs first.
pub fn run(protocol: &Protocol, world: &mut World, request: &Request, queries_first: bool) -> Outcome {
    match request.next.clone() {
        Operation::First => begin(protocol, world, request),
        Operation::ReadAccount(session) => read_account(world, session, request),
        Operation::Change(session) => change(protocol, world, session, request),
        Operation::ChangeByLink(account, version) => change_by_link(protocol, world, account, version, request),
        Operation::Open(session) => match world.postgres.open(session) {
            Some(session) => opened(world, session, request),
            None => refused(401, "invalid_credentials"),
        },
        Operation::PutAndQuery(session) if queries_first => {
            Outcome::Next(Operation::Put(session, world.table.minimum_version(session.account)))
        }
        Operation::PutAndQuery(session) => {
            put(world, session);
            Outcome::Next(Operation::Query(session))
        }
        Operation::Put(session, minimum) => {
            put(world, session);
            queried(world, session, minimum, request)
        }
        Operation::Query(session) => queried(world, session, world.table.minimum_version(session.account), request),
        Operation::RaiseFor(session) => {
            world.table.raise_minimum_version(session.account, session.version);
            opened_in_table(world, session, request)
        }
        Operation::SettleFor(session) => {
            world.postgres.settle(session.account, session.version);
            opened(world, session, request)
        }
        Operation::RefreshItem(read, minimum) => refresh_item(protocol, world, read, minimum, request),
        Operation::DeleteItem(session) => {
            world.table.delete(session.id);
            refresh_refused(session.id)
        }
        Operation::QueryOthers(session, promised) => {
            let mut others = world.table.live(session.account);
            if !others.contains(&session.id) {
                return revoked();
            }
            others.retain(|id| *id != session.id);
            others_deleted(promised, others)
        }
        Operation::DeleteOthers(promised, mut others) => {
            if let Some(other) = others.pop() {
                world.table.delete(other);
            }
            others_deleted(promised, others)
        }
        Operation::Redeem(account) => redeem(protocol, world, account, request),
        Operation::Raise(account, version) => {
            world.table.raise_minimum_version(account, version);
            if protocol.has(Defect::EndsBeforeCommit) && matches!(request.call, Call::ResetPassword(..)) {
                return Outcome::Next(Operation::CommitAfterEnding(account, version));
            }
            Outcome::Next(Operation::Settle(account, version))
        }
        Operation::Settle(account, version) => {
            world.postgres.settle(account, version);
            let status = if matches!(request.call, Call::DeleteAccount(..)) { 202 } else { 200 };
            Outcome::Answer(Answer::success(status).and_ended(Ended::Below(account, version)))
        }
        Operation::CommitAfterEnding(account, version) => {
            if let Call::ResetPassword(link, password) = request.call {
                world.redeem(protocol, account, link, PasswordHash { password, salt: request.random });
            }
            Outcome::Answer(Answer::success(200).and_ended(Ended::Below(account, version)))
        }
        Operation::Keep(found, kept, status) => {
            let is_kept = world.table.keep(&found, kept);
            Outcome::Next(Operation::RaiseAfterKeeping(kept, is_kept.then_some(status)))
        }
        Operation::RaiseAfterKeeping(kept, status) => {
            world.table.raise_minimum_version(kept.account, kept.version);
            Outcome::Next(Operation::SettleAfterKeeping(kept, status))
        }
        Operation::SettleAfterKeeping(kept, status) => {
            world.postgres.settle(kept.account, kept.version);
            let Some(status) = status else { return revoked() };
            Outcome::Answer(Answer::success(status).and_ended(Ended::Below(kept.account, kept.version)))
        }
        Operation::EraseItems(account, version) => {
            world.table.sessions.retain(|session| session.account != account);
            Outcome::Next(Operation::EraseAccount(account, version))
        }
        Operation::EraseAccount(account, version) => {
            world.erase(account, version);
            Outcome::Answer(Answer::success(200))
        }
    }
}

/// The first operation of each call.
fn begin(protocol: &Protocol, world: &mut World, request: &Request) -> Outcome {
    let random = request.random;
    match request.call {
        Call::SignUp(address, password) if world.create(protocol, address, password, random) => {
            Outcome::Answer(Answer::success(201))
        }
        Call::SignUp(..) => refused(400, "user_already_exists"),
        Call::SignIn(address, password) => sign_in(protocol, world, address, password, request),
        Call::SecondFactor(token, passkey) => factors::take_second_step(protocol, world, token, passkey, request),
        Call::SignInWithPasskey(passkey) => factors::sign_in(protocol, world, passkey, request),
        Call::Refresh(session, token) => refresh(protocol, world, session, token, request),
        Call::LogOut(session) => {
            let was_live = match protocol.store {
                Store::PostgreSql => world.postgres.end(session, request.is_repeated),
                Store::DynamoDb => {
                    let was_live = world.table.find(session).is_some();
                    world.table.delete(session);
                    was_live || request.is_repeated
                }
            };
            let answer = if was_live { Answer::success(200) } else { Answer::refused(401, "token_revoked") };
            Outcome::Answer(answer.and_ended(Ended::Sessions(vec![session])))
        }
        Call::EndOthers(session, is_fresh)
        | Call::DeleteAccount(session, is_fresh)
        | Call::RequestChange(session, is_fresh, _)
        | Call::AddApp(session, is_fresh)
        | Call::RemoveApp(session, is_fresh)
        | Call::AddPasskey(session, is_fresh)
        | Call::RemovePasskey(session, is_fresh, _) => match live_session(protocol, world, session) {
            None => revoked(),
            Some(session) if !(session.is_fresh && is_fresh) => refused(401, "reauthentication_required"),
            Some(session) if protocol.store == Store::DynamoDb && matches!(request.call, Call::EndOthers(..)) => {
                let others = world.table.live(session.account).into_iter().filter(|id| *id != session.id).collect();
                Outcome::Next(Operation::QueryOthers(session, others))
            }
            Some(session) => Outcome::Next(Operation::Change(session)),
        },
        Call::Reauthenticate(session, _) | Call::ChangePassword(session, ..) => {
            match live_session(protocol, world, session) {
                None => revoked(),
                Some(session) if protocol.store == Store::PostgreSql => read_account(world, session, request),
                Some(session) => Outcome::Next(Operation::ReadAccount(session)),
            }
        }
        Call::ForgotPassword(address) => {
            world.request_reset(address, random);
            Outcome::Answer(Answer::success(200))
        }
        Call::ResetPassword(link, password) => match world.postgres.find_reset(link) {
            Some(Found::Valid(account))
                if protocol.has(Defect::EndsBeforeCommit) && protocol.store == Store::DynamoDb =>
            {
                let version = world.postgres.account(account).map_or(0, |account| account.version);
                Outcome::Next(Operation::Raise(account, version + 1))
            }
            Some(Found::Valid(account)) => Outcome::Next(Operation::Redeem(account)),
            Some(Found::Redeemed(account, set, version)) if set == password => {
                Outcome::Next(Operation::Raise(account, version))
            }
            _ => invalid_link(),
        },
        Call::KeepAccount(link) => match world.keep(link) {
            Some(account) => {
                world.history.kept.push(account);
                Outcome::Answer(Answer::success(200))
            }
            None if request.is_repeated => Outcome::Answer(Answer::success(200)),
            None => invalid_link(),
        },
        Call::VerifyAddress(link, password) => prove_with_link(world.verify_link(link), password),
        Call::ChangeAddress(link, password) => prove_with_link(world.change_link(link), password),
        Call::UndoChange(link) => match world.undo_change(protocol, link, random) {
            Some((account, version)) => Operation::end_below(protocol, account, version),
            None => invalid_link(),
        },
        Call::UndoFactor(link) => factors::undo(protocol, world, link, request),
        Call::Settle(account, version) => {
            world.table.raise_minimum_version(account, version);
            Outcome::Next(Operation::Settle(account, version))
        }
        Call::Erase(account, version) if protocol.store == Store::PostgreSql => {
            world.erase(account, version);
            Outcome::Answer(Answer::success(200))
        }
        Call::Erase(account, version) => {
            if !protocol.has(Defect::ErasesWithoutEnding) {
                world.table.raise_minimum_version(account, version);
            }
            Outcome::Next(Operation::EraseItems(account, version))
        }
    }
}

/// The session of a request's access token, if it is live in the store of the sessions.
fn live_session(protocol: &Protocol, world: &World, session: SessionId) -> Option<Session> {
    match protocol.store {
        Store::PostgreSql => world.postgres.live(session).copied(),
        Store::DynamoDb => world.table.find(session),
    }
}

/// Counts the attempt and verifies the password.
fn sign_in(protocol: &Protocol, world: &mut World, address: Address, password: Password, request: &Request) -> Outcome {
    let invalid = || refused(401, "invalid_credentials");
    let Some((id, account)) = world.postgres.by_address(address) else { return invalid() };
    let (version, is_right) = (account.version, account.hash.password == password);
    let needs_factor = account.needs_factor(protocol);
    if world.postgres.must_wait(protocol, id, request.by, protocol.is_signed_in_from(world, id, request.by)) {
        return refused(429, "too_many_attempts");
    }
    if protocol.scenario.failures.is_some()
        && let Some(account) = world.postgres.account_mut(id)
    {
        account.failures[request.by as usize] += 1;
        if is_right {
            account.failures = [0; 3];
        }
    }
    if !is_right {
        return invalid();
    }
    if needs_factor {
        return factors::begin_second_step(world, id, version, request);
    }
    Outcome::Next(Operation::open(protocol, Session::new(request.random, id, version, request.by, Shown::default())))
}

/// Presents a refresh token.
fn refresh(protocol: &Protocol, world: &mut World, session: SessionId, token: RefreshId, request: &Request) -> Outcome {
    match protocol.store {
        Store::PostgreSql => {
            let before = world.postgres.live(session).copied();
            let refreshed = world.postgres.refresh(protocol, session, token, request.random);
            if let (Some(before), Refreshed::Tokens(after)) = (before, refreshed)
                && before.refresh != after.refresh
            {
                world.history.record_rotation(session, before.refresh, after.refresh);
            }
            match refreshed {
                Refreshed::Tokens(session) => refreshed_tokens(world, session, token),
                Refreshed::Reused => {
                    record_theft(world, before, token);
                    refresh_refused(session)
                }
                Refreshed::Gone => refused(401, "invalid_refresh_token"),
            }
        }
        Store::DynamoDb => decide_refresh(protocol, world, world.table.find(session), token, request),
    }
}

/// Decides about a refresh with the session that was read in DynamoDB. `None` if it is not live.
fn decide_refresh(
    protocol: &Protocol,
    world: &mut World,
    read: Option<Session>,
    token: RefreshId,
    request: &Request,
) -> Outcome {
    let Some(read) = read else { return refused(401, "invalid_refresh_token") };
    if read.refresh == request.random {
        return refreshed_tokens(world, read, token);
    }
    if read.refresh == token || protocol.may_repeat(&read, token) || protocol.has(Defect::OldTokensServe) {
        return Outcome::Next(Operation::RefreshItem(read, world.table.minimum_version(read.account)));
    }
    record_theft(world, Some(read), token);
    Outcome::Next(Operation::DeleteItem(read))
}

/// Changes the session that a refresh has read in DynamoDB. If it has changed in the meantime, decides again.
fn refresh_item(protocol: &Protocol, world: &mut World, read: Session, minimum: Version, request: &Request) -> Outcome {
    let Call::Refresh(_, token) = request.call else { return revoked() };
    let successor = (read.refresh == token).then_some(request.random);
    match world.table.refresh(protocol, read, successor) {
        Ok(session) => {
            if let Some(successor) = successor {
                world.history.record_rotation(read.id, read.refresh, successor);
            }
            refreshed_tokens(world, session, token)
        }
        Err(changed) => {
            decide_refresh(protocol, world, changed.filter(|session| session.version >= minimum), token, request)
        }
    }
}

/// The answer to a refresh. Records whether the token was presented in time.
fn refreshed_tokens(world: &mut World, session: Session, token: RefreshId) -> Outcome {
    if !world.history.is_in_time(session.id, token, session.in_grace) {
        world.history.record_broken(Broken::OldTokenServed);
    }
    Outcome::Answer(Answer::tokens(session))
}

/// Records whether a session ends although its token was presented in time.
fn record_theft(world: &mut World, before: Option<Session>, token: RefreshId) {
    let Some(session) = before else { return };
    if world.history.is_in_time(session.id, token, session.in_grace) {
        world.history.record_broken(Broken::RetryPunished);
    } else if session.in_grace && !world.history.copied.contains(&session.id) {
        world.history.record_broken(Broken::EndedWithoutThief);
    }
}

/// The refusal of an old refresh token, whose session has ended.
fn refresh_refused(session: SessionId) -> Outcome {
    Outcome::Answer(Answer::refused(401, "invalid_refresh_token").and_ended(Ended::Sessions(vec![session])))
}

/// Checks the password of a signed-in user.
fn read_account(world: &World, session: Session, request: &Request) -> Outcome {
    let Some(account) = world.postgres.account(session.account) else { return refused(404, "user_not_found") };
    match request.call {
        // The password was changed, but this session has not ended in DynamoDB yet. Only the repetition of this change is allowed.
        Call::ChangePassword(_, _, new) if session.version != account.version => {
            if account.hash.password != new {
                return revoked();
            }
            let replacement = Session::replacing(&session, request.random, account.version);
            Outcome::Next(Operation::PutAndQuery(replacement))
        }
        _ if session.version != account.version => revoked(),
        Call::ChangePassword(_, password, _) | Call::Reauthenticate(_, password)
            if account.hash.password == password =>
        {
            Outcome::Next(Operation::Change(session))
        }
        _ => refused(401, "invalid_credentials"),
    }
}

/// The statement or the call that changes something for the session that was found live.
fn change(protocol: &Protocol, world: &mut World, session: Session, request: &Request) -> Outcome {
    let version = (protocol.store == Store::DynamoDb).then_some(session.version);
    let presented = Presented { account: session.account, session: session.id, version };
    match request.call {
        Call::EndOthers(..) => match world.postgres.end_others(session.account, session.id) {
            Some(others) => Outcome::Answer(Answer::success(200).and_ended(Ended::Sessions(others))),
            None => revoked(),
        },
        Call::Reauthenticate(..) => {
            let renewed = match protocol.store {
                Store::PostgreSql => world.postgres.renew(session.id, session.version),
                Store::DynamoDb => world.table.renew(session.id, session.version),
            };
            renewed.map_or_else(revoked, |session| Outcome::Answer(Answer::tokens(session)))
        }
        Call::ChangePassword(_, _, password) => {
            let hash = PasswordHash { password, salt: request.random };
            match world.change_password(protocol, presented, hash) {
                None => revoked(),
                Some((version, Some(opened))) => {
                    world.remember_factors(&opened);
                    Outcome::Answer(Answer::tokens(opened).and_ended(Ended::Below(session.account, version)))
                }
                Some((version, None)) => {
                    Outcome::Next(Operation::PutAndQuery(Session::replacing(&session, request.random, version)))
                }
            }
        }
        Call::DeleteAccount(..) => match world.delete(protocol, presented, request.random) {
            None => revoked(),
            Some(version) => match Operation::end_below(protocol, session.account, version) {
                Outcome::Answer(answer) => Outcome::Answer(Answer { status: 202, ..answer }),
                next @ Outcome::Next(_) => next,
            },
        },
        Call::RequestChange(_, _, to) => match world.request_change(protocol, presented, to, request.random) {
            None => revoked(),
            Some(false) => refused(400, "email_unchanged"),
            Some(true) => Outcome::Answer(Answer::success(202)),
        },
        Call::AddApp(..) => factors::add(protocol, world, session, presented, factors::Kind::App, request),
        Call::RemoveApp(..) => factors::remove(protocol, world, session, presented, None, request),
        Call::AddPasskey(..) => factors::add(protocol, world, session, presented, factors::Kind::Passkey, request),
        Call::RemovePasskey(_, _, id) => factors::remove(protocol, world, session, presented, Some(id), request),
        _ => revoked(),
    }
}

/// The answer, or the deletion of the sessions that are left.
fn others_deleted(promised: Vec<SessionId>, left: Vec<SessionId>) -> Outcome {
    if left.is_empty() {
        return Outcome::Answer(Answer::success(200).and_ended(Ended::Sessions(promised)));
    }
    Outcome::Next(Operation::DeleteOthers(promised, left))
}

/// Checks the password of the account that a link belongs to.
fn prove_with_link(found: Option<(AccountId, &crate::postgres::Account)>, password: Password) -> Outcome {
    match found {
        None => invalid_link(),
        Some((_, account)) if account.hash.password != password => refused(401, "invalid_credentials"),
        Some((id, account)) => Outcome::Next(Operation::ChangeByLink(id, account.version)),
    }
}

fn change_by_link(
    protocol: &Protocol,
    world: &mut World,
    id: AccountId,
    version: Version,
    request: &Request,
) -> Outcome {
    let is_done = match request.call {
        Call::VerifyAddress(link, _) => world.verify(id, link, version) || request.is_repeated,
        Call::ChangeAddress(link, _) => world.change_address(protocol, id, link, request.random),
        _ => false,
    };
    if is_done { Outcome::Answer(Answer::success(200)) } else { invalid_link() }
}

/// Uses a reset link.
fn redeem(protocol: &Protocol, world: &mut World, account: AccountId, request: &Request) -> Outcome {
    let Call::ResetPassword(link, password) = request.call else { return invalid_link() };
    let hash = PasswordHash { password, salt: request.random };
    match world.redeem(protocol, account, link, hash) {
        None => invalid_link(),
        Some(version) => Operation::end_below(protocol, account, version),
    }
}

/// Stores a new session in DynamoDB.
fn put(world: &mut World, session: Session) {
    world.table.put(session);
    world.remember_factors(&session);
}

/// Decides, with the minimum version that was found, whether a stored session is open.
fn queried(world: &mut World, session: Session, minimum: Version, request: &Request) -> Outcome {
    if minimum > session.version {
        let is_sign_in = matches!(request.call, Call::SignIn(..) | Call::SecondFactor(..) | Call::SignInWithPasskey(_));
        return if is_sign_in { refused(401, "invalid_credentials") } else { revoked() };
    }
    if minimum < session.version {
        return Outcome::Next(Operation::RaiseFor(session));
    }
    opened_in_table(world, session, request)
}

/// A change of the password also settles its debt.
fn opened_in_table(world: &mut World, session: Session, request: &Request) -> Outcome {
    if matches!(request.call, Call::ChangePassword(..) | Call::AddApp(..)) {
        return Outcome::Next(Operation::SettleFor(session));
    }
    opened(world, session, request)
}

/// The answer with the tokens of a new session.
fn opened(world: &mut World, session: Session, request: &Request) -> Outcome {
    world.remember_factors(&session);
    let answer = Answer::tokens(session);
    Outcome::Answer(match request.call {
        Call::ChangePassword(..) | Call::AddApp(..) => answer.and_ended(Ended::Below(session.account, session.version)),
        _ => answer,
    })
}
