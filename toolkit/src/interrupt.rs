//! Ctrl-C, SIGTERM and a closed terminal have the same meaning: stop what was started, then end. The signal handler only sets a flag.
//! Every wait checks the flag and returns [`Interrupted`], so that destructors stop the programs.

use std::{
    fmt,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::console::{print_error, say};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The time between two checks of a wait.
pub const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// The error of a command that was asked to stop.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Runs a command until it ends or is interrupted. Prints its error, and returns the exit code of the program: 130 after an
/// interruption, as shells expect.
pub fn run_command(command: impl FnOnce() -> Result<ExitCode>) -> ExitCode {
    match listen().and_then(|()| command()) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            say("Interrupted; everything is stopped.");
            ExitCode::from(130)
        }
        Err(error) => {
            print_error(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn listen() -> Result<()> {
    ctrlc::set_handler(|| REQUESTED.store(true, Ordering::Relaxed)).context("cannot listen for Ctrl-C")
}

/// Returns [`Interrupted`] once a stop was requested.
pub fn check() -> Result<()> {
    if REQUESTED.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
}

/// Sleeps, and returns [`Interrupted`] as soon as a stop is requested.
pub fn sleep(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        check()?;
        thread::sleep(POLL_INTERVAL.min(time));
    }
    check()
}
