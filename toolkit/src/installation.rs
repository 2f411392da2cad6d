//! Installs pinned tools for Python, Node.js and Rust, each into a folder of its own below `.tools/`. A tool is installed when it is
//! first needed, and again when its pin file changes.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    console::step,
    file_lock,
    process::run,
    system::{self, Prerequisite},
    workspace::{Workspace, cargo, remove_cargo_variables},
};

const NETWORK: &str = "check the network connection, then try again";

/// Installs what a requirements file pins into a virtual environment of Python. Returns the environment's folder `bin`. `options` go
/// to `pip install`.
pub fn python(workspace: &Workspace, name: &str, pins: &Path, options: &[&str]) -> Result<PathBuf> {
    let folder = workspace.tools().join(name);
    let pins = workspace.root.join(pins);
    install(&workspace.tools(), name, &[&pins], |folder| {
        system::require(&[Prerequisite::Python])?;
        let python = system::python().unwrap_or("python3");
        run("python3 -m venv", Command::new(python).args(["-m", "venv"]).arg(folder)).context(
            "cannot create a virtual environment. On Debian and Ubuntu: apt install python3-venv; then try again",
        )?;
        let mut pip = Command::new(folder.join("bin/python"));
        // Python compiles the modules that it imports. Without this option, pip compiles all of them, which is more than a third of its time.
        pip.args(["-m", "pip", "install", "--no-compile", "--quiet", "--disable-pip-version-check"]);
        pip.args(options).arg("-r").arg(&pins);
        run("pip install", &mut pip).context(NETWORK)
    })?;
    Ok(folder.join("bin"))
}

/// Installs a program with `cargo install`, in the version that its pin file contains. Returns a command that runs it at the root of
/// the checkout.
pub fn cargo_program(workspace: &Workspace, name: &str, pin: &Path) -> Result<Command> {
    let pin = workspace.root.join(pin);
    install(&workspace.tools(), name, &[&pin], |folder| {
        let mut install = cargo();
        install.args(["install", name, "--quiet", "--locked", "--version", fs::read_to_string(&pin)?.trim()]);
        run("cargo install", install.arg("--root").arg(folder)).context(NETWORK)
    })?;
    let mut command = Command::new(workspace.tools().join(name).join("bin").join(name));
    remove_cargo_variables(&mut command);
    command.current_dir(&workspace.root);
    Ok(command)
}

/// Installs the packages of the package-lock.json in the folder `pins` into a folder below `tools`. Returns this folder, in which
/// Node.js finds the packages.
pub fn node(workspace: &Workspace, tools: &Path, name: &str, pins: &Path) -> Result<PathBuf> {
    let [package, lock] = ["package.json", "package-lock.json"].map(|file| workspace.root.join(pins).join(file));
    install(tools, name, &[&package, &lock], |folder| {
        system::require(&[Prerequisite::Node])?;
        fs::create_dir_all(folder)?;
        fs::copy(&package, folder.join("package.json"))?;
        fs::copy(&lock, folder.join("package-lock.json"))?;
        // Scripts of packages would run as this user, and no package here needs its scripts.
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error"])
            .current_dir(folder);
        run("npm ci", &mut npm).context(NETWORK)
    })?;
    Ok(tools.join(name))
}

/// The PATH with these folders in front.
#[must_use]
pub fn path_with(folders: impl IntoIterator<Item = PathBuf>) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(folders.into_iter().chain(env::split_paths(&path))).unwrap_or(path)
}

/// Deletes the tool's folder, and runs `install`, which creates it again. Does nothing if the folder was installed from the same pins.
fn install(tools: &Path, name: &str, pins: &[&Path], install: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let _lock = file_lock::wait_for(tools, &format!(".{name}.turn"))?;

    let folder = tools.join(name);
    let mut wanted = format!("{}\n", folder.display());
    for pin in pins {
        wanted += &fs::read_to_string(pin).with_context(|| format!("cannot read {}", pin.display()))?;
    }
    let installed = folder.join(".installed");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    step(format_args!("Installing {name} into {}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    install(&folder).with_context(|| format!("{name} could not be installed"))?;
    fs::write(installed, wanted)?;
    Ok(())
}
