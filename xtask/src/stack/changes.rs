//! Detects changes of the functions' code and settings.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Result;
use toolkit::{interrupt, workspace::Workspace};

use super::settings::Settings;

/// The time between two checks. Each check reads the modification times of all files.
const INTERVAL: Duration = Duration::from_millis(500);

/// What changed.
pub enum Change {
    Settings,
    Code,
}

/// The modification times of all files on which the running functions depend, as of the last check.
pub struct Changes<'a> {
    workspace: &'a Workspace,
    binaries: BTreeMap<String, Option<SystemTime>>,
    sources: u64,
    settings: Option<SystemTime>,
    last_check: Instant,
}

impl<'a> Changes<'a> {
    pub fn new(workspace: &'a Workspace, settings: &Settings, functions: &[String]) -> Self {
        let binaries = functions.iter().map(|name| (name.clone(), modified(&workspace.binary(name)))).collect();
        let (sources, settings) = (sources(workspace), modified(settings.path()));
        Self { workspace, binaries, sources, settings, last_check: Instant::now() }
    }

    /// Returns what changed since the last call. `None` if nothing changed.
    pub fn check(&mut self, settings: &Settings) -> Result<Option<Change>> {
        if self.last_check.elapsed() < INTERVAL {
            return Ok(None);
        }
        self.last_check = Instant::now();
        let settings = modified(settings.path());
        if settings != self.settings {
            self.settings = settings;
            return Ok(Some(Change::Settings));
        }
        if sources(self.workspace) != self.sources {
            self.sources = settled_sources(self.workspace)?;
            return Ok(Some(Change::Code));
        }
        Ok(None)
    }

    /// Returns the functions whose binaries changed since the last call.
    pub fn rebuilt(&mut self) -> Vec<String> {
        let mut rebuilt = Vec::new();
        for (name, before) in &mut self.binaries {
            let now = modified(&self.workspace.binary(name));
            if now != *before {
                *before = now;
                rebuilt.push(name.clone());
            }
        }
        rebuilt
    }
}

/// A hash of the modification times of the code and of the build's settings.
fn sources(workspace: &Workspace) -> u64 {
    let mut hasher = DefaultHasher::new();
    for name in ["functions", "shared", "migrations", "Cargo.toml", "Cargo.lock"] {
        hash_times(&workspace.root.join(name), &mut hasher);
    }
    hasher.finish()
}

/// Waits until no file changes any more, because an editor may write several files one after the other. Then returns [`sources`].
fn settled_sources(workspace: &Workspace) -> Result<u64> {
    let mut before = sources(workspace);
    loop {
        interrupt::sleep(Duration::from_millis(200))?;
        let now = sources(workspace);
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

fn hash_times(path: &Path, hasher: &mut DefaultHasher) {
    if let Ok(entries) = fs::read_dir(path) {
        let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for entry in &entries {
            hash_times(entry, hasher);
        }
    } else {
        (path, modified(path)).hash(hasher);
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
