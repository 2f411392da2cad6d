//! `cargo xtask fuzz`.

use std::{fs, process::ExitCode};

use anyhow::Result;

use toolkit::{console::step, process, workspace::Workspace};

use crate::tools;

/// Send events nobody thought of through what reads them and answers, until one breaks it or the rounds are over.
///
/// It begins with the sample events in events/, and with what it learnt before, in fuzz/corpus/. What broke something is kept in
/// fuzz/artifacts/. The first build takes ten minutes.
#[derive(clap::Args)]
pub struct Args {
    /// How many events to send
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

const TARGET: &str = "event_to_answer";

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let learnt = format!("fuzz/corpus/{TARGET}");
    fs::create_dir_all(workspace.root.join(&learnt))?;
    let mut fuzz = tools::cargo_fuzz(&workspace)?;
    step(format_args!("Sending {} events", args.rounds));
    // There is no unsafe code here for a sanitizer to look into, and none of them works with a stable compiler.
    fuzz.args(["run", "--sanitizer", "none", TARGET, &learnt, "events", "--"]).arg(format!("-runs={}", args.rounds));
    process::run("cargo fuzz", &mut fuzz)?;
    Ok(ExitCode::SUCCESS)
}
