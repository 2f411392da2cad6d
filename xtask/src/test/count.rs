//! The numbers of passed and failed tests, and how to read them from the output of test programs.

use std::ops::Add;

/// The numbers of passed and failed tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
}

impl Count {
    /// Reads "test result: ok. 12 passed; 0 failed; 1 ignored; …", a line that `cargo test` prints for each program.
    pub fn of_cargo_test(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let number = |of| counts.split("; ").find_map(|part| part.strip_suffix(of)?.trim().parse().ok());
        Some(Self { passed: number("passed")?, failed: number("failed")? })
    }

    /// Reads "12 passed, 0 failed", a line that `cargo delivery` prints at the end.
    pub fn of_delivery(line: &str) -> Option<Self> {
        let (passed, failed) = line.split_once(", ")?;
        let number = |text: &str, of| text.strip_suffix(of)?.parse().ok();
        Some(Self { passed: number(passed, " passed")?, failed: number(failed, " failed")? })
    }
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn the_result_lines_of_cargo_test_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(Count::of_cargo_test(line), Some(Count { passed: 12, failed: 3 }));
        assert_eq!(Count::of_cargo_test("test result_lines ... ok"), None);
    }

    #[test]
    fn the_result_line_of_cargo_delivery_is_read() {
        assert_eq!(Count::of_delivery("12 passed, 3 failed"), Some(Count { passed: 12, failed: 3 }));
        assert_eq!(Count::of_delivery("stack: 12 passed, 3 failed"), None);
    }
}
