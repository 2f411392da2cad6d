//! A simulated user: sends random requests one after the other, and records what is certain about the account.

use std::{
    collections::BTreeSet,
    future::Future,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::{
    SeededRng, Traffic,
    account_changes::Account,
    client_state::{Certainty, Changes, RequestResult, Session},
    factors::Factors,
};
use crate::{Person, Reply, Tokens, ses::AcceptedMail};

/// For this time, a used refresh token is certainly accepted again: the grace period minus a second for the request itself.
const GRACE_PERIOD: Duration = Duration::from_secs(9);
/// The maximum number of reset mails that an account gets in an hour.
const RESET_MAILS_PER_HOUR: usize = 3;

/// The functions that, with sessions in DynamoDB, decide about a session without PostgreSQL.
const TABLE_FUNCTIONS: [&str; 3] = ["refresh", "logout", "sessions"];

/// A person, and the record of what their requests changed.
pub struct SimulatedUser<'a> {
    pub(super) person: Person<'a>,
    pub(super) traffic: &'a Traffic<'a>,
    rng: SeededRng,
    pub(super) has_account: Certainty,
    pub(super) sign_ups: Changes,
    /// The passwords that may be the current one, oldest first.
    pub(super) passwords: Vec<String>,
    pub(super) sessions: Vec<Session>,
    pub(super) sign_ins: Changes,
    pub(super) failed_sign_ins: Changes,
    pub(super) links: Changes,
    /// Resets and changes of the password.
    pub(super) resets: Changes,
    /// When the last request was sent that makes reset links void, whatever its result. A request that tries a used link again is not recorded here.
    pub(super) links_voided: Option<Instant>,
    pub(super) account: Account,
    pub(super) factors: Factors,
    /// The number of mails that the requests make due at most.
    pub(super) most_mails: usize,
    used_links: BTreeSet<String>,
}

impl<'a> SimulatedUser<'a> {
    pub(super) fn new(traffic: &'a Traffic<'a>, number: u32, rng: SeededRng) -> Self {
        let source = Ipv4Addr::from_bits(0x0A00_0000 + number).to_string();
        let person = traffic.stack.stranger(&format!("Person {number}")).from_source(&source);
        let second_address = traffic.stack.stranger(&format!("Person {number}")).email;
        Self {
            passwords: vec![person.password.clone()],
            account: Account::new([person.email.clone(), second_address]),
            factors: Factors::new(),
            most_mails: 0,
            person,
            traffic,
            rng,
            has_account: Certainty::No,
            sign_ups: Changes::default(),
            sessions: Vec::new(),
            sign_ins: Changes::default(),
            failed_sign_ins: Changes::default(),
            links: Changes::default(),
            resets: Changes::default(),
            links_voided: None,
            used_links: BTreeSet::new(),
        }
    }

    /// Signs up. Then sends 10 to 39 random requests, but none after the given time.
    pub(super) async fn run(&mut self, until: Instant) {
        for _ in 0..5 {
            self.sign_up().await;
            if self.has_account == Certainty::Yes || Instant::now() > until {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        for _ in 0..10 + self.rng.below(30) {
            if self.has_account != Certainty::Yes || Instant::now() > until {
                break;
            }
            self.send_random_request().await;
            tokio::time::sleep(self.rng.duration_between(Duration::ZERO, self.traffic.pause)).await;
        }
    }

    async fn send_random_request(&mut self) {
        let session = (!self.sessions.is_empty()).then(|| self.rng.below(self.sessions.len()));
        let kinds = if self.account.is_deleted == Certainty::No { 50 } else { 60 };
        match (self.rng.below(kinds), session) {
            (0..=2, _) => self.sign_in_with_wrong_password().await,
            (3, _) => self.request_reset_link().await,
            (4..=6, _) => self.use_newest_link().await,
            (7, _) => self.reuse_used_link().await,
            (8, _) => self.sign_up_again_in_capitals().await,
            (9..=13, Some(session)) => self.view_dashboard(session).await,
            (14..=17, Some(session)) => self.refresh(session).await,
            (18, Some(session)) => self.repeat_refresh(session).await,
            (19, Some(session)) => self.reuse_old_refresh_token(session).await,
            (20, Some(session)) => self.log_out(session).await,
            (21..=22, Some(session)) => {
                let change = self.rng.below(2) == 0;
                self.view_or_change_account(session, change).await;
            }
            (23, Some(session)) => self.list_sessions(session).await,
            (24, Some(session)) => self.end_other_sessions(session).await,
            (25, Some(session)) => self.reauthenticate(session).await,
            (26, Some(session)) => self.change_password(session).await,
            (27, Some(session)) => self.request_verification_mail(session).await,
            (28, Some(session)) => self.verify_by_code(session).await,
            (29, _) => self.verify_by_link().await,
            (30..=31, Some(session)) => self.request_move(session).await,
            (32..=34, _) if self.account.is_moved == Certainty::No => self.use_link_to_move().await,
            (32..=35, _) => self.undo_move().await,
            (36, Some(session)) => self.delete_account(session).await,
            (37 | 50.., _) => _ = self.keep_account().await,
            (40..=43, Some(session)) => self.add_passkey(session).await,
            (44..=47, _) => self.sign_in_with_passkey().await,
            (48, Some(session)) => self.remove_passkey(session).await,
            (49, _) => self.undo_passkey().await,
            _ => {
                let tried = self.rng.below(self.passwords.len());
                self.sign_in(tried).await;
            }
        }
    }

    pub(super) async fn send(&self, endpoint: &'static str, request: impl Future<Output = Reply>) -> RequestResult {
        let reply = request.await;
        self.traffic.answers.record(endpoint, &reply);
        match reply.status {
            200..300 => RequestResult::Done(reply),
            500.. => RequestResult::Unknown,
            status => RequestResult::Refused(status),
        }
    }

    /// Sends a request with a password. The result is `Err` if the password is right and the account has a second factor.
    pub(super) async fn prove(
        &self,
        endpoint: &'static str,
        request: impl Future<Output = Reply>,
    ) -> Result<RequestResult, Reply> {
        let reply = request.await;
        if reply.status == 401 && reply.text_at("code") == "second_factor_required" {
            self.traffic.answers.record(endpoint, &reply);
            return Err(reply);
        }
        Ok(self.send(endpoint, async { reply }).await)
    }

    pub(super) fn report_violation(&self, what: &str) {
        self.traffic.answers.report_violation(format!("{}: {what}", self.person.name));
    }

    async fn sign_up(&mut self) {
        let sent = Instant::now();
        self.most_mails += 1;
        match self.send("signup", self.person.signs_up()).await {
            RequestResult::Done(_) => {
                self.sign_ups.acknowledge(sent);
                self.has_account = Certainty::Yes;
            }
            RequestResult::Unknown => {
                self.sign_ups.unanswered += 1;
                self.has_account = Certainty::Unknown;
            }
            RequestResult::Refused(400) if self.has_account == Certainty::Unknown => self.has_account = Certainty::Yes,
            RequestResult::Refused(status) => {
                self.report_violation(&format!("sign-up with an unused address was answered with {status}"));
            }
        }
    }

    /// Signs up with the first address, which the account has or may get back.
    async fn sign_up_again_in_capitals(&self) {
        let other = self.person.with_email(&self.account.addresses[0].to_uppercase());
        if let RequestResult::Done(_) = self.send("signup", other.signs_up()).await {
            self.report_violation("has two accounts, or lost an address that can be restored");
        }
    }

    /// Tries to sign in with one of the passwords that may be the current one. If this succeeds, no older password is the current one.
    async fn sign_in(&mut self, tried: usize) {
        let sent = Instant::now();
        let person = self.person.with_password(&self.passwords[tried]);
        match self.prove("signin", person.tries_to_sign_in()).await {
            Ok(RequestResult::Done(reply)) => {
                if self.factors.has_passkey == Certainty::Yes {
                    self.report_violation("signed in without the passkey");
                }
                self.passwords.drain(..tried);
                self.signed_in(&reply, sent);
            }
            Err(asked) => {
                if self.account.is_deleted == Certainty::Yes {
                    self.report_violation("a deleted account asks for a passkey");
                }
                self.passwords.drain(..tried);
                let is_certain = self.is_certainly_unchanged();
                match self.show_passkey(&asked).await {
                    RequestResult::Done(reply) => self.signed_in(&reply, sent),
                    RequestResult::Refused(status) if is_certain => {
                        self.report_violation(&format!("the second factor was answered with {status}"));
                    }
                    RequestResult::Refused(_) => {}
                    RequestResult::Unknown => self.sign_ins.unanswered += 1,
                }
            }
            Ok(RequestResult::Unknown) => self.sign_ins.unanswered += 1,
            Ok(RequestResult::Refused(401)) if !self.account.is_certainly_found() => {
                self.failed_sign_ins.acknowledge(sent);
            }
            Ok(RequestResult::Refused(401)) if self.passwords.len() == 1 => {
                self.report_violation("cannot sign in with the only possible password");
            }
            Ok(RequestResult::Refused(401)) => {
                self.failed_sign_ins.acknowledge(sent);
                if tried == 0 {
                    self.passwords.remove(0);
                }
            }
            Ok(RequestResult::Refused(429)) => {}
            Ok(RequestResult::Refused(status)) => self.report_violation(&format!("sign-in was answered with {status}")),
        }
    }

    /// Records a successful sign-in.
    pub(super) fn signed_in(&mut self, reply: &Reply, sent: Instant) {
        if self.account.is_deleted == Certainty::Yes {
            self.report_violation("signed in to a deleted account");
        }
        self.sign_ins.acknowledge(sent);
        // An unanswered request may still end the session.
        let alive = if self.is_certainly_unchanged() { Certainty::Yes } else { Certainty::Unknown };
        self.sessions.push(Session::new(alive, Tokens::from(reply), sent));
    }

    async fn sign_in_with_wrong_password(&mut self) {
        let sent = Instant::now();
        let person = self.person.with_password("not the password");
        match self.prove("signin", person.tries_to_sign_in()).await {
            Ok(RequestResult::Done(_)) | Err(_) => {
                self.report_violation("signed in with a wrong password");
            }
            Ok(RequestResult::Refused(401)) => self.failed_sign_ins.acknowledge(sent),
            Ok(RequestResult::Refused(_)) => {}
            Ok(RequestResult::Unknown) => self.failed_sign_ins.unanswered += 1,
        }
    }

    /// Compares an answer with what is certain about the session, and records what the answer shows.
    pub(super) fn observe(&mut self, session: usize, alive: bool, endpoint: &str) {
        let known = self.sessions[session].alive;
        if known == (if alive { Certainty::No } else { Certainty::Yes }) {
            let (before, now) = if alive { ("ended", "accepted") } else { ("alive", "refused") };
            self.report_violation(&format!("a session that was {before} is {now} by {endpoint}"));
        }
        // With sessions in DynamoDB, a change of the credentials that was not answered may end the session first for the functions that read the
        // account.
        let is_ended_everywhere = self.traffic.stack.state_table.is_none() || TABLE_FUNCTIONS.contains(&endpoint);
        if !alive && is_ended_everywhere {
            self.sessions[session].alive = Certainty::No;
        }
    }

    pub(super) fn may_have_ended(&mut self, session: usize) {
        self.sessions[session].alive.may_become_false();
    }

    async fn view_dashboard(&mut self, session: usize) {
        let access = self.sessions[session].tokens.access.clone();
        match self.send("dashboard", self.person.dashboard(&access)).await {
            RequestResult::Done(_) => self.observe(session, true, "dashboard"),
            RequestResult::Refused(_) => self.observe(session, false, "dashboard"),
            RequestResult::Unknown => {}
        }
    }

    /// Sends the current refresh token. If the answer is lost, the token may be sent again within the grace period. After that, the
    /// service may treat it as reused.
    async fn refresh(&mut self, session: usize) {
        let sent = Instant::now();
        let refresh = self.sessions[session].tokens.refresh.clone();
        let outcome = self.send("refresh", self.person.refreshes(&refresh)).await;
        let late = self.sessions[session].first_unanswered.is_some_and(|first| first.elapsed() > GRACE_PERIOD);
        match outcome {
            RequestResult::Done(reply) => {
                self.observe(session, true, "refresh");
                let tokens = Tokens::from(&reply);
                if tokens.refresh == refresh {
                    self.report_violation("a refresh returned the same refresh token");
                }
                let session = &mut self.sessions[session];
                session.refresh_sent = session.first_unanswered.take().unwrap_or(sent);
                session.tokens = tokens;
                session.used_refresh_tokens.push(refresh);
            }
            RequestResult::Refused(401) => {
                if late {
                    self.may_have_ended(session);
                }
                self.observe(session, false, "refresh");
            }
            RequestResult::Refused(_) => {}
            RequestResult::Unknown => {
                self.sessions[session].first_unanswered.get_or_insert(sent);
                if late {
                    self.may_have_ended(session);
                }
            }
        }
    }

    /// Sends the previous refresh token again, like a client that lost the answer.
    async fn repeat_refresh(&mut self, session: usize) {
        let Session { used_refresh_tokens, refresh_sent, first_unanswered: None, .. } = &self.sessions[session] else {
            return;
        };
        let (Some(parent), sent) = (used_refresh_tokens.last().cloned(), *refresh_sent) else { return };
        let outcome = self.send("refresh", self.person.refreshes(&parent)).await;
        if sent.elapsed() > GRACE_PERIOD {
            self.may_have_ended(session);
        }
        match outcome {
            RequestResult::Done(reply) => {
                self.observe(session, true, "refresh");
                if Tokens::from(&reply).refresh != self.sessions[session].tokens.refresh {
                    self.report_violation("a repeated refresh returned a different refresh token");
                }
            }
            RequestResult::Refused(401) => self.observe(session, false, "refresh"),
            RequestResult::Refused(_) | RequestResult::Unknown => {}
        }
    }

    /// Sends a refresh token whose successor was used, as a thief would.
    async fn reuse_old_refresh_token(&mut self, session: usize) {
        let used = &self.sessions[session].used_refresh_tokens;
        let Some(stolen) = used.len().checked_sub(2).map(|grandparent| used[grandparent].clone()) else { return };
        match self.send("refresh", self.person.refreshes(&stolen)).await {
            RequestResult::Done(_) => self.report_violation("a reused refresh token was accepted"),
            RequestResult::Refused(401) => self.sessions[session].alive = Certainty::No,
            RequestResult::Refused(_) => {}
            RequestResult::Unknown => self.may_have_ended(session),
        }
    }

    async fn log_out(&mut self, session: usize) {
        let access = self.sessions[session].tokens.access.clone();
        match self.send("logout", self.person.logs_out(&access)).await {
            RequestResult::Done(_) => {
                // If DynamoDB's first answer was lost, logout cannot know whether the session that it deleted was live, and succeeds.
                if self.traffic.stack.state_table.is_none() {
                    self.observe(session, true, "logout");
                }
                self.sessions[session].alive = Certainty::No;
            }
            RequestResult::Refused(_) => self.observe(session, false, "logout"),
            RequestResult::Unknown => self.may_have_ended(session),
        }
    }

    async fn request_reset_link(&mut self) {
        let sent = Instant::now();
        let is_limit_reached = self.links.acknowledged + self.links.unanswered == RESET_MAILS_PER_HOUR;
        if is_limit_reached || self.account.is_moved == Certainty::Unknown {
            return;
        }
        self.most_mails += 1;
        match self.send("forgot-password", self.person.forgets_password()).await {
            RequestResult::Done(_) => self.links.acknowledge(sent),
            RequestResult::Unknown => self.links.unanswered += 1,
            RequestResult::Refused(status) => {
                self.report_violation(&format!("forgot-password was answered with {status}"));
            }
        }
    }

    /// The mails to both addresses, oldest first.
    pub(super) fn mails(&self) -> Vec<AcceptedMail> {
        let accepted = |address: &String| self.traffic.ses.accepted_for(address);
        let mut mails: Vec<_> = self.account.addresses.iter().flat_map(accepted).collect();
        mails.sort_by_key(|(at, _)| *at);
        mails
    }

    /// A password that this user has never had.
    pub(super) fn next_password(&self) -> String {
        format!("password {} of {}", self.resets.acknowledged + self.resets.unanswered + 1, self.person.name)
    }

    async fn use_newest_link(&mut self) {
        let newest = self.newest_mail("reset-password").map(|mail| mail.token());
        let Some(token) = newest.filter(|token| !self.used_links.contains(token)) else { return };
        self.most_mails += 1;
        let sent = *self.links_voided.insert(Instant::now());
        let password = self.next_password();
        match self.send("reset-password", self.person.resets_password(&token, &password)).await {
            RequestResult::Done(_) => {
                if self.account.is_deleted == Certainty::Yes {
                    self.report_violation("reset the password of a deleted account");
                }
                self.resets.acknowledge(sent);
                self.account.verified();
                self.used_links.insert(token);
                self.passwords = vec![password];
                for session in &mut self.sessions {
                    session.alive = Certainty::No;
                }
            }
            RequestResult::Unknown => {
                self.resets.unanswered += 1;
                self.passwords.push(password);
                self.account.may_be_verified();
                (0..self.sessions.len()).for_each(|session| self.may_have_ended(session));
            }
            // A newer link was requested, or an unanswered attempt has used this one.
            RequestResult::Refused(400) => {}
            RequestResult::Refused(status) => {
                self.report_violation(&format!("reset-password was answered with {status}"));
            }
        }
    }

    async fn reuse_used_link(&mut self) {
        let Some(token) = self.used_links.iter().next().cloned() else { return };
        if let RequestResult::Done(_) =
            self.send("reset-password", self.person.resets_password(&token, "another password")).await
        {
            self.report_violation("a reset link worked twice");
        }
    }

    /// Keeps the account if it is deleted, and tries every session, and every address and password that may be current. Exactly one must work.
    pub(super) async fn try_sessions_and_passwords(&mut self) {
        if self.has_account != Certainty::Yes {
            return;
        }
        for session in 0..self.sessions.len() {
            self.view_dashboard(session).await;
            self.refresh(session).await;
            self.view_dashboard(session).await;
        }
        // This source has no failed sign-ins, so it is not throttled.
        self.person = self.person.from_source(&self.person.source.replacen("10.", "11.", 1));
        if self.account.is_deleted == Certainty::Yes && self.count_working_credentials().await != 0 {
            self.report_violation("a deleted account is usable");
        }
        if self.account.is_deleted != Certainty::No
            && !self.keep_account().await
            && self.account.is_deleted == Certainty::Yes
        {
            self.report_violation("cannot keep a deleted account");
        }
        let working = self.count_working_credentials().await;
        if working != 1 {
            self.report_violation(&format!("{working} addresses and passwords work instead of one"));
        }
    }

    /// The number of pairs of an address and a password with which this user can sign in.
    async fn count_working_credentials(&mut self) -> usize {
        let mut working = 0;
        for address in self.account.addresses.clone() {
            for password in self.passwords.clone() {
                let person = self.person.with_email(&address).with_password(&password);
                let is_signed_in = match self.prove("signin", person.tries_to_sign_in()).await {
                    Err(asked) => matches!(self.show_passkey(&asked).await, RequestResult::Done(_)),
                    Ok(RequestResult::Done(_)) => {
                        if self.factors.has_passkey == Certainty::Yes {
                            self.report_violation("signed in without the passkey after the faults");
                        }
                        true
                    }
                    Ok(_) => false,
                };
                working += usize::from(is_signed_in);
            }
        }
        working
    }
}
