//! `cargo xtask fuzz`.

use std::{fs, process::ExitCode};

use anyhow::Result;
use toolkit::{console::step, process, workspace::Workspace};

use crate::tools;

/// Send random input to the code that reads events and writes answers, and to the code that verifies passkeys, until an input makes the code fail or all
/// inputs are sent.
///
/// The command starts from the sample events in events/ and from the corpus of earlier runs in fuzz/corpus/. An input that makes the code fail is
/// kept in fuzz/artifacts/. The first build takes ten minutes.
#[derive(clap::Args)]
pub struct Args {
    /// How many inputs to send to each of the two
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// The targets in fuzz/Cargo.toml, each with a folder of samples.
const TARGETS: [(&str, Option<&str>); 2] = [("event_to_answer", Some("events")), ("passkey", None)];

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    for (target, samples) in TARGETS {
        let corpus = format!("fuzz/corpus/{target}");
        fs::create_dir_all(workspace.root.join(&corpus))?;
        let mut fuzz = tools::cargo_fuzz(&workspace)?;
        step(format_args!("Sending {} inputs to {target}", args.rounds));
        // Sanitizers find errors of unsafe code, but this project has no unsafe code. They also do not work with a stable compiler.
        fuzz.args(["run", "--sanitizer", "none", target, &corpus]).args(samples).arg("--");
        process::run("cargo fuzz", fuzz.arg(format!("-runs={}", args.rounds)))?;
    }
    Ok(ExitCode::SUCCESS)
}
