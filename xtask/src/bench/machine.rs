//! What the figures depend on: the machine, and the versions of programs.

use std::{fmt, fs, process::Command};

use anyhow::Result;
use serde::Serialize;
use toolkit::process;

#[derive(Serialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    rustc: String,
    postgres: String,
}

impl Machine {
    /// The machine that runs this program, with this version of PostgreSQL.
    pub fn of_this_run(postgres: &str) -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Self {
            processor: parse_model(&processors).unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: count_cores(&processors),
            rustc: process::output("rustc", Command::new("rustc").arg("--version"))?.trim().to_owned(),
            postgres: postgres.to_owned(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores; {}; PostgreSQL {}", self.processor, self.cores, self.rustc, self.postgres)
    }
}

/// The first model name in `/proc/cpuinfo`. On Arm, the file has no model name.
fn parse_model(processors: &str) -> Option<&str> {
    let (_, model) = processors.lines().find_map(|line| line.strip_prefix("model name"))?.split_once(':')?;
    Some(model.trim())
}

/// The number of all processor cores, including those that this program must not use.
fn count_cores(processors: &str) -> usize {
    processors.lines().filter(|line| line.starts_with("processor")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_has_a_line() {
        assert_eq!(
            count_cores("processor\t: 0\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\n"),
            2
        );
    }

    #[test]
    fn the_model_is_the_first_one_of_the_file() {
        assert_eq!(parse_model("processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n"), Some("AMD EPYC"));
        assert_eq!(parse_model("processor\t: 0\nBogoMIPS\t: 243.75\n"), None);
    }
}
