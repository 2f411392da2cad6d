//! The system's processes: which began when, and which one started which.

use std::{collections::HashSet, fs, path::Path, process::Command};

use nix::unistd::Pid;

use super::process::output;

pub struct Process {
    id: i32,
    parent: i32,
    group: i32,
    /// When it began, in whatever words the system has for it: together with the id it names one process for ever.
    pub birth: String,
}

/// A process that lives.
pub fn find(id: u32) -> Option<Process> {
    if proc_is_there() {
        in_proc(&id.to_string())
    } else {
        all().into_iter().find(|process| process.id.cast_unsigned() == id)
    }
}

/// The process groups of a process and of everything it started, itself or by others: browsers make groups of their own.
pub fn groups(id: u32) -> HashSet<Pid> {
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
    // Never this program's own group: a child that has not yet left it.
    let own = nix::unistd::getpgrp();
    all.iter()
        .filter(|process| family.contains(&process.id))
        .map(|process| Pid::from_raw(process.group))
        .filter(|group| *group != own && group.as_raw() > 1)
        .collect()
}

fn all() -> Vec<Process> {
    if proc_is_there() {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        return entries.filter_map(|entry| in_proc(entry.file_name().to_str()?)).collect();
    }
    let table = output("ps", Command::new("ps").args(["-A", "-o", "pid=,ppid=,pgid=,lstart="])).unwrap_or_default();
    let process = |line: &str| {
        let mut words = line.split_whitespace();
        let mut number = || words.next()?.parse().ok();
        let (id, parent, group) = (number()?, number()?, number()?);
        Some(Process { id, parent, group, birth: words.collect::<Vec<_>>().join(" ") })
    };
    table.lines().filter_map(process).collect()
}

fn proc_is_there() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn in_proc(id: &str) -> Option<Process> {
    let id = id.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // "id (name) state parent group …", where the name may hold anything, and the time of birth is the 22nd.
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let [state, parent, group, ..] = words.as_slice() else { return None };
    (*state != "Z").then_some(())?;
    Some(Process { id, parent: parent.parse().ok()?, group: group.parse().ok()?, birth: (*words.get(19)?).to_owned() })
}

#[cfg(test)]
mod tests {
    use std::process;

    #[test]
    fn this_very_process_is_alive_and_was_born_once() {
        let [first, again] = [(); 2].map(|()| super::find(process::id()).expect("alive"));
        assert_eq!(first.birth, again.birth);
        assert!(super::find(u32::MAX >> 1).is_none());
    }
}
