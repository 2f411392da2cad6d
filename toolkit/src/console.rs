//! Lines on the terminal. A failed write is ignored: when the terminal is closed, a command must still stop what it started.

use std::{
    fmt::Display,
    io::{Write as _, stderr, stdout},
};

/// Prints a line to the standard output.
pub fn say(line: impl Display) {
    _ = writeln!(stdout().lock(), "{line}");
}

/// Prints a line that announces a step which takes a while.
pub fn step(line: impl Display) {
    say(format_args!("==> {line}"));
}

/// Prints an error to the standard error. The text says what went wrong and what to do next.
pub fn print_error(line: impl Display) {
    _ = writeln!(stderr().lock(), "\nerror: {line}");
}
