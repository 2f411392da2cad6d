//! `cargo xtask load`.

use std::process::ExitCode;

use anyhow::Result;
use toolkit::postgres::NEWEST;

use crate::programs;

/// Put load on the service: many users at once, and fewer connections to the database than the functions have processes.
///
/// Prints its progress; then requests, answers and times of each endpoint, refusals by kind, and a comparison of what the answers said
/// with what is in the database. Fails if these differ, or if any answer was 500. docs/measurements.md has such figures and explains them.
#[derive(clap::Args)]
pub struct Args {
    /// The duration
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,

    /// How many users there are at once
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,

    /// How many processes each function may have
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    processes: u32,

    /// How many connections the database allows the functions. signin, dashboard and, without --state-table, refresh and logout keep one per process
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Keep sessions and counters in DynamoDB
    #[arg(long)]
    state_table: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut arguments =
        [args.seconds, args.users, args.processes, args.connections].map(|number| number.to_string()).to_vec();
    arguments.push(if args.state_table { "dynamodb" } else { "postgresql" }.to_owned());
    programs::run(&[("load", arguments)], args.state_table, NEWEST)?;
    Ok(ExitCode::SUCCESS)
}
