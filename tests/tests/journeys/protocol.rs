//! Histories of the model of the session protocol (docs/protocol.md), sent to the real functions. Every answer must be the one that the model
//! expects, and after each step, the dashboard and the authorizer must accept the sessions that the model accepts.

use std::collections::BTreeMap;

use jsonwebtoken::EncodingKey;
use model::{
    endpoints::{Answer, Call},
    promises,
    protocol::{Action, Protocol, Store as ModelStore},
    scenarios::{self, Scenario},
    walks::{self, Event},
    world::{Address, FactorId, Link, LinkKind, Mail, Passing, Password, Random, RefreshId, SessionId, Who, World},
};
use rstest::rstest;
use serde_json::{Value, json};
use tests::{
    Person, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    authenticator::Authenticator,
    jwt::claims,
    mailbox::{self, EMAIL_CHANGE, EMAIL_CHANGED, PASSKEY_ADDED, RESET, TOTP_ADDED},
    passkey::Device,
    stack::SECRET,
};

use crate::support::get_example;

/// How many histories each test sends, and the most steps of each.
const HISTORIES: usize = 24;
const HISTORIES_OF_FACTORS: usize = 20;
const HISTORIES_OF_A_DELETION: usize = 3;
const STEPS: usize = 18;

/// The people of one history, with the real tokens and links for those of the model.
struct Cast<'a> {
    stack: &'a Stack,
    people: [Person<'a>; 3],
    addresses: BTreeMap<Address, String>,
    access: BTreeMap<(Who, SessionId), String>,
    refresh: BTreeMap<(SessionId, RefreshId), String>,
    links: BTreeMap<(LinkKind, Link), String>,
    /// The tokens of sign-ins that wait for a second factor, and the options with which a browser asks for a passkey.
    waiting: BTreeMap<(Who, Link), (String, Value)>,
    /// The authenticator that each person has added last.
    apps: BTreeMap<Who, Authenticator>,
    /// The passkeys, each with its id and on a device of its own.
    passkeys: BTreeMap<FactorId, (String, Device)>,
}

impl<'a> Cast<'a> {
    /// Ada and Bob sign up and in, as at the beginning of the model. The owner of a mailbox has verified its address there.
    async fn of(stack: &'a Stack, history: u64, protocol: &Protocol) -> Self {
        let source = |person: u64| format!("10.{person}.{}.{}", history / 256, history % 256);
        let people = [("Ada", 1), ("Bob", 2), ("Eve", 3)];
        let people = people.map(|(name, number)| stack.stranger(name).from_source(&source(number)));
        let new = stack.stranger("Ada New").email;
        let addresses = [Address::Ada, Address::Bob, Address::Eve]
            .into_iter()
            .zip(people.iter().map(|person| person.email.clone()));
        let addresses = addresses.chain([(Address::AdaNew, new)]).collect();
        let (access, refresh, links, waiting, apps, passkeys) = Default::default();
        let mut cast = Self { stack, people, addresses, access, refresh, links, waiting, apps, passkeys };
        let first = protocol.scenario.begin(protocol);
        for owner in [Who::Ada, Who::Bob] {
            let person = cast.person(owner).with_password(&password(Password::First(owner)));
            person.signs_up().await.assert_created();
            stack.sql(&format!("UPDATE users SET email_verified_at = now() WHERE email = '{}'", person.email)).await;
            stack.sql("DELETE FROM email_verifications").await;
            let tokens = first.knowledge(owner).tokens[0];
            let reply = person.tries_to_sign_in().await;
            cast.receive(owner, &reply, &Answer { tokens: Some(tokens), ..Answer::success(200) });
        }
        cast
    }

    fn person(&self, who: Who) -> &Person<'a> {
        &self.people[who as usize]
    }

    /// Does one step of a history, and returns the answer if it is a request.
    async fn act(&mut self, Event { action, answer, after }: &Event) -> Option<Reply> {
        let reply = match *action {
            Action::Send(Who::Sweep, _) => {
                self.stack.sweep().await;
                None
            }
            Action::Send(who, call) => {
                // A claim of an address lasts for ten seconds, and in the model for no time.
                self.stack.sql("DELETE FROM reserved_addresses WHERE expires_at < now() + interval '1 minute'").await;
                // A history takes less time than a step of an authenticator.
                self.stack.sql("UPDATE totp SET last_step = 0").await;
                let reply = self.send(who, call, after.next_random - 1).await;
                if let Some(answer) = answer {
                    self.receive(who, &reply, answer);
                }
                if let (Some("second_factor_required"), Some(token)) =
                    (answer.as_ref().and_then(|answer| answer.code), after.knowledge(who).second_steps.last())
                {
                    let options = reply.json()["passkey_options"].clone();
                    self.waiting.insert((who, *token), (reply.text_at("mfa_token"), options));
                }
                if let Call::RequestChange(_, _, to) = call {
                    self.assert_mailed(to, after).await;
                }
                Some(reply)
            }
            Action::CopyAccessToken(session) => {
                let of_others = [Who::Ada, Who::Bob].into_iter().find_map(|who| self.access.get(&(who, session)));
                let copied = of_others.expect("somebody has the token").clone();
                self.access.insert((Who::Eve, session), copied);
                None
            }
            Action::Pass(time) => {
                self.pass(time).await;
                None
            }
            // The thief sends the token that the owner has, which is already in `refresh`.
            Action::CopyRefreshToken(_) | Action::Run(..) => None,
        };
        for mail in &after.mails {
            if !self.links.contains_key(&(mail.kind, mail.link)) {
                let reader = self.person(mail.to.reader()).with_email(&self.addresses[&mail.to]);
                let subject = if self.passkeys.contains_key(&mail.link) { PASSKEY_ADDED } else { subject(mail.kind) };
                let token = reader.newest_mail(subject).await.token();
                self.links.insert((mail.kind, mail.link), token);
            }
        }
        reply
    }

    /// Asserts that an address got as many mails about a change as in the model: none if it is taken or reserved.
    async fn assert_mailed(&self, to: Address, after: &World) {
        let is_meant = |mail: &&Mail| (mail.kind, mail.to) == (LinkKind::ChangeAddress, to);
        let expected = after.mails.iter().filter(is_meant).count();
        let count = async || {
            let mails = mailbox::mails_to(&self.addresses[&to]).await;
            mails.iter().filter(|mail| mail.subject == EMAIL_CHANGE).count()
        };
        // On a busy machine, the function may answer before the mail has arrived.
        tests::wait_until("the mails have arrived", async || count().await >= expected).await;
        assert_eq!(count().await, expected, "mails to {to:?}");
    }

    /// Sends a request. `request` is its random value in the model.
    async fn send(&mut self, who: Who, call: Call, request: Random) -> Reply {
        match call {
            Call::AddApp(session, _) => return self.add_app(who, session).await,
            Call::AddPasskey(session, _) => return self.add_passkey(who, session, request).await,
            Call::SecondFactor(token, Some(passkey)) => return self.show_passkey(who, token, passkey).await,
            Call::SignInWithPasskey(passkey) => {
                let person = &self.people[who as usize];
                let (_, device) = self.passkeys.get_mut(&passkey).expect("a passkey of the person");
                return person.signs_in_with_passkey(device).await;
            }
            _ => {}
        }
        let person = self.person(who);
        let access = |session: SessionId| &self.access[&(who, session)];
        let link = |kind: LinkKind, link: Link| &self.links[&(kind, link)];
        let at = |address: Address| person.with_email(&self.addresses[&address]);
        match call {
            Call::SignUp(address, secret) => at(address).with_password(&password(secret)).signs_up().await,
            Call::SignIn(address, secret) => at(address).with_password(&password(secret)).tries_to_sign_in().await,
            Call::Refresh(session, token) => person.refreshes(&self.refresh[&(session, token)]).await,
            Call::LogOut(session) => person.logs_out(access(session)).await,
            Call::EndOthers(session, _) => person.ends_other_sessions(access(session)).await,
            Call::Reauthenticate(session, secret) => {
                person.with_password(&password(secret)).reauthenticates(access(session)).await
            }
            Call::ChangePassword(session, current, new) => {
                person.with_password(&password(current)).changes_password(access(session), &password(new)).await
            }
            Call::ForgotPassword(address) => at(address).forgets_password().await,
            Call::ResetPassword(token, new) => {
                person.resets_password(link(LinkKind::Reset, token), &password(new)).await
            }
            Call::DeleteAccount(session, _) => person.deletes_account(access(session)).await,
            Call::KeepAccount(token) => person.keeps_account(link(LinkKind::Keep, token)).await,
            Call::VerifyAddress(token, secret) => {
                person.with_password(&password(secret)).verifies_by_link(link(LinkKind::Verify, token)).await
            }
            Call::RequestChange(session, _, to) => {
                person.requests_email_change(access(session), &self.addresses[&to]).await
            }
            Call::ChangeAddress(token, secret) => {
                person.with_password(&password(secret)).changes_email(link(LinkKind::ChangeAddress, token)).await
            }
            Call::UndoChange(token) => person.undoes_email_change(link(LinkKind::UndoChange, token)).await,
            Call::SecondFactor(token, _) => {
                let code = self.apps.get(&who).map_or_else(|| "000000".to_owned(), Authenticator::code);
                person.shows_factor(&self.waiting[&(who, token)].0, &json!({ "totp": code })).await
            }
            Call::RemoveApp(session, _) => person.removes_totp(access(session)).await,
            Call::RemovePasskey(session, _, passkey) => {
                person.removes_passkey(access(session), &self.passkeys[&passkey].0).await
            }
            Call::UndoFactor(token) => person.undoes_factor(link(LinkKind::UndoFactor, token)).await,
            Call::AddApp(..) | Call::AddPasskey(..) | Call::SignInWithPasskey(_) => panic!("{call:?} is sent above"),
            Call::Settle(..) | Call::Erase(..) => panic!("{call:?} is not a request of a person"),
        }
    }

    /// A person enrols an authenticator and confirms it.
    async fn add_app(&mut self, who: Who, session: SessionId) -> Reply {
        let (person, access) = (self.person(who), &self.access[&(who, session)]);
        let enrolled = person.enrols_totp(access).await;
        if enrolled.status != 201 {
            return enrolled;
        }
        let app = Authenticator::of(&enrolled);
        let reply = person.confirms_totp(access, &app.code()).await;
        if reply.status == 200 {
            self.apps.insert(who, app);
        }
        reply
    }

    /// A person creates a passkey on a new device and adds it.
    async fn add_passkey(&mut self, who: Who, session: SessionId, request: Random) -> Reply {
        let (person, access) = (self.person(who), &self.access[&(who, session)]);
        let options = person.begins_passkey(access).await;
        if options.status != 200 {
            return options;
        }
        let mut device = Device::new();
        let created = device.creates(&options.json()).await;
        let reply = person.adds_created_passkey(access, "Phone", &created).await;
        if reply.status == 201 {
            self.passkeys.insert(request, (reply.text_at("id"), device));
        }
        reply
    }

    /// A person completes a sign-in with a passkey.
    async fn show_passkey(&mut self, who: Who, token: Link, passkey: FactorId) -> Reply {
        let (person, (mfa_token, options)) = (&self.people[who as usize], &self.waiting[&(who, token)]);
        let (_, device) = self.passkeys.get_mut(&passkey).expect("a passkey of the person");
        let assertion = device.signs(options).await;
        person.shows_factor(mfa_token, &json!({ "passkey": assertion })).await
    }

    /// Keeps the tokens of an answer. A repeated refresh token must have the same `jti`. Its `iat` may differ, because [`Self::pass`] changes it.
    fn receive(&mut self, who: Who, reply: &Reply, answer: &Answer) {
        let Some(expected) = answer.tokens.filter(|_| reply.status == 200) else { return };
        let Tokens { access, refresh } = Tokens::from(reply);
        self.access.insert((who, expected.session), access);
        let name = (expected.session, expected.refresh.expect("every answer with tokens has a refresh token"));
        let known = self.refresh.entry(name).or_insert_with(|| refresh.clone());
        assert_eq!(claims(known)["jti"], claims(&refresh)["jti"], "the model expects the refresh token {name:?} again");
    }

    /// Lets time pass: changes what is stored, and signs the access tokens again as if they were older.
    async fn pass(&mut self, time: Passing) {
        let (stack, sessions) = (self.stack, self.stack.sessions());
        sessions.move_refresh_back(11).await;
        if time >= Passing::Minutes {
            sessions.move_auth_time_back(601).await;
            for token in self.access.values_mut() {
                *token = ten_minutes_older(token);
            }
        }
        if time >= Passing::Day {
            for table in ["password_resets", "email_verifications", "email_changes"] {
                stack.sql(&format!("UPDATE {table} SET expires_at = now()")).await;
            }
        }
        if time == Passing::Week {
            sessions.end_in(-1).await;
            stack.sql("UPDATE email_undos SET expires_at = now()").await;
            stack.sql("UPDATE reserved_addresses SET expires_at = now()").await;
            stack.sql("UPDATE account_deletions SET erase_at = now()").await;
        }
    }

    /// Asserts that the dashboard and the authorizer accept exactly the sessions that the model accepts, with one access token of each session.
    async fn assert_accepted(&self, protocol: &Protocol, Event { after, .. }: &Event, story: &str) {
        let one_of_each: BTreeMap<_, _> =
            self.access.iter().map(|((who, session), token)| (session, (who, token))).collect();
        for (session, (who, token)) in one_of_each {
            let expected = promises::is_accepted(protocol, after, *session);
            let dashboard = self.person(*who).dashboard(token).await;
            let authorizer = get_example(self.stack, token).await;
            let accepted = (dashboard.status == 200, authorizer.status == 200);
            assert_eq!(accepted, (expected, expected), "session {session}, dashboard and authorizer, after {story}");
        }
    }
}

/// A password that the model names.
fn password(password: Password) -> String {
    format!("the password {password:?}")
}

/// The subject of a mail with this link.
fn subject(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Reset => RESET,
        LinkKind::Verify => "Verify your email address",
        LinkKind::ChangeAddress => EMAIL_CHANGE,
        LinkKind::UndoChange => EMAIL_CHANGED,
        LinkKind::Keep => "Your account will be erased",
        LinkKind::UndoFactor => TOTP_ADDED,
    }
}

/// The same token, with an `auth_time` more than ten minutes earlier.
fn ten_minutes_older(token: &str) -> String {
    let (header, mut claims) = (jsonwebtoken::decode_header(token).unwrap(), claims(token));
    claims["auth_time"] = (claims["auth_time"].as_i64().unwrap() - 601).into();
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

// Requirements 3, 4, 5, 6, 53, 56.
#[rstest]
#[tokio::test]
async fn histories_of_the_model_get_the_answers_that_the_model_expects(#[values(PostgreSql, DynamoDb)] store: Store) {
    send_chosen_histories(store, scenarios::everything(), HISTORIES).await;
}

// Requirement 56.
#[rstest]
#[tokio::test]
async fn histories_of_a_due_deletion_get_the_answers_that_the_model_expects(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    send_chosen_histories(store, scenarios::a_due_deletion(), HISTORIES_OF_A_DELETION).await;
}

// Requirements 64, 65, 72, 73, 77, 78.
#[rstest]
#[tokio::test]
async fn histories_with_second_factors_get_the_answers_that_the_model_expects(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    send_chosen_histories(store, scenarios::everything_about_factors(), HISTORIES_OF_FACTORS).await;
}

// Requirement 53.
#[rstest]
#[tokio::test]
async fn a_reserved_address_gets_no_mail_about_a_change(#[values(PostgreSql, DynamoDb)] store: Store) {
    // The accounts and sessions of Ada and Bob have the random values 0 to 3.
    let (of_ada, of_bob, link) = (1, 3, 4);
    let requests = [
        (Who::Ada, Call::RequestChange(of_ada, true, Address::AdaNew)),
        (Who::Ada, Call::ChangeAddress(link, Password::First(Who::Ada))),
        (Who::Bob, Call::RequestChange(of_bob, true, Address::Ada)),
    ];
    send_histories(store, scenarios::everything(), |protocol| vec![walks::of_requests(protocol, &requests)]).await;
}

// Requirements 77, 78.
#[rstest]
#[tokio::test]
async fn the_link_of_the_notice_also_removes_a_passkey_that_was_added_later(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    // The accounts and sessions of Ada and Bob have the random values 0 to 3.
    let (session, first, second) = (4, 5, 6);
    let requests = [
        (Who::Eve, Call::SignIn(Address::Ada, Password::First(Who::Ada))),
        (Who::Eve, Call::AddPasskey(session, true)),
        (Who::Eve, Call::AddPasskey(session, true)),
        (Who::Ada, Call::UndoFactor(first)),
        (Who::Eve, Call::SignInWithPasskey(second)),
    ];
    send_histories(store, scenarios::everything_about_factors(), |protocol| {
        vec![walks::of_requests(protocol, &requests)]
    })
    .await;
}

async fn send_chosen_histories(sessions_in: Store, scenario: Scenario, count: usize) {
    send_histories(sessions_in, scenario, |protocol| walks::chosen(protocol, count, STEPS)).await;
}

/// Sends histories to the real functions, and compares each answer and the sessions that are accepted after it with the model.
async fn send_histories(sessions_in: Store, scenario: Scenario, histories: impl FnOnce(&Protocol) -> Vec<Vec<Event>>) {
    let builder = Stack::builder().state_in(sessions_in).with_verification();
    let stack = builder.with("FORGOT_PASSWORD_FLOOR_MS", "0").with("MAILS_PER_HOUR", "65535").start().await;
    let model_store = if sessions_in == PostgreSql { ModelStore::PostgreSql } else { ModelStore::DynamoDb };
    let protocol = scenario.with(model_store, None);
    for (number, history) in (0..).zip(histories(&protocol)) {
        let mut cast = Cast::of(&stack, number, &protocol).await;
        let mut steps = vec![format!("history {number}")];
        for event in history {
            steps.push(format!("{:?}", event.action));
            let story = steps.join("\n");
            let reply = cast.act(&event).await;
            if let (Some(reply), Some(answer)) = (reply, &event.answer) {
                let code = answer.code.and_then(|_| reply.json()["code"].as_str().map(str::to_owned));
                let expected = (answer.status, answer.code.map(str::to_owned));
                assert_eq!((reply.status, code), expected, "{} after {story}", reply.text);
            }
            cast.assert_accepted(&protocol, &event, &story).await;
        }
    }
}
