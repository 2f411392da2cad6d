//! Histories without failures: one request after the other. A test sends them to the real functions.

use std::collections::{BTreeMap, HashSet};

use stateright::Model as _;

use crate::{
    endpoints::{Answer, Call},
    protocol::{Action, How, Protocol},
    world::{Who, World},
};

/// What happened in a step of a history.
#[derive(Debug, Clone)]
pub struct Event {
    /// A request, a theft, or a time that passed.
    pub action: Action,
    /// The answer to the request.
    pub answer: Option<Answer>,
    /// The state after it.
    pub after: World,
}

/// How many random histories [`chosen`] chooses from.
const CANDIDATES: u64 = 3000;

/// Chooses `count` histories with at most this many steps. Each chosen one has the most pairs of steps that no earlier one has: one step and its
/// answer, and a later step and its answer. The same arguments always give the same histories.
#[must_use]
pub fn chosen(protocol: &Protocol, count: usize, length: usize) -> Vec<Vec<Event>> {
    let mut numbers = BTreeMap::new();
    let mut candidates: Vec<_> = (0..CANDIDATES)
        .map(|seed| random(protocol, seed, length))
        .map(|history| (pairs(&history, &mut numbers), history))
        .collect();
    let (mut seen, mut chosen) = (HashSet::new(), Vec::new());
    for _ in 0..count {
        let new = |(pairs, _): &(Vec<_>, _)| pairs.iter().filter(|pair| !seen.contains(*pair)).count();
        let Some(best) = (0..candidates.len()).max_by_key(|place| (new(&candidates[*place]), usize::MAX - place))
        else {
            break;
        };
        let (pairs, history) = candidates.swap_remove(best);
        seen.extend(pairs);
        chosen.push(history);
    }
    chosen
}

/// The pairs of steps of a history, each once. `numbers` numbers the steps, because numbers are faster to compare than texts.
fn pairs(history: &[Event], numbers: &mut BTreeMap<String, usize>) -> Vec<(usize, usize)> {
    let code = |event: &Event| event.answer.as_ref().map_or(0, |answer| answer.status);
    let mut number = |event: &Event| {
        let next = numbers.len();
        *numbers.entry(format!("{} {}", kind(&event.action), code(event))).or_insert(next)
    };
    let steps: Vec<_> = history.iter().map(&mut number).collect();
    let later =
        |(place, step): (usize, &usize)| steps[place + 1..].iter().map(|later| (*step, *later)).collect::<Vec<_>>();
    let mut pairs: Vec<_> = steps.iter().enumerate().flat_map(later).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// A random history with at most this many steps. Most of its requests succeed. It ends after an account was erased.
fn random(protocol: &Protocol, seed: u64, length: usize) -> Vec<Event> {
    let (mut random, mut world) = (SplitMix(seed), protocol.scenario.begin(protocol));
    let mut history = Vec::<Event>::new();
    let is_erasure = |event: &Event| matches!(event.action, Action::Send(_, Call::Erase(..)));
    // The last steps that the model can do may all be refused by `is_within_limits`.
    for _ in 0..10 * length {
        if history.len() >= length || history.last().is_some_and(is_erasure) {
            break;
        }
        let mut actions = Vec::new();
        protocol.actions(&world, &mut actions);
        // A request of each kind is as likely as any other, however many tokens and passwords its sender has.
        let mut of_kind = BTreeMap::<String, Vec<Action>>::new();
        for action in actions {
            of_kind.entry(kind(&action)).or_default().push(action);
        }
        let of_kind: Vec<_> = of_kind.into_values().collect();
        let Some(actions) = random.choose(&of_kind) else { break };
        let Some(action) = random.choose(actions).copied() else { break };
        let event = happen(protocol, world.clone(), action);
        let is_refused = event.answer.as_ref().is_some_and(|answer| answer.code.is_some());
        if is_within_limits(&history, &event) && (!is_refused || random.next().is_multiple_of(4)) {
            world = event.after.clone();
            history.push(event);
        }
    }
    history
}

/// The history of these requests, one after the other.
#[must_use]
pub fn of_requests(protocol: &Protocol, requests: &[(Who, Call)]) -> Vec<Event> {
    let mut world = protocol.scenario.begin(protocol);
    let mut history = Vec::new();
    for (who, call) in requests {
        let event = happen(protocol, world, Action::Send(*who, *call));
        world = event.after.clone();
        history.push(event);
    }
    history
}

/// Does an action. A request runs until it is answered.
fn happen(protocol: &Protocol, mut world: World, action: Action) -> Event {
    let _ = protocol.apply(&mut world, action);
    let mut answer = None;
    while !world.requests.is_empty() {
        answer = protocol.apply(&mut world, Action::Run(0, How::Normally)).answer;
    }
    Event { action, answer, after: world }
}

/// What distinguishes kinds of actions.
fn kind(action: &Action) -> String {
    let text = match action {
        Action::Send(who, call) => format!("{who:?} {call:?}"),
        other => format!("{other:?}"),
    };
    match action {
        Action::Pass(_) => text,
        _ => text.split('(').next().unwrap_or_default().to_owned(),
    }
}

/// Whether the answer to the last step cannot depend on a limit that the scenario does not have: on wrong passwords and codes, or on mails.
fn is_within_limits(history: &[Event], last: &Event) -> bool {
    let count = |is_meant: fn(&Event) -> bool| history.iter().chain([last]).filter(|event| is_meant(event)).count();
    let wrong = |event: &Event| event.answer.as_ref().is_some_and(|answer| answer.code == Some("invalid_credentials"));
    let wrong_code = |event: &Event| event.answer.as_ref().is_some_and(|answer| answer.code == Some("invalid_code"));
    count(wrong) <= 4
        && count(wrong_code) <= 4
        && count(|event| matches!(event.action, Action::Send(_, Call::ForgotPassword(_)))) <= 3
        && count(|event| matches!(event.action, Action::Send(_, Call::RequestChange(..)))) <= 3
}

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let place = self.next().checked_rem(u64::try_from(from.len()).ok()?)?;
        from.get(usize::try_from(place).ok()?)
    }
}
