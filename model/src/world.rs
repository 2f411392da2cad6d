//! Everything that a state of the model contains.

use crate::{endpoints::Request, history::History, postgres::Postgres, table::Table};

/// A state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The accounts and their links, and the sessions if they are in PostgreSQL.
    pub postgres: Postgres,
    /// The sessions if they are in DynamoDB.
    pub table: Table,
    /// All mails that were sent. They stay in their mailboxes.
    pub mails: Vec<Mail>,
    /// What Ada, Bob and Eve know, in this order.
    pub knowledge: [Knowledge; 3],
    /// The requests that have begun and not ended.
    pub requests: Vec<Request>,
    /// What may still happen. This makes the number of states finite.
    pub left: Left,
    /// The random value of the next request.
    pub next_random: Random,
    /// What answers have said, and which promises were broken.
    pub history: History,
}

/// A person, or the scheduled function `sweep`. Each person has a network of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// The owner of the first account.
    Ada,
    /// The owner of the second account.
    Bob,
    /// A thief. She also has an account in some scenarios.
    Eve,
    /// The function `sweep`.
    Sweep,
}

/// The place of an account in [`Postgres::accounts`]: its id, which is never used again.
pub type AccountId = u8;

/// A credential version.
pub type Version = u8;

/// A random value. Each request has one of its own, and creates its ids, tokens and salts from it. So equal values mean the same request.
pub type Random = u8;

/// A session is named after the request that opened it.
pub type SessionId = Random;

/// A refresh token is named after the request that created it: the claim `jti`.
pub type RefreshId = Random;

/// A link in a mail is named after the request that created it.
pub type Link = Random;

/// A factor is named after the request that added it.
pub type FactorId = Random;

/// An address of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// The address of Ada's account.
    Ada,
    /// The address that Ada wants to change to.
    AdaNew,
    /// The address of Bob's account.
    Bob,
    /// The address of Eve.
    Eve,
}

impl Address {
    /// Who reads the mails to this address.
    #[must_use]
    pub fn reader(self) -> Who {
        match self {
            Self::Ada | Self::AdaNew => Who::Ada,
            Self::Bob => Who::Bob,
            Self::Eve => Who::Eve,
        }
    }
}

/// A password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Password {
    /// The password that this person has at the beginning.
    First(Who),
    /// The password that this person sets later.
    Second(Who),
    /// A guess that is the password of nobody.
    Guess,
}

/// A stored hash of a password. Each request has a salt of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PasswordHash {
    /// The password.
    pub password: Password,
    /// The salt.
    pub salt: Random,
}

/// A session, as either store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose session it is.
    pub account: AccountId,
    /// The account's credential version when the session was opened.
    pub version: Version,
    /// The current refresh token.
    pub refresh: RefreshId,
    /// The parent of the current refresh token.
    pub parent: Option<RefreshId>,
    /// Whether the grace of the last refresh has not ended yet.
    pub in_grace: bool,
    /// Whether its user has proved the password within ten minutes.
    pub is_fresh: bool,
    /// Whether it was ended. DynamoDB deletes ended sessions instead.
    pub is_revoked: bool,
    /// The network from which it was opened.
    pub source: Who,
    /// The factors that were shown in it: the claim `amr`.
    pub shown: crate::factors::Shown,
}

/// What a person holds of a session: the newest tokens that the person has received or copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tokens {
    /// The session.
    pub session: SessionId,
    /// Its account.
    pub account: AccountId,
    /// A refresh token.
    pub refresh: Option<RefreshId>,
    /// An access token. Its value says whether its `auth_time` is within ten minutes.
    pub access: Option<bool>,
}

/// What a person knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Knowledge {
    /// Passwords, in the order in which the person learned them.
    pub passwords: Vec<Password>,
    /// Tokens of sessions.
    pub tokens: Vec<Tokens>,
    /// Tokens for the second step of a sign-in.
    pub second_steps: Vec<Link>,
    /// Passkeys that the person has added.
    pub passkeys: Vec<FactorId>,
}

impl Knowledge {
    /// Remembers the newest tokens of a session.
    pub fn receive(&mut self, new: Tokens) {
        match self.tokens.iter_mut().find(|held| held.session == new.session) {
            Some(held) => {
                held.refresh = new.refresh.or(held.refresh);
                held.access = new.access.or(held.access);
            }
            None => self.tokens.push(new),
        }
    }

    /// Remembers a password.
    pub fn learn(&mut self, password: Password) {
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
    }
}

/// What a link in a mail does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkKind {
    /// Sets a new password.
    Reset,
    /// Verifies the address, together with the password.
    Verify,
    /// Changes the address, together with the password.
    ChangeAddress,
    /// Undoes a change of the address.
    UndoChange,
    /// Keeps a deleted account.
    Keep,
    /// Removes a new factor.
    UndoFactor,
}

/// A mail with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mail {
    /// Where it was sent.
    pub to: Address,
    /// What its link does.
    pub kind: LinkKind,
    /// The token in the link.
    pub link: Link,
    /// The account.
    pub account: AccountId,
    /// The account's credential version when the mail was requested.
    pub version: Version,
    /// The account's address when the mail was requested.
    pub address: Address,
    /// Whether the link has taken effect.
    pub is_used: bool,
}

/// A time that passes. Everything that it is longer than ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Passing {
    /// More than ten seconds: every grace has ended, and every wait after wrong passwords.
    Seconds,
    /// More than ten minutes: also, no session and no access token is fresh.
    Minutes,
    /// More than a day: also, the links are void, except those that undo a change or a factor, or keep an account.
    Day,
    /// More than a week: also, sessions have expired, changes cannot be undone, and deleted accounts may be erased.
    Week,
}

/// What may still happen in a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Left {
    /// How many requests each of Ada, Bob, Eve and `sweep` may still begin.
    pub requests: [u8; 4],
    /// How often a function may stop, a call may be late, or a statement may run twice.
    pub faults: u8,
    /// How often the thief may copy something.
    pub thefts: u8,
    /// The times that may still pass.
    pub time: Vec<Passing>,
}

impl World {
    /// What this person knows.
    ///
    /// # Panics
    /// If `who` is not a person.
    #[must_use]
    pub fn knowledge(&self, who: Who) -> &Knowledge {
        &self.knowledge[who as usize]
    }

    /// Like [`Self::knowledge`].
    ///
    /// # Panics
    /// If `who` is not a person.
    pub fn knowledge_mut(&mut self, who: Who) -> &mut Knowledge {
        &mut self.knowledge[who as usize]
    }

    /// Owes a mail. The outbox is not in the model: a mail that is owed arrives when its request has ended or stopped ([`Self::arrived`]).
    pub fn send(&mut self, to: Address, kind: LinkKind, link: Link, account: AccountId) {
        // If the statement runs twice, the mail is sent after the second run.
        self.mails.retain(|mail| (mail.kind, mail.link) != (kind, link));
        if let Some(owner) = self.postgres.account(account) {
            let (version, address) = (owner.version, owner.address);
            self.mails.push(Mail { to, kind, link, account, version, address, is_used: false });
        }
    }

    /// The mails of this kind that a person can read.
    pub fn arrived(&self, kind: LinkKind, who: Who) -> impl Iterator<Item = &Mail> {
        let is_sent = |mail: &Mail| !self.requests.iter().any(|request| request.random == mail.link);
        self.mails.iter().filter(move |mail| mail.kind == kind && mail.to.reader() == who && is_sent(mail))
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Passing) {
        let sessions = self.postgres.sessions.iter_mut().chain(&mut self.table.sessions);
        for session in sessions {
            session.in_grace = false;
            session.is_fresh &= time < Passing::Minutes;
        }
        for tokens in self.knowledge.iter_mut().flat_map(|person| &mut person.tokens) {
            tokens.access = tokens.access.map(|is_fresh| is_fresh && time < Passing::Minutes);
        }
        if time >= Passing::Day {
            self.knowledge.iter_mut().for_each(|person| person.second_steps.clear());
        }
        if time == Passing::Week {
            self.postgres.sessions.clear();
            self.table.sessions.clear();
        }
        self.postgres.accounts.iter_mut().flatten().for_each(|account| account.pass(time));
    }
}
