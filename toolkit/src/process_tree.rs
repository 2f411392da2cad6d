//! The processes of this machine: when each one started, which process started it, and how to stop one with everything it started.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, getpgrp},
};

use crate::interrupt::{self, POLL_INTERVAL};

/// How long a program may take to end after the first signal. PostgreSQL needs this time for a checkpoint.
const TIME_TO_END: Duration = Duration::from_secs(10);

struct Process {
    id: i32,
    parent: i32,
    group: i32,
    /// The start time in the system's own notation. A process id is reused; id and start time together are unique.
    started: String,
}

/// Writes down a running process, for [`stop_recorded`].
pub fn record(file: &Path, id: u32) -> Result<()> {
    let started = find(id).map(|process| process.started).unwrap_or_default();
    Ok(fs::write(file, format!("{id}\n{started}\n"))?)
}

/// Stops the process that [`record`] wrote down, if it still runs, and removes the file. Returns the file's name if it stopped one.
pub fn stop_recorded(file: &Path, signal: Signal) -> Result<Option<String>> {
    let text = fs::read_to_string(file)?;
    let (id, started) = text.trim_end().split_once('\n').unwrap_or_default();
    let id = id.parse().unwrap_or(0);
    let runs = || find(id).is_some_and(|process| process.started == started);
    let stopped = runs();
    if stopped {
        let groups = groups(id);
        _ = killpg(led_by(id), signal);
        let asked = Instant::now();
        while runs() && asked.elapsed() < TIME_TO_END {
            interrupt::sleep(POLL_INTERVAL)?;
        }
        kill(&groups);
    }
    fs::remove_file(file)?;
    Ok(stopped.then(|| file.file_name().unwrap_or_default().to_string_lossy().into_owned()))
}

/// Stops a child process and everything it started. Sends `signal` to the child's process group. After the child has ended, or after
/// ten seconds, sends SIGKILL to what still runs. The child must lead its group. If it has already ended, only this group is stopped.
pub fn stop(child: &mut Child, signal: Signal) {
    let id = child.id();
    if !matches!(child.try_wait(), Ok(None)) {
        // The system gives the child's id to a new process only after the child's group is empty. So if a process has this id, a group with this id
        // is not the child's.
        if find(id).is_none() {
            _ = killpg(led_by(id), Signal::SIGKILL);
        }
        return;
    }
    let groups = groups(id);
    _ = killpg(led_by(id), signal);
    let asked = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && asked.elapsed() < TIME_TO_END {
        thread::sleep(Duration::from_millis(5));
    }
    kill(&groups);
    _ = killpg(led_by(id), Signal::SIGKILL);
    _ = child.wait();
}

fn kill(groups: &HashSet<Pid>) {
    for group in groups {
        _ = killpg(*group, Signal::SIGKILL);
    }
}

/// The process group that a process leads.
fn led_by(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}

/// The running process with this id.
fn find(id: u32) -> Option<Process> {
    if has_proc() {
        read_proc(&id.to_string())
    } else {
        all().into_iter().find(|process| process.id.cast_unsigned() == id)
    }
}

/// The process groups of a process and of all its descendants. Browsers make groups of their own, so one group is not enough.
fn groups(id: u32) -> HashSet<Pid> {
    let all = all();
    let mut family = HashSet::from([id.cast_signed()]);
    loop {
        let before = family.len();
        family.extend(
            all.iter().filter(|process| family.contains(&process.parent)).map(|process| process.id).collect::<Vec<_>>(),
        );
        if family.len() == before {
            break;
        }
    }
    // A child that was just started may still be in this program's own group, which must not be killed.
    let own = getpgrp();
    all.iter()
        .filter(|process| family.contains(&process.id))
        .map(|process| Pid::from_raw(process.group))
        .filter(|group| *group != own && group.as_raw() > 1)
        .collect()
}

fn all() -> Vec<Process> {
    if has_proc() {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        return entries.filter_map(|entry| read_proc(entry.file_name().to_str()?)).collect();
    }
    let table = Command::new("ps").args(["-A", "-o", "pid=,ppid=,pgid=,lstart="]).output();
    let table = table.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let process = |line: &str| {
        let mut words = line.split_whitespace();
        let mut number = || words.next()?.parse().ok();
        let (id, parent, group) = (number()?, number()?, number()?);
        Some(Process { id, parent, group, started: words.collect::<Vec<_>>().join(" ") })
    };
    table.lines().filter_map(process).collect()
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn read_proc(id: &str) -> Option<Process> {
    let id = id.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // "id (name) state parent group …". The name may contain any character. The start time is the 22nd field.
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let [state, parent, group, ..] = words.as_slice() else { return None };
    (*state != "Z").then_some(())?;
    Some(Process {
        id,
        parent: parent.parse().ok()?,
        group: group.parse().ok()?,
        started: (*words.get(19)?).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::unix::process::CommandExt as _,
        process::{self, Command, Stdio},
        thread,
        time::{Duration, Instant},
    };

    use nix::sys::signal::Signal;

    #[test]
    fn what_a_child_started_is_stopped_even_if_the_child_has_already_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 > /dev/null & echo $!"]).process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().expect("sh starts");
        let mut started = String::new();
        child.stdout.take().expect("a pipe").read_to_string(&mut started).expect("the id of sleep");
        child.wait().expect("sh ends");
        let started = started.trim().parse().expect("an id");
        assert!(super::find(started).is_some());
        super::stop(&mut child, Signal::SIGTERM);
        let stopped = Instant::now();
        while super::find(started).is_some() {
            assert!(stopped.elapsed() < Duration::from_secs(5), "sleep still runs");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_running_process_is_found_with_a_start_time_that_does_not_change() {
        let [first, again] = [(); 2].map(|()| super::find(process::id()).expect("this process runs"));
        assert_eq!(first.started, again.started);
        assert!(super::find(u32::MAX >> 1).is_none());
    }
}
