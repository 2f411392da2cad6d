//! What the tests of a part have printed.

use std::{collections::VecDeque, process::Command, sync::Mutex};

use anyhow::Result;
use toolkit::{
    console::{print_error, say},
    process,
};

use super::count::Count;

/// The number of lines that are kept.
const KEPT: usize = 60;

/// The last lines that the programs of a part have printed. They are printed again below the counts if the part failed, so that they are not lost
/// in the output of the parts after it.
#[derive(Default)]
pub struct Transcript {
    kept: Mutex<VecDeque<String>>,
    /// If the part runs beside another one: its name, with which each of its lines begins.
    beside: Option<String>,
}

impl Transcript {
    pub fn new(beside: Option<String>) -> Self {
        Self { beside, ..Self::default() }
    }

    /// Runs a program, prints its lines, and adds up the counts that `read` finds in them.
    pub fn count_lines(&self, what: &str, command: &mut Command, read: fn(&str) -> Option<Count>) -> Result<Count> {
        let mut count = Count::default();
        let succeeded = self.print_lines(what, command, |line| {
            if let Some(found) = read(line) {
                count = count + found;
            }
        })?;
        if !succeeded && count.failed == 0 {
            print_error(format_args!("{what} failed although no test failed, see above"));
            count.failed = 1;
        }
        Ok(count)
    }

    /// Runs a program that is one test, and prints its lines.
    pub fn count_one(&self, what: &str, command: &mut Command) -> Result<Count> {
        let succeeded = self.print_lines(what, command, |_| {})?;
        Ok(Count { passed: succeeded.into(), failed: (!succeeded).into() })
    }

    /// Returns the kept lines, and deletes them.
    pub fn take(&self) -> Vec<String> {
        self.kept.lock().map(|mut lines| lines.drain(..).collect()).unwrap_or_default()
    }

    /// Runs a program. Prints and keeps each line, and passes it to `see`. Returns whether the program succeeded. If the part runs beside another
    /// one, this includes the lines of the standard error.
    fn print_lines(&self, what: &str, command: &mut Command, mut see: impl FnMut(&str) + Send) -> Result<bool> {
        let lines = if self.beside.is_some() { process::all_lines } else { process::lines };
        lines(what, command, &mut |line| {
            match &self.beside {
                Some(part) => say(format_args!("{part} | {line}")),
                None => say(line),
            }
            self.keep(line);
            see(line);
        })
    }

    fn keep(&self, line: &str) {
        if let Ok(mut lines) = self.kept.lock() {
            lines.push_back(line.to_owned());
            if lines.len() > KEPT {
                lines.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Count, KEPT, Transcript};

    fn bash(script: &str) -> Command {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]);
        bash
    }

    #[test]
    fn the_last_lines_of_a_failed_program_are_kept_once() {
        let transcript = Transcript::default();
        let count = transcript.count_one("bash", &mut bash("seq 100; exit 1")).unwrap();
        assert_eq!(count, Count { passed: 0, failed: 1 });
        let kept = transcript.take();
        assert_eq!((kept.len(), kept.last().map(String::as_str)), (KEPT, Some("100")));
        assert!(transcript.take().is_empty());
    }

    #[test]
    fn a_part_that_runs_beside_another_one_keeps_the_lines_of_both_outputs() {
        let transcript = Transcript::new(Some("package".to_owned()));
        let count =
            transcript.count_lines("bash", &mut bash("echo '2 passed, 0 failed'; echo why >&2"), Count::of_delivery);
        assert_eq!(count.unwrap(), Count { passed: 2, failed: 0 });
        assert_eq!(transcript.take(), ["2 passed, 0 failed", "why"]);
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_counts_as_a_failure() {
        let count = Transcript::default().count_lines("bash", &mut bash("exit 1"), Count::of_delivery).unwrap();
        assert_eq!(count, Count { passed: 0, failed: 1 });
    }
}
