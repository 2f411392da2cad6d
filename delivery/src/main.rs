//! The commands that ship the service: [`check_template`] checks the templates, [`package`] builds the functions for Lambda, [`deploy`]
//! deploys them, [`prune`] deletes old versions, [`rehearse`] tests deployments without an AWS account, and [`release`] collects the
//! files of a release.

#![expect(clippy::doc_markdown, reason = "the documentation of arguments is read in a terminal, as its help text")]

mod alias;
mod aws;
mod check_template;
mod cloudformation;
mod data_stack;
mod deploy;
mod deployed_stack;
mod fingerprints;
mod package;
mod prune;
mod rehearse;
mod release;
mod request;
mod rollback;
mod sign_out;
mod templates;
mod tools;
mod verdict;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use toolkit::interrupt;

/// Check, build and ship the service. Each command prints what it does, installs the tools it needs into `.tools/`, and stops what it
/// started.
#[derive(Parser)]
#[command(name = "cargo delivery", bin_name = "cargo delivery", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Deploy(deploy::Args),
    Package(package::Args),
    Rehearse(rehearse::Args),
    Release(release::Args),
    CheckTemplate(check_template::Args),
    Prune(prune::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    interrupt::run_command(|| match command {
        Command::Deploy(args) => deploy::run(&args),
        Command::Package(args) => package::run(&args),
        Command::Rehearse(args) => rehearse::run(&args),
        Command::Release(args) => release::run(&args),
        Command::CheckTemplate(args) => check_template::run(&args),
        Command::Prune(args) => prune::run(&args),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_of_the_commands_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
