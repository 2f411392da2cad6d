//! Programs that run to their end. Each one gets a process group of its own, so that Ctrl-C in the terminal reaches only the program that started
//! them (such as `xtask`). That program then stops them in the right order, with everything they started.

use std::{
    io::{self, BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::{
    interrupt::{self, POLL_INTERVAL},
    process_tree,
};

/// Runs a program to its end, with its output on the terminal. Returns an error if it fails. `what` names the program in errors.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = wait(&mut start(what, command)?)?;
    if !status.success() {
        bail!("{what} failed ({status}). Its own messages are above");
    }
    Ok(())
}

/// Runs a program to its end and returns its standard output. Returns an error with its standard error if it fails.
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

/// Runs a program to its end, passes each line of its standard output to `see`, and returns whether it succeeded.
pub fn lines(what: &str, command: &mut Command, see: &mut (dyn FnMut(&str) + Send)) -> Result<bool> {
    let mut child = start(what, command.stdout(Stdio::piped()))?;
    let stdout = child.stdout.take();
    thread::scope(|scope| {
        scope.spawn(move || each_line(stdout, see));
        Ok(wait(&mut child)?.success())
    })
}

/// Does the same as [`lines`] with the lines of both the standard output and the standard error.
pub fn all_lines(what: &str, command: &mut Command, see: &mut (dyn FnMut(&str) + Send)) -> Result<bool> {
    let (reader, writer) = io::pipe()?;
    let child = start(what, command.stdout(writer.try_clone()?).stderr(writer));
    // The command must not keep the pipe open, else its end would never come.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child?;
    thread::scope(|scope| {
        scope.spawn(move || each_line(Some(reader), see));
        Ok(wait(&mut child)?.success())
    })
}

/// Starts a program in a process group of its own, without a standard input.
pub(crate) fn start(what: &str, command: &mut Command) -> Result<Child> {
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
        if let Err(interrupted) = interrupt::sleep(POLL_INTERVAL) {
            process_tree::stop(child, Signal::SIGTERM);
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

/// Passes each line to `see`, until the end of the stream. Bytes that are not UTF-8 are replaced.
pub(crate) fn each_line(from: Option<impl Read>, mut see: impl FnMut(&str)) {
    let Some(from) = from else { return };
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        see(String::from_utf8_lossy(&line).trim_end_matches('\r'));
    }
}
