//! `cargo xtask measure`.

use std::process::ExitCode;

use anyhow::Result;
use toolkit::postgres::NEWEST;

use crate::{programs, stack::postgres};

/// Measure what depends on the machine, such as how long hashing takes.
///
/// Measures whether the time of an answer reveals if an address has an account, how much time it would save to keep argon2's memory
/// between two hashes, and how much memory of PostgreSQL's server a connection needs. Takes ten minutes. The machine should be idle.
/// Needs what `cargo xtask test journeys` needs. Prints only the figures. docs/measurements.md explains such figures.
#[derive(clap::Args)]
pub struct Args {
    /// Samples of each kind
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,

    /// The major version of PostgreSQL
    #[arg(long, value_name = "VERSION", default_value_t = NEWEST, value_parser = postgres::versions())]
    postgres: u32,
}

/// The programs that measure, in `tests/examples/`.
const MEASUREMENTS: [&str; 3] = ["connections", "hashing", "timing"];

pub fn run(args: &Args) -> Result<ExitCode> {
    programs::run(&MEASUREMENTS.map(|name| (name, vec![args.samples.to_string()])), false, args.postgres)?;
    Ok(ExitCode::SUCCESS)
}
