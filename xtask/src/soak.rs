//! `cargo xtask soak`.

use std::process::ExitCode;

use anyhow::Result;
use toolkit::postgres::NEWEST;

use crate::programs;

/// Use the service while a fault happens every few seconds, then check that nothing was lost.
///
/// Connections are cut and refused, tables and rows are locked, the database becomes read-only, processes are frozen and killed, SES and
/// DynamoDB throttle and hang. Prints requests, refusals, faults, and a comparison of the answers with the database. Fails if any answer
/// was 500, or if an invariant is broken. The seed decides what users do, which faults happen, and where sessions and counters are. The
/// command prints the seed, and `--seed` sets it.
#[derive(clap::Args)]
pub struct Args {
    /// The duration
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,

    /// The seed of an earlier run; a random one unless given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let arguments = [Some(args.seconds), args.seed].into_iter().flatten().map(|number| number.to_string()).collect();
    programs::run(&[("soak", arguments)], true, NEWEST)?;
    Ok(ExitCode::SUCCESS)
}
