//! `cargo xtask scale`.

mod databases;
mod expiring;
pub mod generator;
mod report;
mod requests;
mod ses;
mod sizes;
mod sweeping;
mod tokens;
mod warm;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use toolkit::{
    console::{say, step},
    process,
    run_folder::RunFolder,
    system::{self, Prerequisite},
    workspace::{Workspace, cargo},
};

use self::{
    databases::{Databases, Which},
    generator::Amounts,
    report::Report,
};
use crate::bench::{self, machine::Machine};

/// Measure whether the functions stay fast in a large database.
///
/// Builds release programs, which takes 15 minutes the first time. Starts a PostgreSQL server with an empty database and one that it fills, which
/// takes 10 minutes and needs 8 GB of disk space. Compares the times of warm calls on both, measures whether `sweep` deletes sessions as fast as
/// they expire, and how large the tables are. Prints the figures as tables. The machine should be idle. docs/measurements.md has such tables and
/// explains them. No figure makes the command fail. Works on Linux only, with taskset.
#[derive(clap::Args)]
pub struct Args {
    /// The number of accounts in the filled database
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(1..))]
    users: i64,

    /// The number of sessions
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(i64).range(1..))]
    sessions: i64,

    /// How many of the sessions are live
    #[arg(long, value_name = "N", default_value_t = 3_000_000, value_parser = clap::value_parser!(i64).range(1..))]
    live: i64,

    /// The number of counters of attempts
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(0..))]
    counters: i64,

    /// The number of mails in the outbox, at most one for each account
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(i64).range(0..))]
    mails: i64,

    /// How many warm calls of each function are measured on each database
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,

    /// How many sessions expire every second while sweep is measured
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(i64).range(1..))]
    rate: i64,

    /// Sign-ins are measured in periods (windows) of this many seconds, alternately without and with a sweep at the beginning. So with the default,
    /// sweep runs once a minute, as in a deployment
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,

    /// PostgreSQL's memory for pages. RDS sets it to a quarter of the server's memory: db.t4g.medium has 1GB
    #[arg(long, value_name = "SIZE", default_value = "1GB")]
    shared_buffers: String,

    /// Also write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let Args { users, sessions, live, counters, mails, .. } = *args;
    ensure!(live <= sessions, "there are fewer sessions than live ones. Decrease --live or increase --sessions");
    ensure!(mails <= users, "there are fewer users than mails in the outbox. Decrease --mails or increase --users");
    let amounts = Amounts { users, sessions, live, counters, mails };
    system::require(&[Prerequisite::Compiler, Prerequisite::Node])?;
    let workspace = Workspace::load()?;
    if cfg!(debug_assertions) {
        return bench::run_release_build(&workspace);
    }
    build(&workspace)?;
    let run_folder = RunFolder::ephemeral(&workspace)?;
    let databases = Databases::start(&workspace, &run_folder, &args.shared_buffers)?;
    let report = measure(&workspace, &databases, amounts, args)?;
    say(format_args!("\n{report}"));
    if let Some(path) = &args.json {
        fs::write(path, report.json()?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build(workspace: &Workspace) -> Result<()> {
    step("Building the functions as releases");
    let mut build = cargo();
    build.current_dir(&workspace.root).args(["build", "--release", "--bins"]);
    build.args(databases::FUNCTIONS.iter().flat_map(|function| ["--package", function]));
    process::run("cargo build", &mut build)
}

fn measure(workspace: &Workspace, databases: &Databases, amounts: Amounts, args: &Args) -> Result<Report> {
    step("Filling the empty database with the accounts and sessions of the requests");
    let few = i64::from(warm::requests(args.calls));
    // Twice as many sessions as requests, because some expire too soon to be used.
    let sessions = 2 * few;
    databases.fill(Which::Empty, Amounts { users: few, sessions, live: sessions, counters: 0, mails: 0 })?;
    step("Filling the other database");
    databases.fill(Which::Filled, amounts)?;
    let sizes = sizes::measure(&mut databases.sql(Which::Filled)?)?;
    databases.use_one_core()?;
    let comparisons = warm::compare(workspace, databases, args.calls)?;
    let window = Duration::from_secs(args.window);
    let sweeping = sweeping::measure(workspace, databases, amounts.users, args.rate, window)?;
    Ok(Report {
        machine: Machine::of_this_run(&databases.postgres_version()?)?,
        settings: databases.settings()?,
        amounts,
        calls: args.calls,
        comparisons,
        sweeping,
        sizes,
    })
}
