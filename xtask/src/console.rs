//! What a person reads. A closed terminal is no error here: the chores must still stop what they started.

use std::{
    fmt::Display,
    io::{Write as _, stderr, stdout},
};

/// A line.
pub fn say(line: impl Display) {
    _ = writeln!(stdout().lock(), "{line}");
}

/// A line that announces something that takes a while.
pub fn step(line: impl Display) {
    say(format_args!("==> {line}"));
}

/// What went wrong, and what to do next.
pub fn complain(line: impl Display) {
    _ = writeln!(stderr().lock(), "\nerror: {line}");
}
