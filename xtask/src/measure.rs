//! `cargo xtask measure`.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{
    console::step,
    stack::{
        home::Home,
        mail::Mail,
        postgres::{Purpose, Server},
        process,
    },
    workspace::{Workspace, cargo},
};

/// Measure what no test decides: whether the time of an answer tells if an address has an account, and what it would gain to keep
/// argon2's memory between two hashes. Takes ten minutes, on an idle machine if it is to mean anything.
///
/// Needs what `cargo xtask test journeys` needs. Prints figures and judges nothing: docs/measurements.md has some, and says what
/// they mean.
#[derive(clap::Args)]
pub struct Args {
    /// Samples of each kind
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
}

/// The programs that measure, in `tests/examples/`.
const MEASUREMENTS: [&str; 2] = ["hashing", "timing"];

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let home = Home::ephemeral(&workspace)?;
    let database = Server::start(&workspace, &home, None, Purpose::Throwaway)?;
    let mail = Mail::start(&workspace, &home, None)?;
    step("Building the functions and the measurements");
    let mut build = cargo();
    build.current_dir(&workspace.root).args(["build", "--workspace", "--bins"]);
    build.args(MEASUREMENTS.iter().flat_map(|name| ["--example", name]));
    process::run("cargo build", &mut build)?;
    for name in MEASUREMENTS {
        step(format_args!("Measuring: {name}"));
        let mut measurement = Command::new(workspace.binary(&format!("examples/{name}")));
        measurement
            .arg(args.samples.to_string())
            .env("TEST_DATABASE_URL", database.url("postgres"))
            .env("TEST_SES_URL", mail.url());
        process::run(name, &mut measurement)?;
    }
    Ok(ExitCode::SUCCESS)
}
