//! Locks between processes. Each lock is a file that a process locks. The system releases it when the process ends or is killed.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    path::Path,
    process,
};

use anyhow::{Context as _, Result};

use crate::interrupt::{self, POLL_INTERVAL};

/// Waits until no other process holds the lock, and takes it. The lock lasts as long as the returned file is open.
pub fn wait_for(folder: &Path, name: &str) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(name);
    let file = File::create(&path)?;
    while !try_lock(&file, &path)? {
        interrupt::sleep(POLL_INTERVAL)?;
    }
    Ok(file)
}

/// Takes the lock of a folder and writes this process's id into the file `lock`. Returns `None` if another process holds the lock.
pub fn try_folder(folder: &Path) -> Result<Option<File>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("lock");
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
    if !try_lock(&file, &path)? {
        return Ok(None);
    }
    file.set_len(0)?;
    write!(file, "{}", process::id())?;
    Ok(Some(file))
}

/// Returns `false` if another process holds the lock.
fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}
