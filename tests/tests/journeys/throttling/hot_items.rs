//! How many attempts a second can use the same item of DynamoDB. According to AWS, one item takes 1,000 write units and 3,000 read units a second,
//! and no setting changes this. A simulation sends the requests that real functions have sent, at growing rates, to items with these limits.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use shared::{domain::CounterKey, security::policy};
use tests::{DynamoDbRequest, Person, Stack, Store::DynamoDb, traffic::SeededRng};

use super::fail_to_sign_in;

const WRITES_OF_ITEM: f64 = 1_000.0;
const READS_OF_ITEM: f64 = 3_000.0;
/// The duration of each simulation.
const SECONDS: f64 = 40.0;

/// What one attempt costs at each partition key: write units and read units.
type Attempt = BTreeMap<String, [f64; 2]>;

/// The units of these requests at each partition key. DynamoDB Local counts nothing for an item that does not exist, but DynamoDB counts a unit.
fn units(requests: &[DynamoDbRequest]) -> Attempt {
    let mut attempt = Attempt::new();
    for request in requests {
        let units = match request.operation.as_str() {
            "BatchGetItem" | "GetItem" => [0.0, 1.0],
            "Query" => [0.0, request.units.max(1.0)],
            _ => [1.0, 0.0],
        };
        for partition in request.partitions() {
            let sum = attempt.entry(partition.to_owned()).or_default();
            *sum = [sum[0] + units[0], sum[1] + units[1]];
        }
    }
    attempt
}

/// The partition keys of the items in which failures of a source are counted. Each attempt begins with one of them at random.
fn items_of_source(source: &str) -> Vec<String> {
    let counter = CounterKey::of(&["signin", "source", source]);
    (0..policy::ITEMS_OF_SOURCE).map(|number| format!("c#{}", hex::encode(counter.item(number).as_bytes()))).collect()
}

/// Simulates attempts at random times, at this average rate, and returns how many of them an item refused. Each needs the units of the recorded
/// attempt, but begins with a random item of the source.
fn refused(attempt: &Attempt, items_of_source: &[String], rate: f64) -> usize {
    let mut rng = SeededRng::new(1);
    let (mut refused, mut now) = (0, 0.0);
    // The units that each item still has. They grow with time, up to those of one second.
    let mut left: BTreeMap<&str, _> =
        attempt.keys().map(|key| (key.as_str(), [WRITES_OF_ITEM, READS_OF_ITEM])).collect();
    while now < SECONDS {
        #[expect(clippy::cast_precision_loss, reason = "the number is below a million")]
        let share = (1 + rng.below(999_999)) as f64 / 1_000_000.0;
        let pause = -share.ln() / rate;
        now += pause;
        let (mut is_refused, places) = (false, rng.below(policy::ITEMS_OF_SOURCE.into()));
        for (key, needed) in attempt {
            let place = items_of_source.iter().position(|item| item == key);
            let key = place.map_or(key, |place| &items_of_source[(place + places) % items_of_source.len()]);
            let Some([writes, reads]) = left.get_mut(key.as_str()) else { continue };
            *writes = (*writes + WRITES_OF_ITEM * pause).min(WRITES_OF_ITEM) - needed[0];
            *reads = (*reads + READS_OF_ITEM * pause).min(READS_OF_ITEM) - needed[1];
            if *writes < 0.0 || *reads < 0.0 {
                (*writes, *reads) = (*writes + needed[0], *reads + needed[1]);
                is_refused = true;
            }
        }
        refused += usize::from(is_refused);
    }
    refused
}

/// The stack that records the attempts, and a row of results for each kind of attempt.
struct Recorder<'a> {
    stack: &'a Stack,
    rows: Vec<String>,
}

impl Recorder<'_> {
    /// Lets each person try to sign in once, and expects this status. Asserts that the simulated items serve the documented number of such attempts a
    /// second, with a tolerance of a tenth (`docs/scaling.md`).
    async fn assert_served(&mut self, what: &str, people: &[Person<'_>], status: u16, documented: f64) {
        let table = self.stack.state_table.as_ref().unwrap();
        let (mut attempts, items_of_source) = (Vec::new(), items_of_source(&people[0].source));
        for person in people {
            let before = table.requests().len();
            let reply = person.tries_to_sign_in().await;
            assert_eq!(reply.status, status, "{what}: {}", reply.text);
            attempts.push(units(&table.requests()[before..]));
        }
        let keys = attempts.iter().map(|attempt| attempt.keys().collect::<BTreeSet<_>>());
        let shared = keys.reduce(|all, keys| all.intersection(&keys).copied().collect()).unwrap();
        let mut last = attempts.last().unwrap().clone();
        last.retain(|key, _| shared.contains(key));
        let rates = (0..100).map(|step| documented / 2.0 + f64::from(step) * 50.0);
        let served = rates.take_while(|rate| refused(&last, &items_of_source, *rate) == 0).last();
        let served = served.unwrap_or(0.0);
        self.rows.push(format!("| {what} | {:?} | {served} |", last.values().collect::<Vec<_>>()));
        assert!((documented * 0.9..=documented * 1.1).contains(&served), "{}", self.rows.join("\n"));
    }
}

#[tokio::test]
async fn one_item_serves_the_documented_number_of_attempts_a_second() {
    let stack = Stack::builder().state_in(DynamoDb).processes(4).start().await;
    let mut recorder = Recorder { stack: &stack, rows: Vec::new() };
    let [ada, bob, eve] = [stack.user("Ada").await, stack.user("Bob").await, stack.user("Eve").await];

    let people = [&ada, &bob, &eve].map(|person| person.from_source("192.0.2.1"));
    recorder.assert_served("successes of many users from one source", &people, 200, 2_000.0).await;

    let people = ["192.0.2.2", "192.0.2.3", "192.0.2.4"].map(|source| ada.from_source(source));
    recorder.assert_served("successes of one user from many sources", &people, 200, 500.0).await;

    let robot = ada.from_source("198.51.100.1");
    fail_to_sign_in(&robot, 5).await;
    recorder.assert_served("refusals of one source that has to wait for one account", &[robot], 429, 1_000.0).await;

    join_all((0..19).map(|n| {
        let robot = ada.from_source(&format!("198.51.100.{}", n + 2));
        async move { fail_to_sign_in(&robot, 5).await }
    }))
    .await;
    let people = ["192.0.2.5", "192.0.2.6", "192.0.2.7"].map(|source| ada.from_source(source));
    recorder
        .assert_served("refusals of an account with too many failures to many sources", &people, 429, 3_000.0)
        .await;

    stack.state_table.as_ref().unwrap().set_failures_of_source("192.0.2.1", 100).await;
    let people = [&bob, &eve].map(|person| person.from_source("192.0.2.1"));
    recorder.assert_served("refusals of one source with a hundred failures", &people, 429, 3_000.0).await;
    eprintln!("| attempts | units of the shared items: write, read | served a second |\n{}", recorder.rows.join("\n"));
}
