//! `cargo xtask fuzz`.

use std::{fs, process::ExitCode};

use anyhow::Result;
use toolkit::{console::step, process, workspace::Workspace};

use crate::tools;

/// Send random events to the code that reads events and writes answers, until an event makes the code fail or all events are sent.
///
/// The command starts from the sample events in events/ and from the corpus of earlier runs in fuzz/corpus/. An event that makes the code fail is
/// kept in fuzz/artifacts/. The first build takes ten minutes.
#[derive(clap::Args)]
pub struct Args {
    /// How many events to send
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

const TARGET: &str = "event_to_answer";

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let corpus = format!("fuzz/corpus/{TARGET}");
    fs::create_dir_all(workspace.root.join(&corpus))?;
    let mut fuzz = tools::cargo_fuzz(&workspace)?;
    step(format_args!("Sending {} events", args.rounds));
    // Sanitizers find errors of unsafe code, but this project has no unsafe code. They also do not work with a stable compiler.
    fuzz.args(["run", "--sanitizer", "none", TARGET, &corpus, "events", "--"]).arg(format!("-runs={}", args.rounds));
    process::run("cargo fuzz", &mut fuzz)?;
    Ok(ExitCode::SUCCESS)
}
