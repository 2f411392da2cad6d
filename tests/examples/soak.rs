//! Mixed traffic with a fault every few seconds, and what must hold all the same. Traffic, faults and the store follow from a seed; when
//! exactly each happens does not. `cargo xtask soak` runs this, and `cargo xtask test soak` a minute of it.
#![expect(clippy::print_stdout, reason = "it says what it found")]

use std::{
    cell::RefCell,
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tests::{
    Health, Ses, SesHealth, Stack, Store,
    traffic::{Dice, Traffic},
};
use tokio::{join, time::sleep};
use uuid::Uuid;

/// People at once, each with a process of every function, as Lambda would have it.
const PEOPLE: usize = 6;
/// How long they think at most.
const PAUSE: Duration = Duration::from_millis(150);

/// What goes wrong below the functions.
#[derive(Debug, Clone, Copy)]
enum Fault {
    ConnectionsCut,
    NoConnections,
    ReadOnly,
    TableLocked,
    RowsLocked,
    ProcessFrozen,
    ProcessesKilled,
    Mail(SesHealth),
    State(Health),
}
use Fault::{
    ConnectionsCut, Mail, NoConnections, ProcessFrozen, ProcessesKilled, ReadOnly, RowsLocked, State, TableLocked,
};

/// One after the other.
const BELOW: [Fault; 7] =
    [ConnectionsCut, NoConnections, ReadOnly, TableLocked, RowsLocked, ProcessFrozen, ProcessesKilled];
/// The same, while those go on.
const BESIDE: [Fault; 5] = [
    Mail(SesHealth::Throttled),
    Mail(SesHealth::Paused),
    Mail(SesHealth::Hanging),
    State(Health::Throttled),
    State(Health::Hanging),
];

const TABLES: [&str; 5] = ["users", "sessions", "password_resets", "throttle", "outbox"];
const FUNCTIONS: [&str; 8] =
    ["signup", "signin", "dashboard", "refresh", "logout", "forgot-password", "reset-password", "sweep"];

const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_database()";

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let seconds = arguments.next().unwrap_or(600);
    let seed = arguments.next().unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0 >> 32);
    let mut dice = Dice::new(seed);
    let store = dice.one_of(&[Store::PostgreSql, Store::DynamoDb]);
    println!("seed {seed}: {seconds} s, {PEOPLE} people at once, state in {store:?}");

    let ses = Ses::new().await;
    let stack = Stack::builder().state_in(store).with("AWS_ENDPOINT_URL_SES", &ses.endpoint).processes(PEOPLE);
    let stack = stack.start().await;
    let traffic = Traffic::new(&stack, &ses, seed, PAUSE);
    let weather = Weather { stack: &stack, ses: &ses, counts: RefCell::default() };
    let until = Instant::now() + Duration::from_secs(seconds);
    let [below, beside, sweeps] = [(); 3].map(|()| Dice::new(dice.roll(usize::MAX) as u64));
    let (lives, ..) = join!(
        traffic.flows(PEOPLE, until),
        weather.rages(&BELOW, Duration::from_secs(3), below, until),
        weather.rages(&BESIDE, Duration::from_secs(9), beside, until),
        weather.sweeps(sweeps, until),
        async {
            while Instant::now() < until {
                sleep(Duration::from_secs(10)).await;
                println!("{}", traffic.record.progress());
            }
        },
    );
    println!("\n{}\n| fault | times |\n| --- | --- |", traffic.record);
    for (fault, times) in weather.counts.take() {
        println!("| {fault} | {times} |");
    }
    println!("\nCalm: {} people try everything there is to try", lives.len());
    let books = traffic.balance(lives, false).await;
    let (broken, defects) = (traffic.record.broken(), traffic.record.count(Some(500)));
    println!("\n{books}\nseed {seed}: {defects} answers 500, {} broken invariants", broken.len());
    for broken in &broken {
        println!("- {broken}");
    }
    ExitCode::from(u8::from(!broken.is_empty()))
}

/// What makes faults.
struct Weather<'a> {
    stack: &'a Stack,
    ses: &'a Ses,
    counts: RefCell<BTreeMap<String, usize>>,
}

impl Weather<'_> {
    async fn rages(&self, faults: &[Fault], pause: Duration, mut dice: Dice, until: Instant) {
        loop {
            sleep(dice.between(pause / 4, pause)).await;
            if Instant::now() > until {
                return;
            }
            let fault = dice.one_of(faults);
            self.counts(format!("{fault:?}"));
            self.strikes(fault, &mut dice).await;
        }
    }

    fn counts(&self, what: String) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    /// A fault begins, stays for a while, and is over.
    async fn strikes(&self, fault: Fault, dice: &mut Dice) {
        let (stack, name) = (self.stack, self.stack.database.name());
        let a_while = dice.between(Duration::from_millis(200), Duration::from_secs(4));
        let (table, function, which) = (dice.one_of(&TABLES), dice.one_of(&FUNCTIONS), dice.roll(PEOPLE));
        match fault {
            ConnectionsCut => stack.sql(CUT).await,
            NoConnections => {
                stack.sql(&format!("ALTER ROLE {name} CONNECTION LIMIT 0")).await;
                stack.sql(CUT).await;
                sleep(a_while).await;
                stack.sql(&format!("ALTER ROLE {name} CONNECTION LIMIT -1")).await;
            }
            // As after a failover: connections lead to what may only be read.
            ReadOnly => {
                stack.sql(&format!("ALTER ROLE {name} SET default_transaction_read_only = on")).await;
                stack.sql(CUT).await;
                sleep(a_while).await;
                stack.sql(&format!("ALTER ROLE {name} RESET default_transaction_read_only")).await;
            }
            TableLocked => self.locked(&format!("LOCK TABLE {table}"), a_while).await,
            RowsLocked => self.locked(&format!("SELECT FROM {table} FOR UPDATE"), a_while).await,
            ProcessFrozen => {
                let processes = stack.processes(function);
                if let Some(process) = processes.get(which % processes.len().max(1)) {
                    let process = Pid::from_raw(process.cast_signed());
                    // It may have ended by itself.
                    _ = kill(process, Signal::SIGSTOP);
                    sleep(a_while / 3).await;
                    _ = kill(process, Signal::SIGCONT);
                }
            }
            ProcessesKilled => {
                for _ in 0..20 {
                    stack.kill_one(dice.one_of(&FUNCTIONS), dice.roll(PEOPLE));
                    sleep(a_while / 20).await;
                }
            }
            Mail(health) => {
                self.ses.is(health);
                sleep(a_while).await;
                self.ses.is(SesHealth::Well);
            }
            State(health) => {
                let Some(table) = &stack.state_table else { return };
                table.is(health);
                sleep(a_while).await;
                table.is(Health::Well);
            }
        }
    }

    async fn locked(&self, lock: &str, a_while: Duration) {
        let mut holder = self.stack.database.connect().await;
        let transaction = holder.transaction().await.expect("a transaction");
        // Of two that wait for each other, PostgreSQL refuses one: perhaps this.
        if transaction.batch_execute(lock).await.is_ok() {
            sleep(a_while).await;
        }
        transaction.rollback().await.expect("the lock ends");
    }

    /// Sweeps every few seconds, now and then twice at once.
    async fn sweeps(&self, mut dice: Dice, until: Instant) {
        while Instant::now() < until {
            sleep(dice.between(Duration::from_secs(1), Duration::from_secs(5))).await;
            let sweep = async || {
                let swept = self.stack.invoke("sweep", &json!({})).await;
                self.counts(if swept.is_ok() { "(swept)".to_owned() } else { "(a sweep failed)".to_owned() });
            };
            if dice.roll(3) == 0 {
                join!(sweep(), sweep());
            } else {
                sweep().await;
            }
        }
    }
}
