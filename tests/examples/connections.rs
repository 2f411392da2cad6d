//! Measures how much memory of PostgreSQL's server a connection needs after a function has run its statements. Works on Linux only.
//! `cargo xtask measure` runs this program. Results are in docs/measurements.md.
#![expect(clippy::print_stdout, reason = "the program prints its results")]

use std::fs;

use futures_util::future::join_all;
use tests::{Person, Stack};

/// The number of people who use the service at the same time, and of the processes of each function.
const PEOPLE: usize = 4;
/// In each round, new people send every kind of request. After this number of rounds, the memory of a connection does not grow any more.
const ROUNDS: usize = 20;

#[tokio::main]
async fn main() {
    let stack = Stack::builder().processes(PEOPLE).with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    println!("PostgreSQL {}\n", stack.sql_text("SELECT current_setting('server_version')").await);
    println!("| KiB of one connection | connections | minimum | median | maximum |\n| --- | --- | --- | --- | --- |");
    let unused = join_all((0..PEOPLE).map(|_| stack.database.connect())).await;
    print_row("that ran no statement", &memory(&stack, "''").await);
    drop(unused);
    for round in 0..ROUNDS {
        join_all((0..PEOPLE).map(|person| use_everything(&stack, round * PEOPLE + person))).await;
    }
    print_row("of a function", &memory(&stack, "'jwt-auth'").await);
}

/// Sends each kind of request once, as a new person with a new IP address.
async fn use_everything(stack: &Stack, number: usize) {
    const NEW: &str = "the new password";
    let person: Person = stack.stranger("Ada").from_source(&format!("192.0.2.{number}"));
    person.signs_up().await.assert_created();
    let tokens = person.signs_in().await;
    person.dashboard(&tokens.access).await;
    person.refreshes(&tokens.refresh).await;
    let token = person.receives_reset_mail(1).await.token();
    person.resets_password(&token, NEW).await;
    let tokens = person.with_password(NEW).signs_in().await;
    person.logs_out(&tokens.access).await;
    stack.sweep().await;
}

/// The memory in KiB of each server process whose connection has this application name: its private pages, and its page tables.
async fn memory(stack: &Stack, application: &str) -> Vec<u64> {
    let processes = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = {application} AND pid <> pg_backend_pid()"
    );
    let rows = stack.database.connect().await.query(&processes, &[]).await.expect("the server answers");
    let mut memory: Vec<u64> = rows
        .iter()
        .map(|row| {
            let process: i32 = row.get("pid");
            let lines = ["smaps_rollup", "status"].map(|file| {
                fs::read_to_string(format!("/proc/{process}/{file}"))
                    .expect("this program runs on Linux, as root or as the server's user")
            });
            ["Private_Clean:", "Private_Dirty:", "VmPTE:"].iter().map(|name| kibibytes(&lines.concat(), name)).sum()
        })
        .collect();
    memory.sort_unstable();
    memory
}

/// The value of a line such as `Private_Dirty:      1234 kB`.
fn kibibytes(lines: &str, name: &str) -> u64 {
    let value = lines.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel counts this");
    value.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn print_row(what: &str, memory: &[u64]) {
    let (count, median) = (memory.len(), memory[memory.len() / 2]);
    println!("| {what} | {count} | {} | {median} | {} |", memory[0], memory[count - 1]);
}
