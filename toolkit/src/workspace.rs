//! The checkout: where things are, and which functions it has.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{memory, process};

/// A checkout of this project.
pub struct Workspace {
    /// Its top folder.
    pub root: PathBuf,
    target: PathBuf,
    /// The binaries of the packages below `functions/`, in alphabetical order.
    pub functions: Vec<String>,
}

impl Workspace {
    /// Asks cargo about the checkout in the current folder.
    pub fn load() -> Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--no-deps", "--format-version=1"]);
        let metadata: Value = serde_json::from_str(&process::output("cargo metadata", &mut command)?)?;

        let path = |key: &str| metadata[key].as_str().map(PathBuf::from).context("cargo metadata lacks a path");
        let (root, target) = (path("workspace_root")?, path("target_directory")?);
        let mut functions: Vec<String> = list(&metadata["packages"])
            .filter(|package| {
                package["manifest_path"]
                    .as_str()
                    .is_some_and(|path| Path::new(path).starts_with(root.join("functions")))
            })
            .flat_map(|package| list(&package["targets"]))
            .filter(|target| list(&target["kind"]).any(|kind| kind == "bin"))
            .filter_map(|target| target["name"].as_str().map(String::from))
            .collect();
        functions.sort();
        if functions.is_empty() {
            bail!("found no function below {}: run this inside the project", root.join("functions").display());
        }
        Ok(Self { root, target, functions })
    }

    /// The folder of installed tools.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }

    /// The folder for data, logs and secrets of the local stack.
    #[must_use]
    pub fn local(&self) -> PathBuf {
        self.root.join(".local")
    }

    /// A program of the debug build.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// A program of the release build.
    #[must_use]
    pub fn release_binary(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// The zip file of a function, which `cargo lambda build` creates.
    #[must_use]
    pub fn package(&self, function: &str) -> PathBuf {
        self.target.join("lambda").join(function).join("bootstrap.zip")
    }

    /// The folder for the files of a release.
    #[must_use]
    pub fn release(&self) -> PathBuf {
        self.target.join("delivery")
    }

    /// A folder outside the checkout. Each checkout has its own.
    #[must_use]
    pub fn outside(&self) -> PathBuf {
        PathBuf::from(format!("/var/tmp/jwt-auth-{}", fingerprint(self.root.as_os_str().as_encoded_bytes())))
    }

    /// A folder in memory, on Linux. Each checkout has its own.
    pub(crate) fn in_memory(&self) -> PathBuf {
        Path::new(memory::FOLDER).join(self.outside().file_name().unwrap_or_default())
    }

    /// Builds functions for debugging. Without `--package`, their dependencies have the features of a build of the whole workspace, as those of `xtask`
    /// have. So each is compiled once.
    pub fn build(&self, functions: &[String]) -> Result<()> {
        let mut command = cargo();
        command.current_dir(&self.root).arg("build").args(functions.iter().flat_map(|name| ["--bin", name]));
        process::run("cargo build", &mut command)
    }
}

/// A hash in hexadecimal (FNV-1a), which does not depend on the compiler that built this program.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// The `cargo` that runs this program.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    remove_cargo_variables(&mut command);
    command
}

/// Removes the variables that `cargo run` sets about this package. Build scripts that depend on them would run again every time.
pub fn remove_cargo_variables(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
