//! Programs this one starts. Each gets a process group of its own, so that the terminal's Ctrl-C reaches only this program, which
//! then stops them in its own order, with everything they started themselves.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Read, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{home::Home, lineage};
use crate::{
    console::say,
    interrupt::{self, GLANCE},
};

/// How long a program may take to end when asked. PostgreSQL writes a checkpoint in that time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a program to its end, with its output on the terminal.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = wait(&mut start(what, command)?)?;
    if !status.success() {
        bail!("{what} failed ({status}); its own words are above");
    }
    Ok(())
}

/// Runs a program to its end and returns what it wrote to its standard output.
pub fn output(what: &str, command: &mut Command) -> Result<String> {
    let mut child = start(what, command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = wait(&mut child)?;
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().unwrap_or_default());
    if !status.success() {
        bail!("{what} failed ({status}): {}", stderr.trim());
    }
    Ok(stdout)
}

/// Runs a program to its end, hands each line of its standard output to `see`, and returns whether it succeeded.
pub fn lines(what: &str, command: &mut Command, mut see: impl FnMut(&str) + Send) -> Result<bool> {
    let mut child = start(what, command.stdout(Stdio::piped()))?;
    let stdout = child.stdout.take();
    thread::scope(|scope| {
        scope.spawn(move || each_line(stdout, |line| see(line)));
        Ok(wait(&mut child)?.success())
    })
}

fn start(what: &str, command: &mut Command) -> Result<Child> {
    interrupt::check()?;
    command.stdin(Stdio::null()).process_group(0).spawn().with_context(|| {
        format!("cannot start {what} ({}): is it installed and on the PATH?", command.get_program().display())
    })
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Err(interrupted) = interrupt::sleep(GLANCE) {
            end(child, Signal::SIGTERM);
            return Err(interrupted);
        }
    }
}

fn collect(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut from) = from {
            _ = from.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}

fn each_line(from: Option<impl Read>, mut see: impl FnMut(&str)) {
    let Some(from) = from else { return };
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        see(String::from_utf8_lossy(&line).trim_end_matches('\r'));
    }
}

/// A program that runs until it is told to stop, or until this value is dropped.
pub struct Service {
    pub name: String,
    child: Child,
    stop: Signal,
    pub log: PathBuf,
    note: PathBuf,
    started: Instant,
}

impl Service {
    /// Starts a program that writes to its log file.
    pub fn quiet(name: &str, command: &mut Command, home: &Home) -> Result<Self> {
        let log = home.log(name);
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        Self::start(name, command, home, log)
    }

    /// Starts a program that writes to the label's log file, and once the home shows its logs to the terminal, each line behind
    /// the label.
    pub fn talkative(name: &str, label: &str, command: &mut Command, home: &Home) -> Result<Self> {
        let log = home.log(label);
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut service = Self::start(name, command, home, log)?;
        relay(service.child.stdout.take(), label, file.try_clone()?, home);
        relay(service.child.stderr.take(), label, file, home);
        Ok(service)
    }

    fn start(name: &str, command: &mut Command, home: &Home, log: PathBuf) -> Result<Self> {
        let child = start(name, command)?;
        let note = home.note(name);
        let service = Self { name: name.into(), child, stop: Signal::SIGTERM, log, note, started: Instant::now() };
        // Should this program be killed, the next one finds the note and clears up.
        let id = service.child.id();
        fs::write(
            &service.note,
            format!("{id}\n{}\n", lineage::find(id).map(|process| process.birth).unwrap_or_default()),
        )?;
        Ok(service)
    }

    /// Asks it to end by this signal instead of SIGTERM.
    pub fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    pub fn exit(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// An error with the end of its log if it ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.exit()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself ({status}). {}", self.name, end_of_log(&self.log)),
        }
    }

    /// Waits until `ready`, as long as the program lives and the time is not over.
    pub fn await_ready(&mut self, time: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        while !ready() {
            self.check()?;
            if self.age() > time {
                bail!("{} is not ready after {} s. {}", self.name, time.as_secs(), end_of_log(&self.log));
            }
            interrupt::sleep(GLANCE)?;
        }
        Ok(())
    }
}

/// The last lines of a log file, with its name.
pub fn end_of_log(log: &Path) -> String {
    const LINES: usize = 15;
    // The last lines may still be in a pipe.
    thread::sleep(GLANCE);
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
    format!("The end of {}, which should say why:\n\n  {end}\n", log.display())
}

impl Drop for Service {
    fn drop(&mut self) {
        end(&mut self.child, self.stop);
        _ = fs::remove_file(&self.note);
    }
}

fn relay(from: Option<impl Read + Send + 'static>, label: &str, mut log: File, home: &Home) {
    let (label, shown) = (label.to_owned(), home.logs_shown());
    thread::spawn(move || {
        each_line(from, |line| {
            _ = writeln!(log, "{line}");
            if shown.load(Ordering::Relaxed) {
                say(format_args!("{label} | {line}"));
            }
        });
    });
}

/// Stops a child and everything it started: first politely, then for certain.
fn end(child: &mut Child, signal: Signal) {
    // Once it has ended, its id may be somebody else's.
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let id = child.id();
    let groups = lineage::groups(id);
    _ = killpg(leader(id), signal);
    let asked = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && asked.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    kill(&groups);
    _ = killpg(leader(id), Signal::SIGKILL);
    _ = child.wait();
}

/// Stops the program a note tells of, if it is still the same one, and removes the note; returns the program's name.
pub fn end_noted(note: &Path, signal: Signal) -> Result<Option<String>> {
    let text = fs::read_to_string(note)?;
    let (id, birth) = text.trim_end().split_once('\n').unwrap_or_default();
    let id = id.parse().unwrap_or(0);
    let lives = || lineage::find(id).is_some_and(|process| process.birth == birth);
    let ended = lives();
    if ended {
        let groups = lineage::groups(id);
        _ = killpg(leader(id), signal);
        let asked = Instant::now();
        while lives() && asked.elapsed() < PATIENCE {
            interrupt::sleep(GLANCE)?;
        }
        kill(&groups);
    }
    fs::remove_file(note)?;
    Ok(ended.then(|| note.file_name().unwrap_or_default().to_string_lossy().into_owned()))
}

fn kill(groups: &HashSet<Pid>) {
    for group in groups {
        _ = killpg(*group, Signal::SIGKILL);
    }
}

/// The group that a program of ours leads.
fn leader(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}
