//! The result of a command that checks something.

use std::process::ExitCode;

use toolkit::console::{print_error, say};

/// The numbers of checks that passed and that failed.
#[derive(Clone, Copy, Default)]
pub struct Verdict {
    pub passed: u64,
    pub failed: u64,
}

impl Verdict {
    /// Counts a check and prints its result. The check passed if there are no problems.
    pub fn add(&mut self, check: &str, problems: impl IntoIterator<Item = String>) {
        let mut problems = problems.into_iter().peekable();
        if problems.peek().is_none() {
            self.passed += 1;
            return say(format_args!("ok: {check}"));
        }
        self.failed += 1;
        print_error(format_args!("failed: {check}"));
        problems.for_each(|problem| print_error(format_args!("  {problem}")));
    }

    /// Prints both numbers as the last line, which `cargo xtask test` reads. Returns a failure if a check failed.
    pub fn report(self) -> ExitCode {
        say(format_args!("\n{} passed, {} failed", self.passed, self.failed));
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
