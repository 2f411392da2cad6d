//! The parts that run Rust tests.

use std::{fs, num::NonZero, process::Command, thread};

use anyhow::Result;
use toolkit::{
    console::say,
    workspace::{Workspace, cargo},
};

use super::{count::Count, servers::Servers, transcript::Transcript};

/// The level at which conflicts are errors (SQLSTATE 40001), so that each function must run its statement again.
const REPEATABLE_READ: (&str, &str) = ("TEST_ISOLATION", "repeatable read");

/// Runs Rust tests.
pub struct RustTests<'a> {
    pub workspace: &'a Workspace,
    pub servers: &'a Servers,
    /// The major version of the PostgreSQL server that the tests use.
    pub postgres: u32,
    /// Arguments for the test programs.
    pub libtest: &'a [String],
    pub transcript: &'a Transcript,
}

impl RustTests<'_> {
    /// Runs the tests of these targets.
    pub fn of(&self, targets: &[&str]) -> Result<Count> {
        self.run(&[], targets, self.libtest)
    }

    /// Runs the journeys.
    pub fn journeys(&self) -> Result<Count> {
        self.journeys_in(&[], &[])
    }

    /// Runs the tests of faults, and prints the table of their measurements.
    pub fn faults(&self) -> Result<Count> {
        let count = self.run(&[], &["--test", "faults"], &self.threads())?;
        let table = self.servers.faults.as_ref().and_then(|faults| fs::read_to_string(&faults.table).ok());
        let table = table.unwrap_or_default();
        let mut rows: Vec<_> = table.lines().collect();
        rows.sort_by_key(|row| row.split([' ', ':']).nth(1).and_then(|number| number.parse::<u32>().ok()));
        say("\n| fault | users saw | longest answer, ms | healed after, ms |\n| --- | --- | --- | --- |");
        for row in rows {
            say(row);
        }
        Ok(count)
    }

    /// Runs the journeys with sessions and counters in PostgreSQL, at `repeatable read`. Skips the cases that choose another store, because
    /// the part `journeys` runs these, and the longest journey, which repeats many times what other journeys do once.
    pub fn isolation(&self) -> Result<Count> {
        self.journeys_in(&[REPEATABLE_READ], &["::store_2_DynamoDb", "races::only_sessions"])
    }

    /// Runs the journeys with sessions and counters in DynamoDB, at `repeatable read`. Skips the journeys that choose their stores or levels, because
    /// the part `journeys` runs these.
    pub fn dynamodb(&self) -> Result<Count> {
        self.journeys_in(&[REPEATABLE_READ, ("TEST_STATE", "dynamodb")], &["::store_", "isolation_levels::"])
    }

    /// Runs the journeys with these environment variables, without those whose names contain one of the words in `skipped`.
    fn journeys_in(&self, environment: &[(&str, &str)], skipped: &[&str]) -> Result<Count> {
        let skipped = skipped.iter().flat_map(|word| ["--skip", word]).map(str::to_owned).collect::<Vec<_>>();
        self.run(environment, &["--test", "journeys"], &[self.threads(), skipped].concat())
    }

    /// The arguments for test programs whose tests mostly wait, so that two for each processor can run at once. With three, requests missed their deadlines
    /// on a slow machine. An own number of the caller wins.
    fn threads(&self) -> Vec<String> {
        let has_own = self.libtest.iter().any(|argument| argument.starts_with("--test-threads"));
        let threads = (!has_own).then(|| format!("--test-threads={}", 2 * processors()));
        threads.into_iter().chain(self.libtest.iter().cloned()).collect()
    }

    /// Runs the soak test for a minute. Each run uses another seed, and prints it.
    pub fn soak(&self) -> Result<Count> {
        let mut soak = Command::new(self.workspace.binary("examples/soak"));
        self.transcript.count_one("soak", soak.arg("60").envs(self.servers.environment(self.postgres)))
    }

    fn run(&self, environment: &[(&str, &str)], targets: &[&str], libtest: &[String]) -> Result<Count> {
        let mut command = cargo();
        command
            .current_dir(&self.workspace.root)
            .envs(self.servers.environment(self.postgres))
            .envs(environment.iter().copied())
            // A failed assertion names its line. With a backtrace, the lines that the transcript keeps would not include it.
            .env("RUST_BACKTRACE", "0");
        command.args(["test", "--workspace", "--no-fail-fast"]).args(targets).arg("--").args(libtest);
        self.transcript.count_lines("cargo test", &mut command, Count::of_cargo_test)
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
