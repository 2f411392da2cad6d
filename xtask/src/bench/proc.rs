//! What Linux counts for a process, in `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

/// The largest amount of physical memory that the process had so far, in KiB.
pub fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the command works on Linux only")?;
    parse_peak_memory(&status).context("/proc/<process>/status has no VmHWM")
}

/// The processor time of the process so far, in user and in kernel mode, in steps of 10 ms.
pub fn processor_time(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the command works on Linux only")?;
    let ticks = parse_ticks(&stat).context("/proc/<process>/stat has no times")?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the system does not say how long a tick is")?;
    Ok(Duration::from_secs(ticks) / u32::try_from(per_second)?)
}

fn parse_peak_memory(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// The sum of utime and stime, in ticks.
fn parse_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which may contain spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut times = after_name.split(' ').skip(11);
    let [user, kernel] = [times.next()?, times.next()?].map(|ticks| ticks.parse::<u64>().ok());
    Some(user? + kernel?)
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
    fn processor_time_is_the_sum_of_fields_14_and_15_whatever_the_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 17 25 0 0 20 0 3 0 12345 1000 200";
        assert_eq!(parse_ticks(stat), Some(42));
        assert_eq!(parse_ticks("42 (short) S 1"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let process = std::process::id();
        assert!(peak_memory(process).unwrap() > 0);
        processor_time(process).unwrap();
    }
}
