//! Where things are in this checkout, and which functions it has.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::stack::process;

pub struct Workspace {
    pub root: PathBuf,
    target: PathBuf,
    /// The binaries of the packages below `functions/`, in alphabetical order.
    pub functions: Vec<String>,
}

impl Workspace {
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

    /// Pinned tools, installed on demand.
    pub fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }

    /// Data, logs and secrets of the local stack.
    pub fn local(&self) -> PathBuf {
        self.root.join(".local")
    }

    /// The pin files of the tools.
    pub fn pins(&self) -> PathBuf {
        self.root.join("xtask/tools")
    }

    pub fn binary(&self, function: &str) -> PathBuf {
        self.target.join("debug").join(function)
    }

    /// Where `cargo lambda build` leaves a function's zip.
    pub fn package(&self, function: &str) -> PathBuf {
        self.target.join("lambda").join(function).join("bootstrap.zip")
    }

    /// Where what a release carries is put together.
    pub fn delivery(&self) -> PathBuf {
        self.target.join("delivery")
    }

    /// A folder on the machine's own disk for what cannot live in the checkout, told apart by the checkout's path.
    pub fn outside(&self) -> PathBuf {
        PathBuf::from(format!("/var/tmp/jwt-auth-{}", fingerprint(self.root.as_os_str().as_encoded_bytes())))
    }

    /// Builds functions, in one command, so that cargo settles the features of shared dependencies once.
    pub fn build(&self, functions: &[String]) -> Result<()> {
        let mut command = cargo();
        command.current_dir(&self.root).args(["build", "--bins"]);
        command.args(functions.iter().flat_map(|name| ["--package", name]));
        process::run("cargo build", &mut command)
    }
}

/// FNV-1a: it must be the same tomorrow, whatever compiler builds this.
pub fn fingerprint(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// The cargo that runs this.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    outside_of_cargo_run(&mut command);
    command
}

/// Hides what `cargo run` says about this very package: build scripts that look at it would be run again and again.
pub fn outside_of_cargo_run(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
