//! What people do: the requests that they can send with what they know, and what they learn from answers.

use crate::{
    endpoints::{Answer, Call, Request},
    factors,
    history::Ended,
    postgres::Account,
    protocol::{Action, Protocol, Step, Store},
    scenarios::Kind,
    world::{FactorId, LinkKind, Password, SessionId, Tokens, Who, World},
};

const PEOPLE: [Who; 3] = [Who::Ada, Who::Bob, Who::Eve];

/// The requests that may be sent now.
pub fn requests(protocol: &Protocol, world: &World, actions: &mut Vec<Action>) {
    for who in PEOPLE {
        if world.left.requests[who as usize] > 0 {
            for kind in protocol.scenario.kinds(who) {
                calls(protocol, world, who, *kind, &mut |call| actions.push(Action::Send(who, call)));
            }
        }
    }
    if world.left.requests[Who::Sweep as usize] > 0 {
        let debts = world.postgres.debts.iter().filter(|_| protocol.store == Store::DynamoDb);
        actions.extend(debts.map(|(account, version)| Action::Send(Who::Sweep, Call::Settle(*account, *version))));
        actions.extend(world.due().map(|(account, version)| Action::Send(Who::Sweep, Call::Erase(account, version))));
    }
}

/// The requests of one kind that a person can send. A person uses the newest tokens of each session, every known password, and every link in the
/// mails to the person's addresses.
fn calls(protocol: &Protocol, world: &World, who: Who, kind: Kind, send: &mut impl FnMut(Call)) {
    let knowledge = world.knowledge(who);
    let passwords = || knowledge.passwords.iter().copied();
    let links = |kind| world.arrived(kind, who).map(|mail| mail.link);
    let sessions = || knowledge.tokens.iter().filter_map(|held| held.access.map(|is_fresh| (held.session, is_fresh)));
    match kind {
        Kind::SignUp(address) => send(Call::SignUp(address, Password::First(who))),
        Kind::SignIn => {
            for address in &protocol.scenario.addresses {
                passwords().for_each(|password| send(Call::SignIn(*address, password)));
            }
        }
        Kind::Guess(address) => send(Call::SignIn(address, Password::Guess)),
        Kind::SecondFactor => {
            for token in &knowledge.second_steps {
                send(Call::SecondFactor(*token, None));
                // A browser offers the account's passkeys. While the token is valid, they are those that the first answer listed.
                let waits = |account: &Account| account.factors.second_steps.contains(&(*token, account.version));
                let accounts = || world.postgres.all().filter(|(_, account)| waits(account));
                let is_listed = |id: &&FactorId| accounts().any(|(_, account)| account.factors.has_passkey(**id, who));
                knowledge.passkeys.iter().filter(is_listed).for_each(|id| send(Call::SecondFactor(*token, Some(*id))));
            }
        }
        Kind::SignInWithPasskey => knowledge.passkeys.iter().for_each(|id| send(Call::SignInWithPasskey(*id))),
        Kind::Refresh => {
            let held = knowledge.tokens.iter().filter_map(|held| Some((held.session, held.refresh?)));
            held.for_each(|(session, token)| send(Call::Refresh(session, token)));
        }
        Kind::LogOut => sessions().for_each(|(session, _)| send(Call::LogOut(session))),
        Kind::EndOthers => sessions().for_each(|(session, is_fresh)| send(Call::EndOthers(session, is_fresh))),
        Kind::Reauthenticate => {
            for (session, _) in sessions() {
                passwords().for_each(|password| send(Call::Reauthenticate(session, password)));
            }
        }
        Kind::ChangePassword => {
            for (session, _) in sessions() {
                passwords().for_each(|password| send(Call::ChangePassword(session, password, Password::Second(who))));
            }
        }
        Kind::ForgotPassword(address) => send(Call::ForgotPassword(address)),
        Kind::ResetPassword => {
            links(LinkKind::Reset).for_each(|link| send(Call::ResetPassword(link, Password::Second(who))));
        }
        Kind::DeleteAccount => sessions().for_each(|(session, is_fresh)| send(Call::DeleteAccount(session, is_fresh))),
        Kind::KeepAccount => links(LinkKind::Keep).for_each(|link| send(Call::KeepAccount(link))),
        Kind::VerifyAddress => {
            for link in links(LinkKind::Verify) {
                passwords().for_each(|password| send(Call::VerifyAddress(link, password)));
            }
        }
        Kind::RequestChange(to) => {
            sessions().for_each(|(session, is_fresh)| send(Call::RequestChange(session, is_fresh, to)));
        }
        Kind::ChangeAddress => {
            for link in links(LinkKind::ChangeAddress) {
                passwords().for_each(|password| send(Call::ChangeAddress(link, password)));
            }
        }
        Kind::UndoChange => links(LinkKind::UndoChange).for_each(|link| send(Call::UndoChange(link))),
        Kind::AddApp => sessions().for_each(|(session, is_fresh)| send(Call::AddApp(session, is_fresh))),
        Kind::RemoveApp => sessions().for_each(|(session, is_fresh)| send(Call::RemoveApp(session, is_fresh))),
        Kind::AddPasskey => sessions().for_each(|(session, is_fresh)| send(Call::AddPasskey(session, is_fresh))),
        Kind::RemovePasskey => {
            let held = |account: &Account| account.factors.held.clone();
            let listed: Vec<_> = world.postgres.all().flat_map(|(_, account)| held(account)).collect();
            for (session, is_fresh) in sessions() {
                let passkeys = listed.iter().filter(|factor| factor.kind == factors::Kind::Passkey);
                passkeys.for_each(|passkey| send(Call::RemovePasskey(session, is_fresh, passkey.id)));
            }
        }
        Kind::UndoFactor => links(LinkKind::UndoFactor).for_each(|link| send(Call::UndoFactor(link))),
    }
}

/// A person knows a password from the moment when the person chooses it.
pub fn learn(world: &mut World, who: Who, call: Call) {
    match call {
        Call::SignUp(_, password) | Call::ChangePassword(_, _, password) | Call::ResetPassword(_, password) => {
            world.knowledge_mut(who).learn(password);
        }
        _ => {}
    }
}

/// The answer arrives at the person who sent the request.
pub fn receive(world: &mut World, request: &Request, answer: &Answer) {
    if let Some(ended) = &answer.ended {
        if let (Call::ResetPassword(..), Who::Ada, Ended::Below(account, version)) = (request.call, request.by, ended) {
            world.history.reset.retain(|(of, _)| of != account);
            world.history.reset.push((*account, *version));
        }
        world.history.record_ended(ended.clone());
    }
    if answer.code.is_none() {
        let history = &mut world.history;
        let removals = history.removals.iter().filter(|(by, _)| *by == request.random);
        history.removed.extend(removals.flat_map(|(_, removed)| removed));
        history.removed.sort_unstable();
        history.removed.dedup();
    }
    if let Some(tokens) = answer.tokens {
        world.knowledge_mut(request.by).receive(tokens);
    }
}

/// What the thief can copy now: tokens of a session that others hold. After Ada has reset the password, the thief copies nothing more, so that the
/// promises about a reset say something.
pub fn thefts(world: &World, actions: &mut Vec<Action>) {
    if !world.history.reset.is_empty() {
        return;
    }
    let of_others = PEOPLE.iter().filter(|who| **who != Who::Eve).flat_map(|who| &world.knowledge(*who).tokens);
    for held in of_others {
        let has = |of: fn(&Tokens) -> bool| {
            world.knowledge(Who::Eve).tokens.iter().any(|tokens| tokens.session == held.session && of(tokens))
        };
        if held.refresh.is_some() && !has(|tokens| tokens.refresh.is_some()) {
            actions.push(Action::CopyRefreshToken(held.session));
        }
        if held.access.is_some() && !has(|tokens| tokens.access.is_some()) {
            actions.push(Action::CopyAccessToken(held.session));
        }
    }
}

/// The thief copies a token.
pub fn copy(world: &mut World, session: SessionId, is_refresh: bool) -> Step {
    let of_others = world.knowledge[..2].iter().flat_map(|person| &person.tokens);
    let held = of_others.copied().find(|held| held.session == session);
    if let Some(held) = held {
        let copied = if is_refresh { Tokens { access: None, ..held } } else { Tokens { refresh: None, ..held } };
        world.knowledge_mut(Who::Eve).receive(copied);
        world.history.copied.push(session);
        world.history.copied.dedup();
    }
    world.left.thefts -= 1;
    Step { request: None, answer: None }
}
