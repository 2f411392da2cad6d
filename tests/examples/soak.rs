//! Sends random requests, and causes a fault every few seconds. Afterwards it checks that every change that an answer confirmed was stored.
//!
//! A seed determines the requests, the faults and the store of sessions and counters, but not their exact timing. `cargo xtask soak` runs this program, and
//! `cargo xtask test soak` runs it for a minute.
#![expect(clippy::print_stdout, reason = "the program prints its results")]

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
    DynamoDbHealth, Ses, SesHealth, Stack, Store,
    traffic::{SeededRng, Traffic},
};
use tokio::{join, time::sleep};
use uuid::Uuid;

/// The number of simulated users at a time. Each function has the same number of processes, because Lambda starts one for each concurrent
/// request.
const USERS: usize = 6;
/// The longest time a user waits between two requests.
const PAUSE: Duration = Duration::from_millis(150);

/// A fault in what the functions depend on.
#[derive(Debug, Clone, Copy)]
enum InjectedFault {
    ConnectionsClosed,
    NoConnections,
    ReadOnly,
    TableLocked,
    RowsLocked,
    ProcessFrozen,
    ProcessesKilled,
    Mail(SesHealth),
    StateTable(DynamoDbHealth),
}
use InjectedFault::{
    ConnectionsClosed, Mail, NoConnections, ProcessFrozen, ProcessesKilled, ReadOnly, RowsLocked, StateTable,
    TableLocked,
};

/// Faults of the database and of processes. One happens after the other.
const DATABASE_AND_PROCESS_FAULTS: [InjectedFault; 7] =
    [ConnectionsClosed, NoConnections, ReadOnly, TableLocked, RowsLocked, ProcessFrozen, ProcessesKilled];
/// Faults of SES and DynamoDB. One happens after the other, at the same time as the faults of the database and of processes.
const AWS_FAULTS: [InjectedFault; 7] = [
    Mail(SesHealth::Throttled),
    Mail(SesHealth::Paused),
    Mail(SesHealth::Hanging),
    StateTable(DynamoDbHealth::Throttled),
    StateTable(DynamoDbHealth::Unreachable),
    StateTable(DynamoDbHealth::Hanging),
    StateTable(DynamoDbHealth::Late),
];

const TABLES: [&str; 19] = [
    "users",
    "sessions",
    "password_resets",
    "session_endings",
    "throttle",
    "outbox",
    "email_verifications",
    "email_changes",
    "email_undos",
    "reserved_addresses",
    "account_deletions",
    "passkeys",
    "user_handles",
    "totp",
    "recovery_codes",
    "factor_undos",
    "factor_changes",
    "used_challenges",
    "mfa_tokens",
];
const FUNCTIONS: [&str; 16] = [
    "signup",
    "signin",
    "dashboard",
    "refresh",
    "logout",
    "forgot-password",
    "reset-password",
    "verify-email",
    "change-email",
    "account",
    "keep-account",
    "passkeys",
    "signin-passkey",
    "signin-second-factor",
    "undo-factor",
    "sweep",
];

const CLOSE_CONNECTIONS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_database()";

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let seconds = arguments.next().unwrap_or(600);
    let seed = arguments.next().unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0 >> 32);
    let mut rng = SeededRng::new(seed);
    let store = rng.choose(&[Store::PostgreSql, Store::DynamoDb]);
    println!("seed {seed}: {seconds} s, {USERS} users at once, sessions and counters in {store:?}");

    let ses = Ses::new().await;
    let stack = Stack::builder().state_in(store).with("AWS_ENDPOINT_URL_SES", &ses.endpoint).processes(USERS);
    let stack = stack.with_verification().start().await;
    let traffic = Traffic::new(&stack, &ses, seed, PAUSE);
    let faults = Faults { stack: &stack, ses: &ses, counts: RefCell::default() };
    let until = Instant::now() + Duration::from_secs(seconds);
    let [database_rng, aws_rng, sweep_rng] = [(); 3].map(|()| SeededRng::new(rng.below(usize::MAX) as u64));
    let (users, ..) = join!(
        traffic.run(USERS, until),
        faults.repeat(&DATABASE_AND_PROCESS_FAULTS, Duration::from_secs(3), database_rng, until),
        faults.repeat(&AWS_FAULTS, Duration::from_secs(9), aws_rng, until),
        faults.sweep_repeatedly(sweep_rng, until),
        async {
            while Instant::now() < until {
                sleep(Duration::from_secs(10)).await;
                println!("{}", traffic.answers.progress());
            }
        },
    );
    println!("\n{}\n| fault | times |\n| --- | --- |", traffic.answers);
    for (fault, times) in faults.counts.take() {
        println!("| {fault} | {times} |");
    }
    println!("\nAfter the faults: {} users try every session and password", users.len());
    let ledger = traffic.verify(users, false).await;
    let (violations, defects) = (traffic.answers.violations(), traffic.answers.count(Some(500)));
    println!("\n{ledger}\nseed {seed}: {defects} answers with status 500, {} violations", violations.len());
    for violation in &violations {
        println!("- {violation}");
    }
    ExitCode::from(u8::from(!violations.is_empty()))
}

/// Causes faults, and counts them.
struct Faults<'a> {
    stack: &'a Stack,
    ses: &'a Ses,
    counts: RefCell<BTreeMap<String, usize>>,
}

impl Faults<'_> {
    /// Causes randomly chosen faults, one after the other and with random pauses, until the given time.
    async fn repeat(&self, faults: &[InjectedFault], pause: Duration, mut rng: SeededRng, until: Instant) {
        loop {
            sleep(rng.duration_between(pause / 4, pause)).await;
            if Instant::now() > until {
                return;
            }
            let fault = rng.choose(faults);
            self.count(format!("{fault:?}"));
            self.cause(fault, &mut rng).await;
        }
    }

    fn count(&self, what: String) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    /// Starts a fault, and ends it after a random time.
    async fn cause(&self, fault: InjectedFault, rng: &mut SeededRng) {
        let (stack, name) = (self.stack, self.stack.database.name());
        let duration = rng.duration_between(Duration::from_millis(200), Duration::from_secs(4));
        let (table, function, which) = (rng.choose(&TABLES), rng.choose(&FUNCTIONS), rng.below(USERS));
        match fault {
            ConnectionsClosed => stack.sql(CLOSE_CONNECTIONS).await,
            NoConnections => {
                stack.limit_connections(0).await;
                stack.sql(CLOSE_CONNECTIONS).await;
                sleep(duration).await;
                stack.limit_connections(-1).await;
            }
            // As after a failover: new connections reach a server that is read-only.
            ReadOnly => {
                stack.sql(&format!("ALTER ROLE {name} SET default_transaction_read_only = on")).await;
                stack.sql(CLOSE_CONNECTIONS).await;
                sleep(duration).await;
                stack.sql(&format!("ALTER ROLE {name} RESET default_transaction_read_only")).await;
            }
            TableLocked => self.hold_lock(&format!("LOCK TABLE {table}"), duration).await,
            RowsLocked => self.hold_lock(&format!("SELECT FROM {table} FOR UPDATE"), duration).await,
            ProcessFrozen => {
                let processes = stack.processes(function);
                if let Some(process) = processes.get(which % processes.len().max(1)) {
                    let process = Pid::from_raw(process.cast_signed());
                    // The process may have ended meanwhile.
                    _ = kill(process, Signal::SIGSTOP);
                    sleep(duration / 3).await;
                    _ = kill(process, Signal::SIGCONT);
                }
            }
            ProcessesKilled => {
                for _ in 0..20 {
                    stack.kill_one(rng.choose(&FUNCTIONS), rng.below(USERS));
                    sleep(duration / 20).await;
                }
            }
            Mail(health) => {
                self.ses.set_health(health);
                sleep(duration).await;
                self.ses.set_health(SesHealth::Healthy);
            }
            StateTable(health) => {
                let Some(table) = &stack.state_table else { return };
                table.set_health(health);
                sleep(duration).await;
                table.set_health(DynamoDbHealth::Healthy);
            }
        }
    }

    async fn hold_lock(&self, lock: &str, duration: Duration) {
        let mut holder = self.stack.database.connect().await;
        let transaction = holder.transaction().await.expect("a transaction");
        // In a deadlock, PostgreSQL may abort this transaction.
        if transaction.batch_execute(lock).await.is_ok() {
            sleep(duration).await;
        }
        transaction.rollback().await.expect("the lock ends");
    }

    /// Invokes `sweep` every few seconds, sometimes twice at once.
    async fn sweep_repeatedly(&self, mut rng: SeededRng, until: Instant) {
        while Instant::now() < until {
            sleep(rng.duration_between(Duration::from_secs(1), Duration::from_secs(5))).await;
            let sweep = async || {
                let swept = self.stack.invoke("sweep", &json!({})).await;
                self.count(if swept.is_ok() { "(swept)".to_owned() } else { "(a sweep failed)".to_owned() });
            };
            if rng.below(3) == 0 {
                join!(sweep(), sweep());
            } else {
                sweep().await;
            }
        }
    }
}
