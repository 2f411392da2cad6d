//! The parts that run Rust tests.

use std::{fs, process::Command};

use anyhow::Result;
use toolkit::{
    console::{print_error, say},
    process,
    workspace::{Workspace, cargo},
};

use super::{count::Count, servers::Servers};

/// What every run of Rust tests needs.
pub struct RustTests<'a> {
    pub workspace: &'a Workspace,
    pub servers: &'a Servers,
    /// Arguments for the test programs.
    pub libtest: &'a [String],
}

impl RustTests<'_> {
    /// The tests of these targets.
    pub fn of(&self, targets: &[&str]) -> Result<Count> {
        self.run(&[], targets, self.libtest)
    }

    /// The tests of faults, and the table of what they found. Most of the time they wait, so several run at once.
    pub fn faults(&self) -> Result<Count> {
        let threads = ["--test-threads=4".to_owned()];
        let given = self.libtest.iter().any(|argument| argument.starts_with("--test-threads"));
        let several = if given { &[] } else { &threads[..] };
        let count = self.run(&[], &["--test", "faults"], &[several, self.libtest].concat())?;
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

    /// The journeys in transactions that are `repeatable read`. The longest ones are left out: each repeats two hundred times what
    /// other journeys do once.
    pub fn isolation(&self) -> Result<Count> {
        let level = [("TEST_ISOLATION", "repeatable read")];
        let skipped = ["--skip", "races::only_sessions"].map(str::to_owned);
        self.run(&level, &["--test", "journeys"], &[self.libtest, &skipped].concat())
    }

    /// A minute of soak. Each run uses another seed, and prints it.
    pub fn soak(&self) -> Result<Count> {
        let mut soak = Command::new(self.workspace.binary("examples/soak"));
        process::run("soak", soak.arg("60").envs(self.servers.environment()))?;
        Ok(Count { passed: 1, failed: 0 })
    }

    fn run(&self, environment: &[(&str, &str)], targets: &[&str], libtest: &[String]) -> Result<Count> {
        let mut command = cargo();
        command.current_dir(&self.workspace.root).envs(self.servers.environment()).envs(environment.iter().copied());
        command.args(["test", "--workspace", "--no-fail-fast"]).args(targets).arg("--").args(libtest);
        count_lines("cargo test", &mut command, Count::of_cargo_test)
    }
}

/// Runs a program, prints its lines, and adds up the counts that `read` finds in them.
pub fn count_lines(what: &str, command: &mut Command, read: fn(&str) -> Option<Count>) -> Result<Count> {
    let mut count = Count::default();
    let succeeded = process::lines(what, command, |line| {
        say(line);
        if let Some(more) = read(line) {
            count = count + more;
        }
    })?;
    if !succeeded && count.failed == 0 {
        print_error(format_args!("{what} failed without a failed test: see above"));
        count.failed = 1;
    }
    Ok(count)
}
