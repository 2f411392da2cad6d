//! `cargo xtask load`.

use std::process::ExitCode;

use anyhow::Result;

use crate::programs;

/// Let many people use the service at once, with fewer connections to the database than the functions have processes.
///
/// Prints how it goes; then requests, answers and times of each endpoint, refusals by kind, and the books: what people were told
/// against what there is. Fails if they do not balance, or if anything was answered 500. docs/measurements.md has
/// such figures, and says what they mean.
#[derive(clap::Args)]
pub struct Args {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,

    /// How many people use it at once
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,

    /// How many processes each function may have
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    processes: u32,

    /// How many connections the database grants the functions, seven of which need one a process
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let arguments = [args.seconds, args.users, args.processes, args.connections].map(|number| number.to_string());
    programs::run(&[("load", arguments.to_vec())], false)?;
    Ok(ExitCode::SUCCESS)
}
