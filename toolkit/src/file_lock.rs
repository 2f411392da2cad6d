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
    let file = File::create(folder.join(name))?;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        interrupt::sleep(POLL_INTERVAL)?;
    }
    Ok(file)
}

/// Takes the lock of a folder and writes this process's id into the file `lock`. Returns `None` if another process holds the lock.
pub fn try_folder(folder: &Path) -> Result<Option<File>> {
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
