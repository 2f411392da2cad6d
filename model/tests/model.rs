//! Explores the model: every promise holds in every state, and each planted defect breaks a promise. Compares `docs/protocol.md` with the results.
#![expect(clippy::print_stdout, reason = "the numbers of states and the histories are the results")]

use std::{collections::BTreeSet, fs, sync::Mutex, thread};

use model::{
    defects::Defect,
    promises,
    protocol::{
        Action, Protocol,
        Store::{self, DynamoDb, PostgreSql},
    },
    scenarios::{self, Scenario},
    story, walks,
    world::Who,
};
use stateright::{Checker as _, HasDiscoveries, Model as _};

/// Asserts that `docs/protocol.md` contains these lines one after the other.
fn assert_documented(lines: &[String]) {
    let text = lines.join("\n");
    println!("{text}\n");
    let document =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md")).expect("docs/protocol.md");
    assert!(document.contains(&format!("\n{text}\n")), "docs/protocol.md does not contain:\n{text}");
}

/// The steps of a history as a numbered list.
fn numbered(history: &[String]) -> Vec<String> {
    (1..).zip(history).map(|(number, step)| format!("{number}. {step}")).collect()
}

/// The numbers of states of a scenario.
struct Explored {
    scenario: &'static str,
    store: Store,
    states: usize,
    unique: usize,
    depth: usize,
}

/// Visits every state. Asserts that every promise holds in each of them.
fn explore(protocol: &Protocol) -> Explored {
    let checker = protocol.clone().checker().threads(1).spawn_bfs().join();
    let (scenario, store) = (protocol.scenario.name, protocol.store);
    for (broken, path) in checker.discoveries() {
        let history = numbered(&story::tell(protocol, path)).join("\n");
        assert_eq!(broken, promises::LIMIT_OF_GRACE, "{scenario}, {store:?}:\n{history}");
    }
    assert!(checker.is_done());
    let (states, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
    Explored { scenario, store, states, unique, depth }
}

// Requirement 78.
#[test]
fn every_promise_holds_in_every_state() {
    let mut protocols = Vec::new();
    for scenario in scenarios::all() {
        protocols.extend([PostgreSql, DynamoDb].map(|store| scenario.clone().with(store, None)));
    }
    let (waiting, explored) = (Mutex::new((0..).zip(&protocols)), Mutex::new(Vec::new()));
    let next = || waiting.lock().expect("no panic").next();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((place, protocol)) = next() {
                    let result: (usize, Explored) = (place, explore(protocol));
                    explored.lock().expect("no panic").push(result);
                }
            });
        }
    });
    let mut explored = explored.into_inner().expect("no panic");
    explored.sort_by_key(|(place, _)| *place);
    let rows = explored.iter().map(|(_, Explored { scenario, store, states, unique, depth })| {
        let store = if *store == PostgreSql { "PostgreSQL" } else { "DynamoDB" };
        format!("| {scenario} | {store} | {states} | {unique} | {depth} |")
    });
    let sum = |of: fn(&Explored) -> usize| explored.iter().map(|(_, explored)| of(explored)).sum::<usize>();
    let all = format!("| all | | {} | {} | |", sum(|explored| explored.states), sum(|explored| explored.unique));
    assert_documented(&rows.chain([all]).collect::<Vec<_>>());
}

/// The shortest history that reaches a property, in words.
fn shortest_history(protocol: &Protocol, property: &'static str) -> Vec<String> {
    let until = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let up_to = |depth| {
        let checker = protocol.clone().checker().threads(1).target_max_depth(depth).finish_when(until.clone());
        checker.spawn_bfs().join().discovery(property)
    };
    let path = (1..30).find_map(up_to).unwrap_or_else(|| panic!("{:?} never reaches: {property}", protocol.defect));
    story::tell(protocol, path)
}

/// The scenario, with one request after the other. A function may still stop, and its last call may be late.
fn one_at_a_time(scenario: Scenario) -> Scenario {
    Scenario { at_the_same_time: 1, ..scenario }
}

/// Finds the shortest history in which a planted defect breaks a promise, and compares it with the document.
fn assert_breaks(defect: Defect, scenario: Scenario, store: Store, promise: &'static str) {
    let history = shortest_history(&scenario.with(store, Some(defect)), promise);
    let mut lines = vec![format!("The promise: {promise}."), String::new()];
    lines.extend(numbered(&history));
    assert_documented(&lines);
}

#[test]
fn an_ending_that_is_written_before_the_commit_locks_the_owner_out() {
    let scenario = one_at_a_time(scenarios::a_reset_and_a_change_of_the_password());
    assert_breaks(Defect::EndsBeforeCommit, scenario, DynamoDb, promises::NOBODY_LOCKED_OUT);
}

#[test]
fn a_retry_that_counts_as_theft_signs_the_owner_out() {
    let scenario = one_at_a_time(scenarios::refreshes_and_a_thief());
    assert_breaks(Defect::RetryIsTheft, scenario, PostgreSql, promises::RETRY_IS_SAFE);
}

#[test]
fn a_reset_link_that_outlives_a_change_of_the_password_serves_again() {
    let scenario = one_at_a_time(scenarios::a_reset_and_a_change_of_the_password());
    assert_breaks(Defect::ResetLinkIsUnbound, scenario, PostgreSql, promises::LINK_BOUND);
}

// Requirement 78.
#[test]
fn every_promise_is_broken_by_a_planted_defect() {
    let planted = [
        (Defect::UpdatesCreateItems, scenarios::refreshes_and_a_thief(), DynamoDb, promises::ENDED_IS_ENDED),
        (Defect::RetryIsTheft, scenarios::refreshes_and_a_thief(), DynamoDb, promises::RETRY_IS_SAFE),
        (Defect::OldTokensServe, scenarios::refreshes_and_a_thief(), PostgreSql, promises::THEFT_ENDS),
        (Defect::RotatesUnconditionally, scenarios::refreshes_and_a_thief(), DynamoDb, promises::ONE_SUCCESSOR),
        (Defect::LinkServesTwice, scenarios::a_reset_and_a_change_of_the_password(), PostgreSql, promises::LINK_ONCE),
        (Defect::ResetLinkIsUnbound, scenarios::a_reset_and_a_change_of_the_password(), DynamoDb, promises::LINK_BOUND),
        (
            Defect::ResetKeepsSessions,
            scenarios::an_account_that_a_stranger_created(),
            PostgreSql,
            promises::RESET_CLEANS,
        ),
        (
            Defect::FailuresCloseTheAccount,
            scenarios::a_stranger_who_knows_nothing(),
            PostgreSql,
            promises::NOBODY_LOCKED_OUT,
        ),
        (
            Defect::NothingIsOwed,
            scenarios::a_reset_and_a_change_of_the_password(),
            DynamoDb,
            promises::DIFFERENCE_IS_OWED,
        ),
        (Defect::NothingIsReserved, scenarios::a_change_of_the_address(), PostgreSql, promises::ADDRESS_IS_KEPT),
        (Defect::ErasesWithoutEnding, scenarios::a_deletion_without_delay(), DynamoDb, promises::KEPT_OR_ERASED),
        (Defect::SignInSkipsFactors, scenarios::second_factors(), PostgreSql, promises::FACTORS_SHOWN),
        (
            Defect::RemovalKeepsVersion,
            Scenario { requests: [3, 0, 0, 0], ..scenarios::passkeys() },
            PostgreSql,
            promises::REMOVED_IS_REMOVED,
        ),
        (
            Defect::UndoRemovesOneFactor,
            Scenario { requests: [1, 0, 4, 0], ..one_at_a_time(scenarios::passkeys()) },
            DynamoDb,
            promises::REMOVED_IS_REMOVED,
        ),
    ];
    let mut unbroken: BTreeSet<_> = promises::all().iter().map(|promise| promise.name).collect();
    unbroken.remove(promises::LIMIT_OF_GRACE);
    for (defect, scenario, store, promise) in planted {
        let history = shortest_history(&scenario.with(store, Some(defect)), promise);
        println!("{defect:?} breaks: {promise}.\n{}\n", numbered(&history).join("\n"));
        unbroken.remove(promise);
    }
    assert_eq!(unbroken, BTreeSet::new(), "no planted defect breaks these promises");
}

#[test]
fn a_late_request_with_an_older_token_ends_the_session() {
    let protocol = scenarios::refreshes_and_a_thief().with(PostgreSql, None);
    let history = shortest_history(&protocol, promises::LIMIT_OF_GRACE);
    assert_documented(&numbered(&history));
}

/// The histories that are sent to the real functions would prove little if a kind of request never succeeded in them.
#[test]
fn every_kind_of_request_succeeds_in_the_chosen_histories() {
    let kind = |call: &dyn std::fmt::Debug| format!("{call:?}").split('(').next().unwrap_or_default().to_owned();
    for (scenario, count, missing) in [
        // The addresses of the scenario are verified, so no link that verifies one is mailed.
        (scenarios::everything(), 24, BTreeSet::from(["VerifyAddress".to_owned()])),
        (scenarios::everything_about_factors(), 20, BTreeSet::new()),
        // Ada keeps her account too late in these histories, and in time in those of everything.
        (scenarios::a_due_deletion(), 3, BTreeSet::from(["KeepAccount".to_owned()])),
    ] {
        let kinds = [Who::Ada, Who::Bob, Who::Eve].map(|who| scenario.kinds(who).to_vec()).concat();
        let kinds: BTreeSet<_> = kinds.iter().map(|named| kind(named)).collect();
        let protocol = scenario.with(PostgreSql, None);
        let succeeded: BTreeSet<_> = walks::chosen(&protocol, count, 18)
            .iter()
            .flatten()
            .filter(|event| event.answer.as_ref().is_some_and(|answer| answer.code.is_none()))
            .filter_map(|event| match event.action {
                Action::Send(_, call) => Some(kind(&call)),
                _ => None,
            })
            .collect();
        assert_eq!(kinds.difference(&succeeded).cloned().collect::<BTreeSet<_>>(), missing);
    }
}
