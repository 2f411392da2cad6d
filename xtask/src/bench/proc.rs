//! Reads the memory and the processor time of a process from `/proc`, and limits this program to one processor core.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use toolkit::process;

/// The largest amount of physical memory that the process had so far, in KiB.
pub fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the command works on Linux only")?;
    parse_peak_memory(&status).context("/proc/<process>/status has no VmHWM")
}

/// The processor time that the threads of the process have used so far. The time of threads that have ended is missing.
pub fn processor_time(process: u32) -> Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).context("the command works on Linux only")?;
    let time = threads.map(|thread| {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        parse_time(&schedstat).context("/proc/<process>/task/<thread>/schedstat has no time")
    });
    time.sum()
}

/// Lets this program, and every program that it starts from now on, run on one processor core only.
///
/// This program, the measured program and PostgreSQL wait for each other, so they need no second core. Without this limit, the cores that Linux chose
/// decided how long a call took: in one run twice as long as in another.
pub fn use_one_core() -> Result<()> {
    pin(std::process::id())
}

/// As [`use_one_core`], for another process.
pub fn pin(process: u32) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context("the command works on Linux only")?;
    let core = parse_first_core(&status).context("/proc/self/status has no Cpus_allowed_list")?;
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", core, &process.to_string()]);
    process::output("taskset", &mut taskset).map(drop)
}

/// The first number of a list such as `2-5,7`.
fn parse_first_core(status: &str) -> Option<&str> {
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    cores.trim().split(['-', ',']).next().filter(|core| !core.is_empty())
}

fn parse_peak_memory(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// The first number, which is the time on a processor in nanoseconds.
fn parse_time(schedstat: &str) -> Option<Duration> {
    schedstat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_number_of_its_line() {
        let status = "VmPeak:\t  9999 kB\nVmHWM:\t    8124 kB\nVmRSS:\t    4321 kB\n";
        assert_eq!(parse_peak_memory(status), Some(8124));
        assert_eq!(parse_peak_memory("VmRSS:\t    4321 kB\n"), None);
    }

    #[test]
    fn the_first_core_is_the_first_number_of_the_list() {
        assert_eq!(parse_first_core("Cpus_allowed:\tff\nCpus_allowed_list:\t2-5,7\n"), Some("2"));
        assert_eq!(parse_first_core("Cpus_allowed_list:\t11\n"), Some("11"));
        assert_eq!(parse_first_core("Cpus_allowed:\tff\n"), None);
    }

    #[test]
    fn processor_time_is_the_first_number() {
        assert_eq!(parse_time("1500000 20 3\n"), Some(Duration::from_micros(1500)));
        assert_eq!(parse_time("\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_processor_time() {
        let process = std::process::id();
        assert!(peak_memory(process).unwrap() > 0);
        assert!(processor_time(process).unwrap() > Duration::ZERO);
    }
}
