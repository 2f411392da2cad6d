//! Programs that run in the background, such as a database server.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use crate::{
    console::say,
    interrupt::{self, POLL_INTERVAL},
    process, process_tree,
    run_folder::RunFolder,
};

/// A program that runs until this value is dropped.
pub struct Service {
    /// Its name in messages.
    pub name: String,
    child: Child,
    stop_signal: Signal,
    /// The file that contains its output.
    pub log: PathBuf,
    record: PathBuf,
    started: Instant,
}

impl Service {
    /// Starts a program whose output goes to its log file.
    pub fn with_log_file(name: &str, command: &mut Command, run_folder: &RunFolder) -> Result<Self> {
        let log = run_folder.log(name);
        let file = open_log(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        Self::start(name, command, run_folder, log)
    }

    /// Starts a program whose output goes to the log file of `label`. After [`RunFolder::show_logs`] each line also appears on the
    /// terminal, with the label in front.
    pub fn with_shown_log(name: &str, label: &str, command: &mut Command, run_folder: &RunFolder) -> Result<Self> {
        let log = run_folder.log(label);
        let file = open_log(&log)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut service = Self::start(name, command, run_folder, log)?;
        copy_lines(service.child.stdout.take(), label, file.try_clone()?, run_folder);
        copy_lines(service.child.stderr.take(), label, file, run_folder);
        Ok(service)
    }

    fn start(name: &str, command: &mut Command, run_folder: &RunFolder, log: PathBuf) -> Result<Self> {
        let child = process::start(name, command)?;
        let record = run_folder.process_record(name);
        let service =
            Self { name: name.into(), child, stop_signal: Signal::SIGTERM, log, record, started: Instant::now() };
        // If this program is killed, the next run finds the record and stops the process.
        process_tree::record(&service.record, service.child.id())?;
        Ok(service)
    }

    /// Sets the signal that stops the program. The default is SIGTERM.
    #[must_use]
    pub fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// The exit status, once the program has ended.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The time since it was started.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns an error with the end of its log if the program has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.exit_status()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself ({status}). {}", self.name, end_of_log(&self.log)),
        }
    }

    /// Waits until `ready` returns true. Returns an error if the program ends first, or if it takes longer than `time`.
    pub fn await_ready(&mut self, time: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        while !ready() {
            self.check()?;
            if self.age() > time {
                bail!("{} is not ready after {} s. {}", self.name, time.as_secs(), end_of_log(&self.log));
            }
            interrupt::sleep(POLL_INTERVAL)?;
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        process_tree::stop(&mut self.child, self.stop_signal);
        _ = fs::remove_file(&self.record);
    }
}

/// The last lines of a log file with its name, for an error message.
#[must_use]
pub fn end_of_log(log: &Path) -> String {
    const LINES: usize = 15;
    // The last lines may still be in a pipe.
    thread::sleep(POLL_INTERVAL);
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
    format!("The end of {}, which should say why:\n\n  {end}\n", log.display())
}

fn open_log(path: &Path) -> Result<File> {
    Ok(OpenOptions::new().create(true).append(true).open(path)?)
}

fn copy_lines(from: Option<impl Read + Send + 'static>, label: &str, mut log: File, run_folder: &RunFolder) {
    let (label, shown) = (label.to_owned(), run_folder.logs_shown());
    thread::spawn(move || {
        process::each_line(from, |line| {
            _ = writeln!(log, "{line}");
            if shown.load(Ordering::Relaxed) {
                say(format_args!("{label} | {line}"));
            }
        });
    });
}
