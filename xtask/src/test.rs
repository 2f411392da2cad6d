//! `cargo xtask test`.

mod count;
mod local_stack;
mod part;
mod rust_tests;
mod servers;
mod transcript;

use std::{
    fs,
    process::ExitCode,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::ValueEnum as _;
use toolkit::{
    console::{print_error, say},
    interrupt::Interrupted,
    process,
    run_folder::RunFolder,
    system,
    workspace::{Workspace, cargo},
};

use self::{count::Count, part::Part, rust_tests::RustTests, servers::Servers, transcript::Transcript};
use crate::{requirements, stack::postgres, tools};

/// Run all tests, or some parts of them. The tests use real servers, which this command starts, stops and deletes.
///
/// If programs are missing that the chosen parts need, the command lists them and ends. On Debian and Ubuntu, it installs them if
/// root runs it. At the end, it prints a line per part and `N passed, N failed`. It fails if a test failed, or if a part ran no
/// test.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask test
  cargo xtask test unit journeys
  cargo xtask test journeys -- refresh --nocapture
  cargo xtask test --postgres 16 journeys migrations")]
pub struct Args {
    /// The parts to run, by default all
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,

    /// The major version of PostgreSQL. By default, the parts `isolation` and `dynamodb` run on the oldest supported version, and the others
    /// on the newest
    #[arg(long, value_name = "VERSION", value_parser = postgres::versions())]
    postgres: Option<u32>,

    /// Arguments for the Rust tests, such as a filter or --nocapture
    #[arg(last = true, value_name = "LIBTEST ARGUMENTS")]
    libtest: Vec<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let parts = if args.parts.is_empty() { Part::value_variants() } else { &args.parts };
    system::require(&parts.iter().flat_map(|part| part.prerequisites()).copied().collect::<Vec<_>>())?;
    let workspace = Workspace::load()?;
    let run_folder = RunFolder::ephemeral(&workspace)?;
    let version = |part: &Part| args.postgres.unwrap_or(part.postgres());
    let mut servers = Servers::start(&workspace, &run_folder, parts, version)?;

    let mut results = Vec::new();
    let mut failures = Vec::new();
    for group in parts.chunk_by(|part, next| part.runs_beside_others() && next.runs_beside_others()) {
        let run =
            |part: Part| run_part_and_count(part, &workspace, &servers, version(&part), &args.libtest, group.len() > 1);
        for Outcome { part, count, time, transcript } in two_at_a_time(group, run)? {
            results.push((part, count, time));
            if count.failed > 0 {
                failures.push((part, transcript));
            }
        }
        servers.check()?;
    }
    drop(servers);
    drop(run_folder);
    let result = report(&results);
    for (part, transcript) in failures {
        let lines = transcript.take();
        if !lines.is_empty() {
            say(format_args!("\n==== The last lines that `{}` printed\n", part.name()));
            lines.iter().for_each(say);
        }
    }
    Ok(result)
}

/// What became of a part.
struct Outcome {
    part: Part,
    count: Count,
    time: Duration,
    transcript: Transcript,
}

/// Runs these parts, two at a time, and returns their outcomes in the order of the parts.
fn two_at_a_time(parts: &[Part], run: impl Fn(Part) -> Result<Outcome> + Sync) -> Result<Vec<Outcome>> {
    let waiting = Mutex::new(parts.iter());
    let next = || waiting.lock().ok()?.next().copied();
    let run_waiting = || std::iter::from_fn(next).map(&run).collect::<Result<Vec<_>>>();
    let mut outcomes = thread::scope(|scope| {
        let beside = scope.spawn(run_waiting);
        let outcomes = run_waiting();
        let beside = beside.join().map_err(|_| anyhow::anyhow!("a part panicked"))?;
        Ok::<_, anyhow::Error>([outcomes?, beside?].into_iter().flatten().collect::<Vec<_>>())
    })?;
    outcomes.sort_by_key(|outcome| parts.iter().position(|part| *part == outcome.part));
    Ok(outcomes)
}

/// Runs a part. If it runs beside another one, each of its lines begins with its name.
fn run_part_and_count(
    part: Part,
    workspace: &Workspace,
    servers: &Servers,
    postgres: u32,
    libtest: &[String],
    beside: bool,
) -> Result<Outcome> {
    say(format_args!("\n==== {}: {}\n", part.name(), part.covers()));
    let began = Instant::now();
    let transcript = Transcript::new(beside.then(|| part.name()));
    let count = match run_part(part, workspace, servers, postgres, libtest, &transcript) {
        Ok(Count { passed: 0, failed: 0 }) if libtest.is_empty() => {
            print_error(format_args!("the part `{}` ran no test", part.name()));
            Count { passed: 0, failed: 1 }
        }
        Ok(count) => count,
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => {
            print_error(format_args!("{}: {error:#}", part.name()));
            Count { passed: 0, failed: 1 }
        }
    };
    Ok(Outcome { part, count, time: began.elapsed(), transcript })
}

fn report(results: &[(Part, Count, Duration)]) -> ExitCode {
    say(format_args!("\n{:<12} {:>6} {:>6} {:>7}  covers", "part", "passed", "failed", "seconds"));
    let mut all = Count::default();
    for (part, count, time) in results {
        let (name, seconds) = (part.name(), time.as_secs_f32());
        say(format_args!("{name:<12} {:>6} {:>6} {seconds:>7.1}  {}", count.passed, count.failed, part.covers()));
        all = all + *count;
    }
    say(format_args!("\n{} passed, {} failed", all.passed, all.failed));
    // A filter that matches no test is an error, because then no test ran.
    if all.failed == 0 && all.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_part(
    part: Part,
    workspace: &Workspace,
    servers: &Servers,
    postgres: u32,
    libtest: &[String],
    transcript: &Transcript,
) -> Result<Count> {
    let rust_tests = RustTests { workspace, servers, postgres, libtest, transcript };
    let delivery = |arguments: &[&str]| delivery(workspace, arguments, transcript);
    match part {
        Part::Unit => Ok(rust_tests.of(&["--lib", "--bins"])? + rust_tests.of(&["--doc"])?),
        Part::Journeys => rust_tests.journeys(),
        Part::Isolation => rust_tests.isolation(),
        Part::DynamoDb => rust_tests.dynamodb(),
        Part::Faults => rust_tests.faults(),
        Part::Model | Part::Contract | Part::Migrations | Part::Browser | Part::Verifiers => {
            rust_tests.of(&["--test", &part.name()])
        }
        Part::Soak => rust_tests.soak(),
        Part::Requirements => Ok(Count { passed: requirements::check(workspace)?, failed: 0 }),
        Part::Template => delivery(&["check-template"]),
        // Only four functions are packaged, because packaging all of them would take longer than all other parts together.
        Part::Package => delivery(&["package", "reset-password", "migrate", "jwks", "link-pages"]),
        Part::Delivery => delivery(&["rehearse"]),
        Part::Workflows => workflows(workspace),
        Part::Dependencies => dependencies(workspace),
        Part::Collection => local_stack::collection(workspace, servers.built),
        Part::Up => local_stack::up(workspace, servers.built),
    }
}

/// Runs `cargo delivery`, whose last line is the count of its checks.
fn delivery(workspace: &Workspace, arguments: &[&str], transcript: &Transcript) -> Result<Count> {
    let mut command = cargo();
    command.current_dir(&workspace.root).arg("delivery").args(arguments);
    transcript.count_lines(&format!("cargo delivery {}", arguments[0]), &mut command, Count::of_delivery)
}

fn workflows(workspace: &Workspace) -> Result<Count> {
    let files = fs::read_dir(workspace.root.join(".github/workflows"))?;
    let files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    process::run("actionlint", tools::actionlint(workspace)?.args(&files))?;
    Ok(Count { passed: files.len() as u64, failed: 0 })
}

fn dependencies(workspace: &Workspace) -> Result<Count> {
    let checks = ["bans", "licenses", "sources"];
    process::run("cargo deny check", tools::cargo_deny(workspace)?.args(checks))?;
    Ok(Count { passed: checks.len() as u64, failed: 0 })
}
