//! The promises of the contract. Each must be true in every state.

use stateright::Property;

use crate::{
    postgres::Account,
    protocol::{Protocol, Store},
    world::{AccountId, LinkKind, Password, SessionId, Version, Who, World},
};

/// A promise that a step has broken. Most promises are about a state, and need no such record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    /// A session ended although its refresh token was presented in time.
    RetryPunished,
    /// A session ended although nobody has copied its tokens, and within the grace. This breaks no promise: see [`LIMIT_OF_GRACE`].
    EndedWithoutThief,
    /// A refresh token got tokens although it was presented too late.
    OldTokenServed,
    /// A refresh token was replaced twice.
    TwoSuccessors,
    /// A link took effect twice.
    LinkUsedTwice(LinkKind),
    /// A link took effect under another credential version or address than the one for which it was issued.
    LinkOutlivedItsVersion(LinkKind),
}

/// A session that has ended according to an answer serves nowhere.
pub const ENDED_IS_ENDED: &str =
    "if an answer says that a session has ended, no endpoint accepts this session afterwards";
/// RFC 9700 §4.14.2.
pub const RETRY_IS_SAFE: &str = "a refresh never ends the session if its token is the current one, or the previous one within the grace and before its \
     successor is used";
/// RFC 9700 §4.14.2.
pub const THEFT_ENDS: &str = "a refresh token that is presented too late gets no tokens";
/// Concurrent refreshes of one session take effect one after the other.
pub const ONE_SUCCESSOR: &str = "a refresh token has at most one successor";
/// One use.
pub const LINK_ONCE: &str = "a link in a mail takes effect at most once";
/// Only undo and keep links outlive a change of the credentials.
pub const LINK_BOUND: &str =
    "a link takes effect only under the credential version and the address for which it was issued";
/// A reset is how an owner takes an account over.
pub const RESET_CLEANS: &str = "after Ada's reset, no session, password or link of Eve works";
/// Nobody is locked out.
pub const NOBODY_LOCKED_OUT: &str = "nobody is locked out by a failure, or by what somebody else does";
/// Decision 6.
pub const DIFFERENCE_IS_OWED: &str = "while a session is accepted in DynamoDB and not in PostgreSQL, a debt says so";
/// While a change can be undone, its earlier address stays taken.
pub const ADDRESS_IS_KEPT: &str = "an address belongs to one account, and a reserved address to no other";
/// An account is either kept or erased.
pub const KEPT_OR_ERASED: &str = "a kept account is not erased, and no session of an erased account is accepted";
/// `Sessions` asks which factors were shown before it opens a session.
pub const FACTORS_SHOWN: &str =
    "no session is accepted without a second factor if its account had one when the session was opened";
/// A removal, and the link in the notice about a new factor.
pub const REMOVED_IS_REMOVED: &str = "nobody can sign in with a factor after an answer has said that it was removed";

/// What the contract allows, and a reader may not expect: a request that is still on its way, when its client has already used the successor of its
/// token, presents an old token.
pub const LIMIT_OF_GRACE: &str =
    "a session can end without a thief, if an earlier request with an older token arrives last";

/// All promises, and the limit.
#[must_use]
pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(ENDED_IS_ENDED, ended_is_ended),
        Property::always(RETRY_IS_SAFE, |_, world: &World| !world.history.broken.contains(&Broken::RetryPunished)),
        Property::always(THEFT_ENDS, |_, world: &World| !world.history.broken.contains(&Broken::OldTokenServed)),
        Property::always(ONE_SUCCESSOR, |_, world: &World| !world.history.broken.contains(&Broken::TwoSuccessors)),
        Property::always(LINK_ONCE, |_, world: &World| {
            !world.history.broken.iter().any(|broken| matches!(broken, Broken::LinkUsedTwice(_)))
        }),
        Property::always(LINK_BOUND, |_, world: &World| {
            !world.history.broken.iter().any(|broken| matches!(broken, Broken::LinkOutlivedItsVersion(_)))
        }),
        Property::always(RESET_CLEANS, reset_cleans),
        Property::always(NOBODY_LOCKED_OUT, nobody_is_locked_out),
        Property::always(DIFFERENCE_IS_OWED, difference_is_owed),
        Property::always(ADDRESS_IS_KEPT, address_is_kept),
        Property::always(KEPT_OR_ERASED, kept_or_erased),
        Property::always(FACTORS_SHOWN, factors_were_shown),
        Property::always(REMOVED_IS_REMOVED, removed_is_removed),
        Property::sometimes(LIMIT_OF_GRACE, |_, world: &World| {
            world.history.broken.contains(&Broken::EndedWithoutThief)
        }),
    ]
}

/// Whether the authorizer, `refresh` and every other function that asks only the store of the sessions accept a session.
#[must_use]
pub fn is_accepted(protocol: &Protocol, world: &World, session: SessionId) -> bool {
    match protocol.store {
        Store::PostgreSql => world.postgres.live(session).is_some(),
        Store::DynamoDb => world.table.find(session).is_some(),
    }
}

/// All sessions that are stored, with their accounts and versions.
fn stored<'a>(protocol: &Protocol, world: &'a World) -> impl Iterator<Item = (SessionId, AccountId, Version)> + 'a {
    let sessions = if protocol.store == Store::PostgreSql { &world.postgres.sessions } else { &world.table.sessions };
    sessions.iter().map(|session| (session.id, session.account, session.version))
}

fn ended_is_ended(protocol: &Protocol, world: &World) -> bool {
    let history = &world.history;
    stored(protocol, world).all(|(session, account, version)| {
        let is_below = history.ended_below.iter().any(|(of, below)| *of == account && version < *below);
        !(is_below || history.ended.contains(&session)) || !is_accepted(protocol, world, session)
    })
}

fn reset_cleans(protocol: &Protocol, world: &World) -> bool {
    let eve = world.knowledge(Who::Eve);
    world.history.reset.iter().all(|(id, _)| {
        let Some(account) = world.postgres.account(*id) else { return true };
        let mut tokens = eve.tokens.iter().filter(|held| held.account == *id);
        let mut links = world.mails.iter().filter(|mail| mail.account == *id && mail.to.reader() == Who::Eve);
        !tokens.any(|held| is_accepted(protocol, world, held.session))
            && !eve.passwords.contains(&account.hash.password)
            && !links.any(|mail| {
                world.change_link(mail.link).is_some()
                    || world.verify_link(mail.link).is_some()
                    || world.postgres.find_reset(mail.link).is_some()
            })
    })
}

/// A right password opens a session, because the minimum version in DynamoDB is never above the credential version. In scenarios in which the
/// owners only wait, they also keep their accounts, passwords and sessions, and may sign in where they are signed in.
fn nobody_is_locked_out(protocol: &Protocol, world: &World) -> bool {
    let is_kept = |who: Who| {
        let id = who as AccountId;
        let Some(account) = world.postgres.account(id) else { return false };
        let is_signed_in = protocol.is_signed_in_from(world, id, who);
        account.hash.password == Password::First(who)
            && account.deletion.is_none()
            && is_signed_in
            && !world.postgres.must_wait(protocol, id, who, is_signed_in)
    };
    let is_under_way = world.requests.iter().any(|request| !request.is_late);
    let is_open = |(id, account): (AccountId, &Account)| world.table.minimum_version(id) <= account.version;
    (is_under_way || world.postgres.all().all(is_open))
        && (!protocol.scenario.owners_wait || protocol.scenario.owners.iter().all(|who| is_kept(*who)))
}

fn difference_is_owed(protocol: &Protocol, world: &World) -> bool {
    protocol.store == Store::PostgreSql
        || world.table.sessions.iter().all(|session| {
            let current = world.postgres.account(session.account).map(|account| account.version);
            let is_outdated = Some(session.version) != current && is_accepted(protocol, world, session.id);
            !is_outdated || current.is_some_and(|current| world.postgres.debts.contains(&(session.account, current)))
        })
}

fn address_is_kept(_: &Protocol, world: &World) -> bool {
    let accounts = || world.postgres.all();
    accounts().all(|(id, account)| {
        let mut reserved = account.undos.iter().map(|undo| undo.address).chain([account.address]);
        reserved.all(|address| !accounts().any(|(other, taker)| other != id && taker.address == address))
    })
}

fn kept_or_erased(protocol: &Protocol, world: &World) -> bool {
    let exists = |account: AccountId| world.postgres.account(account).is_some();
    world.history.kept.iter().all(|account| exists(*account))
        && stored(protocol, world)
            .all(|(session, account, _)| exists(account) || !is_accepted(protocol, world, session))
}

fn factors_were_shown(protocol: &Protocol, world: &World) -> bool {
    let sessions = if protocol.store == Store::PostgreSql { &world.postgres.sessions } else { &world.table.sessions };
    let mut opened = sessions.iter().filter(|session| world.history.opened_with_factor.contains(&session.id));
    opened.all(|session| session.shown.has_any() || !is_accepted(protocol, world, session.id))
}

fn removed_is_removed(protocol: &Protocol, world: &World) -> bool {
    world.history.opened_with_removed.iter().all(|session| !is_accepted(protocol, world, *session))
}
