//! What can happen next, and what can fail.

use stateright::{Model, Property};

use crate::{
    defects::Defect,
    endpoints::{self, Answer, Call, Operation, Outcome, Request},
    people, promises,
    scenarios::Scenario,
    world::{AccountId, Passing, RefreshId, Session, SessionId, Who, World},
};

/// The protocol in one situation.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// Where the sessions are.
    pub store: Store,
    /// The situation.
    pub scenario: Scenario,
    /// A planted defect.
    pub defect: Option<Defect>,
}

/// Where the sessions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Store {
    /// In PostgreSQL, beside the accounts.
    PostgreSql,
    /// In DynamoDB.
    DynamoDb,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A person, or `sweep`, sends a request.
    Send(Who, Call),
    /// The next operation of the request at this place runs.
    Run(usize, How),
    /// The thief copies the newest refresh token of a session.
    CopyRefreshToken(SessionId),
    /// The thief copies the newest access token of a session.
    CopyAccessToken(SessionId),
    /// Time passes.
    Pass(Passing),
}

/// How an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// It runs, and the function receives its answer.
    Normally,
    /// Of two calls that are sent at the same time, the second one runs first.
    SecondCallFirst,
    /// It takes effect, and then the function stops. So the client gets no answer, or 503.
    ThenStop,
    /// It takes effect, but its answer is lost. The service sends it again.
    AnswerLost,
    /// The function stops. The operation is still on its way to the store, and may take effect later, or never.
    Later,
}

/// What a step did, for the story.
#[derive(Debug, Clone)]
pub struct Step {
    /// The request that ran.
    pub request: Option<Request>,
    /// Its answer.
    pub answer: Option<Answer>,
}

impl Protocol {
    /// Whether this defect is planted.
    #[must_use]
    pub fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether a refresh token is the parent of the current one and still within the grace.
    #[must_use]
    pub fn may_repeat(&self, session: &Session, token: RefreshId) -> bool {
        session.parent == Some(token) && session.in_grace && !self.has(Defect::RetryIsTheft)
    }

    /// Whether a live session of the account was opened from this network.
    #[must_use]
    pub fn is_signed_in_from(&self, world: &World, account: AccountId, source: Who) -> bool {
        let is_from = |session: &Session| (session.account, session.source) == (account, source);
        match self.store {
            Store::PostgreSql => {
                world.postgres.sessions.iter().any(|row| is_from(row) && world.postgres.live(row.id).is_some())
            }
            Store::DynamoDb => {
                world.table.sessions.iter().any(|item| is_from(item) && world.table.find(item.id).is_some())
            }
        }
    }

    /// Does what happens next, and returns what it did.
    #[must_use]
    pub fn apply(&self, world: &mut World, action: Action) -> Step {
        match action {
            Action::Send(by, call) => {
                world.left.requests[by as usize] -= 1;
                people::learn(world, by, call);
                let random = world.next_random;
                world.next_random += 1;
                let request = Request { random, by, call, next: Operation::First, is_late: false, is_repeated: false };
                world.requests.push(request.clone());
                Step { request: Some(request), answer: None }
            }
            Action::Run(place, how) => self.run(world, place, how),
            Action::CopyRefreshToken(session) => people::copy(world, session, true),
            Action::CopyAccessToken(session) => people::copy(world, session, false),
            Action::Pass(time) => {
                world.left.time.retain(|left| *left != time);
                world.pass(time);
                Step { request: None, answer: None }
            }
        }
    }

    fn run(&self, world: &mut World, place: usize, how: How) -> Step {
        let mut request = world.requests.remove(place);
        let done = |request, answer| Step { request: Some(request), answer };
        if !matches!(how, How::Normally | How::SecondCallFirst) {
            world.left.faults -= 1;
        }
        if how == How::Later {
            world.requests.insert(place, Request { is_late: true, ..request.clone() });
            return done(request, None);
        }
        let outcome = endpoints::run(self, world, &request, how == How::SecondCallFirst);
        let before = request.clone();
        if request.is_late || how == How::ThenStop {
            return done(before, None);
        }
        if how == How::AnswerLost {
            request.is_repeated = true;
            world.requests.insert(place, request);
            return done(before, None);
        }
        match outcome {
            Outcome::Next(next) => {
                (request.next, request.is_repeated) = (next, false);
                world.requests.insert(place, request);
                done(before, None)
            }
            Outcome::Answer(answer) => {
                people::receive(world, &request, &answer);
                done(before, Some(answer))
            }
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.scenario.begin(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        // A request uses the time at which it arrived, or at which its statement began.
        if world.requests.is_empty() {
            actions.extend(world.left.time.iter().map(|time| Action::Pass(*time)));
        }
        if world.left.thefts > 0 {
            people::thefts(world, actions);
        }
        for (place, Request { next, call, is_repeated, is_late, .. }) in world.requests.iter().enumerate() {
            if !is_late && world.left.faults > 0 && next.writes(*call) {
                if !is_repeated && next.may_run_twice(*call) {
                    actions.push(Action::Run(place, How::AnswerLost));
                }
                actions.extend([How::Later, How::ThenStop].map(|how| Action::Run(place, how)));
            }
            if !is_late && matches!(next, Operation::PutAndQuery(_)) {
                actions.push(Action::Run(place, How::SecondCallFirst));
            }
            actions.push(Action::Run(place, How::Normally));
        }
        let under_way = world.requests.iter().filter(|request| !request.is_late).count();
        if under_way < self.scenario.at_the_same_time {
            people::requests(self, world, actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        let _ = self.apply(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all()
    }
}
