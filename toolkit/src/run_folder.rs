//! The folder of one run of a command: its data, its logs, and a record of every program it started. A lock shows whether the run is
//! still alive. The next run stops and deletes what a killed run left behind.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::{console::say, file_lock, memory, process_tree::stop_recorded, workspace::Workspace};

/// The lock that a run holds while it creates and locks its folder. Otherwise another run could delete a new folder that is not locked yet.
const CREATION_LOCK: &str = ".turn";

/// The folder of a run.
pub struct RunFolder {
    path: PathBuf,
    /// A second folder outside the checkout, created when a program needs it.
    outside_checkout: PathBuf,
    /// A third folder, in memory, created when a program needs it.
    in_memory: PathBuf,
    kept: bool,
    logs_shown: Arc<AtomicBool>,
    _lock: File,
}

impl RunFolder {
    /// The folder whose data stays after the run. There is one per checkout, and one run at a time uses it.
    pub fn kept(workspace: &Workspace) -> Result<Self> {
        let _creating = file_lock::wait_for(&workspace.local(), CREATION_LOCK)?;
        remove_leftovers(workspace)?;
        let path = workspace.local();
        let Some(lock) = file_lock::try_folder(&path)? else {
            let owner = fs::read_to_string(path.join("lock")).unwrap_or_default();
            bail!(
                "the local stack already runs from this folder (process {}). Stop it with Ctrl-C there, or start a second one \
                 with `cargo xtask up --ephemeral`",
                owner.trim()
            );
        };
        stop_leftovers(&path)?;
        _ = fs::remove_dir_all(path.join("logs"));
        Self::new(workspace, path, "kept", true, lock).with_subfolders()
    }

    /// A new folder that is deleted at the end of the run.
    pub fn ephemeral(workspace: &Workspace) -> Result<Self> {
        let _creating = file_lock::wait_for(&workspace.local(), CREATION_LOCK)?;
        remove_leftovers(workspace)?;
        let parent = ephemeral_folders(workspace);
        for number in 0.. {
            let name = format!("{}-{number}", process::id());
            let path = parent.join(&name);
            if path.exists() {
                continue;
            }
            let lock =
                file_lock::try_folder(&path)?.context("another process locked a folder that was just created")?;
            return Self::new(workspace, path, &name, false, lock).with_subfolders();
        }
        unreachable!("there is always one more number")
    }

    fn new(workspace: &Workspace, path: PathBuf, name: &str, kept: bool, lock: File) -> Self {
        let (outside_checkout, in_memory) = (workspace.outside().join(name), workspace.in_memory().join(name));
        Self { path, outside_checkout, in_memory, kept, logs_shown: Arc::default(), _lock: lock }
    }

    fn with_subfolders(self) -> Result<Self> {
        fs::create_dir_all(self.path.join("logs"))?;
        fs::create_dir_all(self.path.join("running"))?;
        Ok(self)
    }

    /// Whether its data stays after the run.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder for what cannot be inside the checkout. The caller creates it.
    #[must_use]
    pub fn outside_checkout(&self) -> &Path {
        &self.outside_checkout
    }

    /// A folder in memory, for data that is not needed after the run. `None` if less than 2 GiB of memory are free. The caller creates it.
    #[must_use]
    pub fn in_memory(&self) -> Option<&Path> {
        const NEEDED: u64 = 2 * 1024 * 1024 * 1024;
        (memory::free()? >= NEEDED).then_some(&self.in_memory)
    }

    /// The log file of a program.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// From now on, log lines of functions also appear on the terminal. They are hidden while everything starts.
    pub fn show_logs(&self) {
        self.logs_shown.store(true, Ordering::Relaxed);
    }

    /// Whether log lines of functions appear on the terminal.
    #[must_use]
    pub fn logs_shown(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.logs_shown)
    }

    /// The file that records a running program.
    pub(crate) fn process_record(&self, name: &str) -> PathBuf {
        self.path.join("running").join(name)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if !self.kept {
            for folder in [&self.in_memory, &self.outside_checkout, &self.path] {
                _ = fs::remove_dir_all(folder);
                // The parent folder is removed only if it contains no other run's folder.
                _ = folder.parent().map(fs::remove_dir);
            }
        }
    }
}

/// Deletes the data in memory of runs whose folder in the checkout was deleted by hand.
fn remove_orphans_in_memory(workspace: &Workspace) {
    let runs = ephemeral_folders(workspace);
    for data in fs::read_dir(workspace.in_memory()).into_iter().flatten().flatten() {
        if !runs.join(data.file_name()).exists() {
            _ = fs::remove_dir_all(data.path());
        }
    }
}

fn ephemeral_folders(workspace: &Workspace) -> PathBuf {
    workspace.local().join("ephemeral")
}

/// Stops the programs and deletes the folders of ephemeral runs that were killed.
fn remove_leftovers(workspace: &Workspace) -> Result<()> {
    remove_orphans_in_memory(workspace);
    let Ok(folders) = fs::read_dir(ephemeral_folders(workspace)) else { return Ok(()) };
    for path in folders.flatten().map(|folder| folder.path()) {
        let Some(lock) = file_lock::try_folder(&path)? else { continue };
        stop_leftovers(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        drop(RunFolder::new(workspace, path, &name, false, lock));
    }
    Ok(())
}

fn stop_leftovers(folder: &Path) -> Result<()> {
    let Ok(records) = fs::read_dir(folder.join("running")) else { return Ok(()) };
    let mut stopped = Vec::new();
    for record in records.flatten().map(|record| record.path()) {
        // For PostgreSQL, SIGINT is a "fast" shutdown. The other programs handle it like Ctrl-C.
        stopped.extend(stop_recorded(&record, Signal::SIGINT)?);
    }
    if !stopped.is_empty() {
        say(format_args!("Stopped what an earlier run left behind: {}", stopped.join(", ")));
    }
    Ok(())
}
