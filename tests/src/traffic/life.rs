//! Somebody who comes, does a number of things, one after the other, and goes; and what they know of their account by then.

use std::{
    collections::BTreeSet,
    future::Future,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::{Dice, Traffic};
use crate::{Person, Reply, Tokens, ses::Taken};

/// A second below the time for which the parent of a refresh token may ask again.
const GRACE: Duration = Duration::from_secs(9);
/// An account gets no more mails than that in an hour.
const LINKS: usize = 3;

/// Whether something is so, where an answer may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    No,
    Maybe,
    Yes,
}

/// What became of a request.
enum Outcome {
    Done(Reply),
    Refused(u16),
    /// It may have taken effect, or may yet, until calm has returned.
    Unknown,
}

/// A session, as whoever opened it knows it.
pub(super) struct Session {
    pub(super) lives: Known,
    tokens: Tokens,
    /// Refresh tokens it had before, oldest first.
    older: Vec<String>,
    /// When the present refresh token was asked for.
    since: Instant,
    /// When it was first presented in vain.
    unanswered: Option<Instant>,
}

/// What was asked for: how often for certain, how often perhaps, and when last for certain.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) certain: usize,
    pub(super) unanswered: usize,
    pub(super) last: Option<Instant>,
}

impl Asked {
    fn done(&mut self, at: Instant) {
        self.certain += 1;
        self.last = Some(at);
    }
}

/// A person, and what they know.
pub struct Life<'a> {
    pub(super) person: Person<'a>,
    traffic: &'a Traffic<'a>,
    dice: Dice,
    pub(super) account: Known,
    pub(super) accounts: Asked,
    /// Oldest first: one of them is the password.
    pub(super) passwords: Vec<String>,
    pub(super) sessions: Vec<Session>,
    pub(super) sign_ins: Asked,
    pub(super) failures: Asked,
    pub(super) links: Asked,
    pub(super) resets: Asked,
    /// When a link was last opened, to whatever end.
    pub(super) reset_tried: Option<Instant>,
    used_links: BTreeSet<String>,
}

impl<'a> Life<'a> {
    pub(super) fn new(traffic: &'a Traffic<'a>, number: u32, dice: Dice) -> Self {
        let source = Ipv4Addr::from_bits(0x0A00_0000 + number).to_string();
        let person = traffic.stack.stranger(&format!("Person {number}")).at(&source);
        Self {
            passwords: vec![person.password.clone()],
            person,
            traffic,
            dice,
            account: Known::No,
            accounts: Asked::default(),
            sessions: Vec::new(),
            sign_ins: Asked::default(),
            failures: Asked::default(),
            links: Asked::default(),
            resets: Asked::default(),
            reset_tried: None,
            used_links: BTreeSet::new(),
        }
    }

    pub(super) async fn is_lived(&mut self, until: Instant) {
        for _ in 0..5 {
            self.signs_up().await;
            if self.account == Known::Yes || Instant::now() > until {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        for _ in 0..10 + self.dice.roll(30) {
            if self.account != Known::Yes || Instant::now() > until {
                break;
            }
            self.does_something().await;
            tokio::time::sleep(self.dice.between(Duration::ZERO, self.traffic.pause)).await;
        }
    }

    async fn does_something(&mut self) {
        let session = (!self.sessions.is_empty()).then(|| self.dice.roll(self.sessions.len()));
        match (self.dice.roll(24), session) {
            (0..=2, _) => self.mistypes().await,
            (3, _) => self.forgets().await,
            (4..=6, _) => self.opens_newest_link().await,
            (7, _) => self.opens_used_link().await,
            (8, _) => self.signs_up_in_capitals().await,
            (9..=13, Some(session)) => self.looks(session).await,
            (14..=17, Some(session)) => self.refreshes(session).await,
            (18, Some(session)) => self.asks_again(session).await,
            (19, Some(session)) => self.is_stolen_from(session).await,
            (20, Some(session)) => self.logs_out(session).await,
            _ => {
                let tried = self.dice.roll(self.passwords.len());
                self.signs_in(tried).await;
            }
        }
    }

    async fn ask(&self, endpoint: &'static str, request: impl Future<Output = Reply>) -> Outcome {
        let reply = request.await;
        self.traffic.record.note(endpoint, &reply);
        match reply.status {
            200..300 => Outcome::Done(reply),
            500.. => Outcome::Unknown,
            status => Outcome::Refused(status),
        }
    }

    pub(super) fn breaks(&self, what: &str) {
        self.traffic.record.breaks(format!("{}: {what}", self.person.name));
    }

    async fn signs_up(&mut self) {
        let asked = Instant::now();
        match self.ask("signup", self.person.signs_up()).await {
            Outcome::Done(_) => {
                self.accounts.done(asked);
                self.account = Known::Yes;
            }
            Outcome::Unknown => {
                self.accounts.unanswered += 1;
                self.account = Known::Maybe;
            }
            Outcome::Refused(400) if self.account == Known::Maybe => self.account = Known::Yes,
            Outcome::Refused(status) => self.breaks(&format!("nobody has this address, and sign-up answered {status}")),
        }
    }

    async fn signs_up_in_capitals(&self) {
        let other = self.person.with_email(&self.person.email.to_uppercase());
        if let Outcome::Done(_) = self.ask("signup", other.signs_up()).await {
            self.breaks("has two accounts");
        }
    }

    /// Signs in with one of the passwords there can be. Whichever turns out to be right, older ones are gone for good.
    async fn signs_in(&mut self, tried: usize) {
        let asked = Instant::now();
        let person = self.person.with_password(&self.passwords[tried]);
        match self.ask("signin", person.tries_to_sign_in()).await {
            Outcome::Done(reply) => {
                self.sign_ins.done(asked);
                self.passwords.drain(..tried);
                let tokens = Tokens::from(&reply);
                // A reset that was not answered may end it yet.
                let lives = if self.passwords.len() == 1 { Known::Yes } else { Known::Maybe };
                self.sessions.push(Session { lives, tokens, older: Vec::new(), since: asked, unanswered: None });
            }
            Outcome::Unknown => self.sign_ins.unanswered += 1,
            Outcome::Refused(401) if self.passwords.len() == 1 => {
                self.breaks("cannot sign in with the one password there can be");
            }
            Outcome::Refused(401) => {
                self.failures.done(asked);
                if tried == 0 {
                    self.passwords.remove(0);
                }
            }
            Outcome::Refused(429) => {}
            Outcome::Refused(status) => self.breaks(&format!("sign-in answered {status}")),
        }
    }

    async fn mistypes(&mut self) {
        let asked = Instant::now();
        let person = self.person.with_password("not the password");
        match self.ask("signin", person.tries_to_sign_in()).await {
            Outcome::Done(_) => self.breaks("signed in with a wrong password"),
            Outcome::Refused(401) => self.failures.done(asked),
            Outcome::Refused(_) => {}
            Outcome::Unknown => self.failures.unanswered += 1,
        }
    }

    /// Holds an answer against what is known of a session, and learns from it.
    fn learns(&mut self, session: usize, lives: bool, from: &str) {
        let known = self.sessions[session].lives;
        if known == (if lives { Known::No } else { Known::Yes }) {
            let was = if lives { "ended" } else { "alive" };
            self.breaks(&format!("a session that was {was} is not so for {from}"));
        }
        if !lives {
            self.sessions[session].lives = Known::No;
        }
    }

    fn may_have_ended(&mut self, session: usize) {
        let lives = &mut self.sessions[session].lives;
        *lives = if *lives == Known::No { Known::No } else { Known::Maybe };
    }

    async fn looks(&mut self, session: usize) {
        let access = self.sessions[session].tokens.access.clone();
        match self.ask("dashboard", self.person.dashboard(&access)).await {
            Outcome::Done(_) => self.learns(session, true, "dashboard"),
            Outcome::Refused(_) => self.learns(session, false, "dashboard"),
            Outcome::Unknown => {}
        }
    }

    /// Presents the present refresh token. Where the answer was lost, it may be presented again for a while; after that, it may
    /// count as stolen.
    async fn refreshes(&mut self, session: usize) {
        let asked = Instant::now();
        let refresh = self.sessions[session].tokens.refresh.clone();
        let outcome = self.ask("refresh", self.person.refreshes(&refresh)).await;
        let late = self.sessions[session].unanswered.is_some_and(|first| first.elapsed() > GRACE);
        match outcome {
            Outcome::Done(reply) => {
                self.learns(session, true, "refresh");
                let tokens = Tokens::from(&reply);
                if tokens.refresh == refresh {
                    self.breaks("a refresh token is its own successor");
                }
                let session = &mut self.sessions[session];
                session.since = session.unanswered.take().unwrap_or(asked);
                session.tokens = tokens;
                session.older.push(refresh);
            }
            Outcome::Refused(401) => {
                if late {
                    self.may_have_ended(session);
                }
                self.learns(session, false, "refresh");
            }
            Outcome::Refused(_) => {}
            Outcome::Unknown => {
                self.sessions[session].unanswered.get_or_insert(asked);
                if late {
                    self.may_have_ended(session);
                }
            }
        }
    }

    /// Presents the parent of the present refresh token, as whoever lost the answer does.
    async fn asks_again(&mut self, session: usize) {
        let Session { older, since, unanswered: None, .. } = &self.sessions[session] else { return };
        let (Some(parent), since) = (older.last().cloned(), *since) else { return };
        let outcome = self.ask("refresh", self.person.refreshes(&parent)).await;
        if since.elapsed() > GRACE {
            self.may_have_ended(session);
        }
        match outcome {
            Outcome::Done(reply) => {
                self.learns(session, true, "refresh");
                if Tokens::from(&reply).refresh != self.sessions[session].tokens.refresh {
                    self.breaks("who asked again got another refresh token");
                }
            }
            Outcome::Refused(401) => self.learns(session, false, "refresh"),
            Outcome::Refused(_) | Outcome::Unknown => {}
        }
    }

    /// A refresh token that was used long ago comes back.
    async fn is_stolen_from(&mut self, session: usize) {
        let older = &self.sessions[session].older;
        let Some(stolen) = older.len().checked_sub(2).map(|grandparent| older[grandparent].clone()) else { return };
        match self.ask("refresh", self.person.refreshes(&stolen)).await {
            Outcome::Done(_) => self.breaks("a stolen refresh token served"),
            Outcome::Refused(401) => self.sessions[session].lives = Known::No,
            Outcome::Refused(_) => {}
            Outcome::Unknown => self.may_have_ended(session),
        }
    }

    async fn logs_out(&mut self, session: usize) {
        let access = self.sessions[session].tokens.access.clone();
        match self.ask("logout", self.person.logs_out(&access)).await {
            Outcome::Done(_) => {
                self.learns(session, true, "logout");
                self.sessions[session].lives = Known::No;
            }
            Outcome::Refused(_) => self.learns(session, false, "logout"),
            Outcome::Unknown => self.may_have_ended(session),
        }
    }

    async fn forgets(&mut self) {
        let asked = Instant::now();
        if self.links.certain + self.links.unanswered == LINKS {
            return;
        }
        match self.ask("forgot-password", self.person.forgets_password()).await {
            Outcome::Done(_) => self.links.done(asked),
            Outcome::Unknown => self.links.unanswered += 1,
            Outcome::Refused(status) => self.breaks(&format!("forgot-password answered {status}")),
        }
    }

    pub(super) fn mails(&self) -> Vec<Taken> {
        self.traffic.ses.taken_for(&self.person.email)
    }

    /// The token of the newest link there is a mail of.
    fn newest_link(&self) -> Option<String> {
        self.mails().iter().rev().find(|(_, mail)| mail.text.contains("http")).map(|(_, mail)| mail.reset_token())
    }

    async fn opens_newest_link(&mut self) {
        let Some(token) = self.newest_link().filter(|token| !self.used_links.contains(token)) else { return };
        let asked = *self.reset_tried.insert(Instant::now());
        let password = format!("password {} of {}", self.resets.certain + self.resets.unanswered + 1, self.person.name);
        match self.ask("reset-password", self.person.resets_password(&token, &password)).await {
            Outcome::Done(_) => {
                self.resets.done(asked);
                self.used_links.insert(token);
                self.passwords = vec![password];
                for session in &mut self.sessions {
                    session.lives = Known::No;
                }
            }
            Outcome::Unknown => {
                self.resets.unanswered += 1;
                self.passwords.push(password);
                (0..self.sessions.len()).for_each(|session| self.may_have_ended(session));
            }
            // A newer link is on its way, or an attempt that was not answered has used this one.
            Outcome::Refused(400) => {}
            Outcome::Refused(status) => self.breaks(&format!("reset-password answered {status}")),
        }
    }

    async fn opens_used_link(&mut self) {
        let Some(token) = self.used_links.iter().next().cloned() else { return };
        if let Outcome::Done(_) =
            self.ask("reset-password", self.person.resets_password(&token, "another password")).await
        {
            self.breaks("a link for a new password served twice");
        }
    }

    /// Tries every session, and every password there can be, of which exactly one is right.
    pub(super) async fn tries_everything(&mut self) {
        if self.account != Known::Yes {
            return;
        }
        for session in 0..self.sessions.len() {
            self.looks(session).await;
            self.refreshes(session).await;
            self.looks(session).await;
        }
        // From somewhere else, where no failures are counted.
        self.person = self.person.at(&self.person.source.replacen("10.", "11.", 1));
        let mut right = 0;
        for password in &self.passwords {
            let person = self.person.with_password(password);
            let outcome = self.ask("signin", person.tries_to_sign_in()).await;
            right += usize::from(matches!(outcome, Outcome::Done(_)));
        }
        if right != 1 {
            self.breaks(&format!("{right} passwords are right"));
        }
    }
}
