//! `cargo xtask costs`.

use std::{fmt, fs, process::ExitCode};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use toolkit::{console::say, workspace::Workspace};

use crate::table;

/// Print what each memory size of a function costs, as in docs/costs.md.
///
/// Calculates durations and prices from the figures of `cargo xtask bench` in docs/benchmarks.json. A test compares the table in docs/costs.md with
/// the printed one.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<ExitCode> {
    let path = Workspace::load()?.root.join("docs/benchmarks.json");
    let benchmarks = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    say(Costs::from_benchmarks(&benchmarks)?);
    Ok(ExitCode::SUCCESS)
}

/// Sizes of memory in MB. Lambda allows any size from 128 MB to 10,240 MB.
const SIZES: [u32; 7] = [128, 256, 512, 1024, 1769, 2048, 3008];
/// The size with one virtual processor. A smaller function gets a proportional share of it ("Configure Lambda function memory" in Lambda's guide).
/// A larger one gets more than one, but a function uses only one, because it handles one request at a time with one thread.
const ONE_PROCESSOR: u32 = 1769;
/// An estimate of the time in milliseconds that the network adds to a statement. The benchmark's database is on the same machine.
const NETWORK: f64 = 1.0;
/// Dollars for a GB-second of an arm64 function. 1 GB is 1024 MB.
const GB_SECOND: f64 = 13.33e-6;
/// Dollars for a million requests, in addition.
const MILLION_REQUESTS: f64 = 0.20;

/// The functions whose costs are calculated.
const FUNCTIONS: [&str; 3] = ["signin", "refresh", "dashboard"];

/// The measured times of a warm call, in milliseconds.
#[derive(Clone, Copy)]
struct Call {
    /// The processor time of the function.
    processor: f64,
    /// The time in which it waits for the database.
    wait: f64,
}

impl Call {
    /// The billed milliseconds with this size. Lambda rounds up to whole ones.
    fn billed(self, size: u32) -> f64 {
        (self.processor / processor_share(size) + self.wait).ceil()
    }

    /// Lambda's price of a million calls with this size, in dollars.
    fn price(self, size: u32) -> f64 {
        self.billed(size) * 1000.0 * f64::from(size) / 1024.0 * GB_SECOND + MILLION_REQUESTS
    }
}

/// The part of one virtual processor that a single thread gets.
fn processor_share(size: u32) -> f64 {
    f64::from(size.min(ONE_PROCESSOR)) / f64::from(ONE_PROCESSOR)
}

/// What a table of costs is calculated from.
struct Costs {
    /// The processor time of one hash, in milliseconds.
    hash: f64,
    /// In the order of [`FUNCTIONS`].
    calls: [Call; FUNCTIONS.len()],
}

/// The parts of docs/benchmarks.json that matter here.
#[derive(Deserialize)]
struct Benchmarks {
    programs: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    #[serde(rename = "program")]
    name: String,
    tls: bool,
    state_table: bool,
    #[serde(default)]
    unconnected: bool,
    figures: Figures,
}

#[derive(Deserialize)]
struct Figures {
    call: Median,
    processor: f64,
    counts: Statements,
}

#[derive(Deserialize)]
struct Median {
    p50: f64,
}

#[derive(Deserialize)]
struct Statements {
    statements: f64,
}

impl Costs {
    /// Reads the figures of the functions with sessions in PostgreSQL.
    fn from_benchmarks(json: &str) -> Result<Self> {
        let Benchmarks { programs } = serde_json::from_str(json)?;
        let figures = |name: &str| {
            let program =
                programs.iter().find(|each| each.name == name && !each.tls && !each.state_table && !each.unconnected);
            Ok::<_, anyhow::Error>(&program.with_context(|| format!("docs/benchmarks.json lacks {name}"))?.figures)
        };
        let call = |name: &str| {
            let Figures { call, processor, counts } = figures(name)?;
            let wait = (call.p50 - processor).max(0.0) + counts.statements * NETWORK;
            Ok::<_, anyhow::Error>(Call { processor: *processor, wait })
        };
        let [signin, refresh, dashboard] = FUNCTIONS.map(call);
        Ok(Self { hash: figures("hash")?.processor, calls: [signin?, refresh?, dashboard?] })
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |size: u32| {
            let share = processor_share(size);
            let time_and_price = |call: Call| [format!("{:.0}", call.billed(size)), format!("{:.2}", call.price(size))];
            let [[signin, signin_price], [refresh, refresh_price], [dashboard, dashboard_price]] =
                self.calls.map(time_and_price);
            [
                size.to_string(),
                format!("{share:.2}"),
                format!("{:.0}", self.hash / share),
                signin,
                signin_price,
                refresh,
                refresh_price,
                dashboard,
                dashboard_price,
            ]
        };
        let head =
            ["MB", "processors", "argon2, ms", "`signin`, ms", "$", "`refresh`, ms", "$", "`dashboard`, ms", "$"];
        table::write(f, head, &SIZES.map(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BENCHMARKS: &str = include_str!("../../docs/benchmarks.json");

    #[test]
    fn the_document_has_the_calculated_table() {
        let table = Costs::from_benchmarks(BENCHMARKS).unwrap().to_string();
        let document = include_str!("../../docs/costs.md");
        assert!(document.contains(&table), "put the output of `cargo xtask costs` into docs/costs.md:\n{table}");
    }

    #[test]
    fn the_functions_that_hash_have_the_smallest_memory_with_a_whole_processor() {
        for manifest in [
            include_str!("../../functions/signin/Cargo.toml"),
            include_str!("../../functions/signup/Cargo.toml"),
            include_str!("../../functions/reset-password/Cargo.toml"),
        ] {
            assert!(manifest.contains(&format!("\nmemory = {ONE_PROCESSOR}\n")), "{manifest}");
        }
    }

    #[test]
    fn less_memory_makes_only_the_processor_time_longer_and_more_than_a_processor_saves_nothing() {
        let call = Call { processor: 20.0, wait: 4.5 };
        // 20 × 1769 / 128 + 4.5 = 280.9
        for (size, milliseconds) in [(128, 281.0), (1769, 25.0), (3008, 25.0)] {
            assert!((call.billed(size) - milliseconds).abs() < 1e-9, "{size}");
        }
        // 281 s × 0.125 GB × 1000 × 13.33 / 1,000,000 + 0.2
        assert!((call.price(128) - 0.668_216).abs() < 1e-6);
    }
}
