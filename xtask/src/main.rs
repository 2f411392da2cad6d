//! The project's chores, one module each: [`up`] runs the service here, [`test`] proves it, [`sam_local`] serves it from the
//! template, [`check_template`] checks that, [`package`] builds it for Lambda, [`deploy`] ships it, [`prune`] deletes what it shipped before, [`rehearse`] rehearses that, [`release`]
//! puts a version together, [`measure`] and [`load`] measure what no test decides, [`soak`] lets faults strike it, [`fuzz`] sends events
//! nobody thought of. What they share is the [`stack`]: a database, a mail server, a gateway and the functions.

#![expect(clippy::doc_markdown, reason = "the documentation of arguments is read in a terminal, as its help text")]

mod aws;
mod check_template;
mod console;
mod deploy;
mod fuzz;
mod interrupt;
mod load;
mod measure;
mod package;
mod programs;
mod prune;
mod rds_certificates;
mod rehearse;
mod release;
mod requirements;
mod sam_local;
mod soak;
mod stack;
mod test;
mod up;
mod walk_through;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::interrupt::Interrupted;

/// The project's chores. Each of them says what it is doing, installs the tools it needs into `.tools/`, and stops what it
/// started.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Up(up::Args),
    Test(test::Args),
    SamLocal(sam_local::Args),
    Measure(measure::Args),
    Fuzz(fuzz::Args),
    Load(load::Args),
    Soak(soak::Args),
    Requirements(requirements::Args),
    RdsCertificates(rds_certificates::Args),
    CheckTemplate(check_template::Args),
    Package(package::Args),
    Deploy(deploy::Args),
    Prune(prune::Args),
    Rehearse(rehearse::Args),
    Release(release::Args),
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let done = interrupt::listen().and_then(|()| match task {
        Task::Up(args) => up::run(&args),
        Task::Test(args) => test::run(&args),
        Task::SamLocal(args) => sam_local::run(&args),
        Task::Measure(args) => measure::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Load(args) => load::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Requirements(args) => requirements::run(&args),
        Task::RdsCertificates(args) => rds_certificates::run(&args),
        Task::CheckTemplate(args) => check_template::run(&args),
        Task::Package(args) => package::run(&args),
        Task::Deploy(args) => deploy::run(&args),
        Task::Prune(args) => prune::run(&args),
        Task::Rehearse(args) => rehearse::run(&args),
        Task::Release(args) => release::run(&args),
    });
    match done {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            console::say("Interrupted; everything is stopped.");
            ExitCode::from(130)
        }
        Err(error) => {
            console::complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
