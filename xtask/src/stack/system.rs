//! Programs that come with the operating system. Where root is missing one on Debian or Ubuntu it is installed; anybody else is told
//! what to install.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Result, bail};
use nix::unistd::Uid;

use super::process::run;
use crate::console::step;

pub fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Sees to it that something is `there`, which these packages bring.
pub fn ensure(there: impl Fn() -> bool, packages: &[&str], advice: &str) -> Result<()> {
    if there() {
        return Ok(());
    }
    if !Uid::effective().is_root() || on_path("apt-get").is_none() {
        bail!("{advice}");
    }
    let names = packages.join(" and ");
    step(format_args!("Installing {names} with apt-get"));
    let apt = |arguments: &[&str]| {
        run("apt-get", Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq"], packages].concat())?;
    if there() { Ok(()) } else { bail!("apt-get installed {names}, and yet: {advice}") }
}
