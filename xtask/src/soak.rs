//! `cargo xtask soak`.

use std::process::ExitCode;

use anyhow::Result;

use crate::programs;

/// Let people use the service while a fault strikes it every few seconds, then see whether anything was lost.
///
/// Connections are cut and refused, tables and rows locked, the database can only be read, processes are frozen and killed, SES and
/// DynamoDB throttle and hang. Prints requests, refusals, faults and the books; fails if anything was answered 500, or if an invariant
/// is broken. The seed decides what people do, which faults strike, and which store there is; it is printed, and can be given.
#[derive(clap::Args)]
pub struct Args {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,

    /// The seed of an earlier run; a random one unless given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let arguments = [Some(args.seconds), args.seed].into_iter().flatten().map(|number| number.to_string()).collect();
    programs::run(&[("soak", arguments)], true)?;
    Ok(ExitCode::SUCCESS)
}
