//! The commands for everyday development: [`up`] runs the service on this machine, [`test`] runs the tests, [`sam_local`] runs
//! template.yaml in `sam local`, [`measure`], [`load`], [`bench`] and [`scale`] measure, [`costs`] calculates what functions cost, [`soak`]
//! injects faults for a while, [`mutations`] plants defects in the SQL, [`mails`] shows the mails, [`fuzz`] sends random events and passkeys,
//! [`requirements`] lists the tests of each requirement, and [`rds_certificates`] renews certificates. The crate `delivery` has the commands that
//! package and deploy the service.

#![expect(clippy::doc_markdown, reason = "the documentation of arguments is read in a terminal, as its help text")]

mod bench;
mod costs;
mod fuzz;
mod lambdas;
mod load;
mod mails;
mod measure;
mod mutations;
mod programs;
mod rds_certificates;
mod requirements;
mod sam_local;
mod scale;
mod soak;
mod stack;
mod table;
mod test;
mod tools;
mod up;
mod walk_through;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use toolkit::interrupt;

/// The commands for everyday development. Each command prints what it does, installs the tools it needs into `.tools/`, and stops what
/// it started.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Args),
    Test(test::Args),
    SamLocal(sam_local::Args),
    Measure(measure::Args),
    Load(load::Args),
    Mails(mails::Args),
    Mutations(mutations::Args),
    Bench(bench::Args),
    Scale(scale::Args),
    Costs(costs::Args),
    Soak(soak::Args),
    Fuzz(fuzz::Args),
    Requirements(requirements::Args),
    RdsCertificates(rds_certificates::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    interrupt::run_command(|| match command {
        Command::Up(args) => up::run(&args),
        Command::Test(args) => test::run(&args),
        Command::SamLocal(args) => sam_local::run(&args),
        Command::Measure(args) => measure::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Mails(args) => mails::run(&args),
        Command::Mutations(args) => mutations::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Scale(args) => scale::run(&args),
        Command::Costs(args) => costs::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Requirements(args) => requirements::run(&args),
        Command::RdsCertificates(args) => rds_certificates::run(&args),
    })
}
