//! `cargo xtask bench`.

mod counts;
pub mod machine;
mod measurement;
mod passkey;
mod plot;
pub mod proc;
mod report;
pub mod requests;
pub mod samples;
mod service;
mod subject;
mod tls;

use std::{fs, os::unix::process::CommandExt as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use toolkit::{
    console::{say, step},
    process,
    run_folder::RunFolder,
    system::{self, Prerequisite},
    workspace::{Workspace, cargo},
};

use self::{machine::Machine, report::Report, service::Service, subject::Subject};

/// Measure the functions as they are deployed, and compare them with bare programs that do only the unavoidable part of the same work.
///
/// Builds release programs, which takes 15 minutes the first time. Starts a PostgreSQL server and, with --state-table, DynamoDB Local. Starts each
/// program as Lambda does, in one process. Prints a table of times, processor time, memory and sizes, with the ratios of the times to those of the
/// bare program. The machine should be idle. docs/measurements.md has such a table and explains it. No figure makes the command fail. Works on Linux
/// only, with gzip, openssl and taskset.
#[derive(clap::Args)]
pub struct Args {
    /// How often each program is started
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,

    /// How many requests each program answers in one process
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(20..))]
    calls: u32,

    /// Also measure the functions with sessions and counters in DynamoDB Local (needs Java 17)
    #[arg(long)]
    state_table: bool,

    /// Also write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Also write a plot of the ratios to this file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut needs = vec![Prerequisite::Compiler, Prerequisite::Node, Prerequisite::Bench];
    needs.extend(args.state_table.then_some(Prerequisite::Java));
    system::require(&needs)?;
    let workspace = Workspace::load()?;
    if cfg!(debug_assertions) {
        return run_release_build(&workspace);
    }
    let subjects = subject::all(args.state_table);
    build(&workspace, &subjects)?;
    let run_folder = RunFolder::ephemeral(&workspace)?;
    let service = Service::start(&workspace, &run_folder, &subjects)?;
    let measurements = measurement::measure(&workspace, &service, &subjects, args.starts, args.calls)?;
    let report = Report {
        machine: Machine::of_this_run(&service.postgres_version()?)?,
        starts: args.starts,
        calls: args.calls,
        measurements,
    };
    say(format_args!("\n{report}"));
    for (path, text) in [(&args.json, report.json()), (&args.svg, plot::svg(&report))] {
        if let Some(path) = path {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Replaces this process by a release build of this command. The command contains the local server of the Lambda runtime interface. Every measured
/// time includes the time of this server, so it must be a release build, too.
pub fn run_release_build(workspace: &Workspace) -> Result<ExitCode> {
    step("Building this command as a release");
    let mut build = cargo();
    build.current_dir(&workspace.root).args(["build", "--release", "--package", "xtask"]);
    process::run("cargo build", &mut build)?;
    let mut release = std::process::Command::new(workspace.release_binary("xtask"));
    Err(release.args(std::env::args_os().skip(1)).exec()).context("cannot start the release build of this command")
}

fn build(workspace: &Workspace, subjects: &[Subject]) -> Result<()> {
    step("Building the functions and the bare programs as releases");
    let mut build = cargo();
    build.current_dir(&workspace.root).args(["build", "--release", "--bins", "--examples"]);
    build.args(["--package", "limits", "--package", service::MIGRATE]);
    build.args(subjects.iter().filter(|subject| !subject.is_bare()).flat_map(|subject| ["--package", subject.program]));
    process::run("cargo build", &mut build)
}
