//! The folder of one run: its data, its logs, and a note of every program it started. A lock says whether the run lives; what a
//! killed run left behind is cleared up by the next one.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use super::process::end_noted;
use crate::{
    console::say,
    interrupt::{self, GLANCE},
    workspace::Workspace,
};

pub struct Home {
    folder: PathBuf,
    /// The same run's folder on the machine's own disk, made when something cannot live in the checkout.
    outside: PathBuf,
    kept: bool,
    logs_shown: Arc<AtomicBool>,
    _lock: File,
}

impl Home {
    /// The home that stays: there is one, and one run at a time has it.
    pub fn kept(workspace: &Workspace) -> Result<Self> {
        let _turn = turn(&workspace.local(), ".turn")?;
        sweep(workspace)?;
        let (folder, outside) = (workspace.local(), workspace.outside().join("kept"));
        let Some(lock) = lock(&folder)? else {
            let owner = fs::read_to_string(folder.join("lock")).unwrap_or_default();
            bail!(
                "the local stack already runs from this folder (process {}). Stop it with Ctrl-C there, or start a second one \
                 with `cargo xtask up --ephemeral`",
                owner.trim()
            );
        };
        end_leftovers(&folder)?;
        _ = fs::remove_dir_all(folder.join("logs"));
        Self::furnish(Self { folder, outside, kept: true, logs_shown: Arc::default(), _lock: lock })
    }

    /// A home that goes away with its run.
    pub fn ephemeral(workspace: &Workspace) -> Result<Self> {
        let _turn = turn(&workspace.local(), ".turn")?;
        sweep(workspace)?;
        let homes = ephemeral_homes(workspace);
        for number in 0.. {
            let name = format!("{}-{number}", process::id());
            let folder = homes.join(&name);
            if folder.exists() {
                continue;
            }
            let lock = lock(&folder)?.context("somebody else took a folder that was just made")?;
            return Self::furnish(Self {
                folder,
                outside: workspace.outside().join(name),
                kept: false,
                logs_shown: Arc::default(),
                _lock: lock,
            });
        }
        unreachable!("there is always one more number")
    }

    fn furnish(self) -> Result<Self> {
        fs::create_dir_all(self.folder.join("logs"))?;
        fs::create_dir_all(self.folder.join("running"))?;
        Ok(self)
    }

    pub fn is_kept(&self) -> bool {
        self.kept
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn outside(&self) -> &Path {
        &self.outside
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    /// From now on, what the functions log appears on the terminal as well. While they start it is in the way.
    pub fn show_logs(&self) {
        self.logs_shown.store(true, Ordering::Relaxed);
    }

    pub fn logs_shown(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.logs_shown)
    }

    /// Where it is written down that a program runs.
    pub fn note(&self, name: &str) -> PathBuf {
        self.folder.join("running").join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.kept {
            _ = fs::remove_dir_all(&self.outside);
            _ = fs::remove_dir_all(&self.folder);
            // Only the last one to leave finds it empty.
            _ = self.folder.parent().map(fs::remove_dir);
            _ = self.outside.parent().map(fs::remove_dir);
        }
    }
}

fn ephemeral_homes(workspace: &Workspace) -> PathBuf {
    workspace.local().join("ephemeral")
}

/// Waits until nobody else has this file. Who needs it: making homes (a new one is not yet locked), installing tools.
pub fn turn(folder: &Path, name: &str) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let turn = File::create(folder.join(name))?;
    while matches!(turn.try_lock(), Err(TryLockError::WouldBlock)) {
        interrupt::sleep(GLANCE)?;
    }
    Ok(turn)
}

/// Takes the folder, or `None` if a living run has it.
fn lock(folder: &Path) -> Result<Option<File>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("lock");
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.set_len(0)?;
    write!(file, "{}", process::id())?;
    Ok(Some(file))
}

/// Clears up after ephemeral runs that were killed.
fn sweep(workspace: &Workspace) -> Result<()> {
    let Ok(homes) = fs::read_dir(ephemeral_homes(workspace)) else { return Ok(()) };
    for folder in homes.flatten().map(|home| home.path()) {
        let Some(lock) = lock(&folder)? else { continue };
        end_leftovers(&folder)?;
        let outside = workspace.outside().join(folder.file_name().unwrap_or_default());
        drop(Home { folder, outside, kept: false, logs_shown: Arc::default(), _lock: lock });
    }
    Ok(())
}

fn end_leftovers(folder: &Path) -> Result<()> {
    let Ok(notes) = fs::read_dir(folder.join("running")) else { return Ok(()) };
    let mut ended = Vec::new();
    for note in notes.flatten().map(|note| note.path()) {
        // PostgreSQL's "fast" shutdown; every other program here takes it for Ctrl-C.
        ended.extend(end_noted(&note, Signal::SIGINT)?);
    }
    if !ended.is_empty() {
        say(format_args!("Stopped what an earlier run left behind: {}", ended.join(", ")));
    }
    Ok(())
}
