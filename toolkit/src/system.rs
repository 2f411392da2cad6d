//! Programs of the operating system that commands need. If root runs a command on Debian or Ubuntu, missing programs are
//! installed with apt-get. Otherwise one error lists all missing programs.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Result, bail};
use nix::unistd::Uid;

use crate::{
    console::step,
    process::{output, run},
};

/// The variable with the URL of a DynamoDB Local that is already running, for example in Docker. Version 1.25 or later is necessary.
pub const DYNAMODB_LOCAL_URL: &str = "DYNAMODB_LOCAL_URL";

/// A program, or a group of programs, that a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prerequisite {
    /// A C compiler.
    Compiler,
    /// curl.
    Curl,
    /// Python with the module venv.
    Python,
    /// Node.js with npm.
    Node,
    /// Java, for DynamoDB Local.
    Java,
    /// A browser with chromedriver.
    Browser,
    /// The programs that the tests `faults` use.
    Faults,
    /// The programs that `cargo xtask bench` uses.
    Bench,
}

impl Prerequisite {
    const fn description(self) -> &'static str {
        match self {
            Self::Compiler => "a C compiler (cc)",
            Self::Curl => "curl",
            Self::Python => "Python 3.10 or later, with its module venv",
            Self::Node => {
                "Node.js 20.19 or later, with npm (Debian 12 and Ubuntu 24.04 package an older version: \
                 get a newer one from https://nodejs.org)"
            }
            Self::Java => {
                "Java 17 or later, for DynamoDB Local (or set DYNAMODB_LOCAL_URL to a DynamoDB Local that is already running)"
            }
            Self::Browser => "Chromium or Chrome, with its chromedriver, for the tests `browser`",
            Self::Faults => "PgBouncer, libfaketime and libnss-wrapper, for the tests `faults`",
            Self::Bench => "gzip, openssl and taskset (util-linux), for `cargo xtask bench`",
        }
    }

    /// The packages of Debian and Ubuntu.
    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Compiler => &["build-essential"],
            Self::Curl => &["curl"],
            Self::Python => &["python3-venv"],
            Self::Node => &["nodejs", "npm"],
            Self::Java => &["default-jre-headless"],
            Self::Browser => &["chromium", "chromium-driver"],
            Self::Faults => &["pgbouncer", "faketime", "libnss-wrapper"],
            Self::Bench => &["gzip", "openssl", "util-linux"],
        }
    }

    fn is_installed(self) -> bool {
        match self {
            Self::Compiler => env::var_os("CC").is_some() || on_path("cc").is_some(),
            Self::Curl => on_path("curl").is_some(),
            Self::Python => python().is_some(),
            // "v22.16.0"
            Self::Node => version("node").is_some_and(|version| version >= (20, 19)) && on_path("npm").is_some(),
            // "openjdk 17.0.15 2025-04-15". Java 8 does not have the option `--version`.
            Self::Java => {
                env::var_os(DYNAMODB_LOCAL_URL).is_some_and(|url| !url.is_empty())
                    || version("java").is_some_and(|version| version >= (17, 0))
            }
            Self::Browser => {
                let browsers = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
                on_path("chromedriver").is_some() && browsers.into_iter().any(|name| on_path(name).is_some())
            }
            Self::Faults => pgbouncer().is_some() && on_path("faketime").is_some() && has_nss_wrapper(),
            Self::Bench => ["gzip", "openssl", "taskset"].into_iter().all(|name| on_path(name).is_some()),
        }
    }
}

/// Installs missing programs, or returns an error that lists them. Commands call this before they build anything.
pub fn require(prerequisites: &[Prerequisite]) -> Result<()> {
    let mut missing = missing(prerequisites);
    if !missing.is_empty() && Uid::effective().is_root() && on_path("apt-get").is_some() {
        let packages = packages(&missing);
        step(format_args!("Installing {} with apt-get", packages.join(", ")));
        let apt = |arguments: &[&str]| {
            run("apt-get", Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
        };
        apt(&["update", "-qq"])?;
        apt(&[&["install", "-y", "-qq"], &packages[..]].concat())?;
        missing.retain(|each| !each.is_installed());
    }
    if !missing.is_empty() {
        bail!("{}", advice(&missing));
    }
    Ok(())
}

fn missing(prerequisites: &[Prerequisite]) -> Vec<Prerequisite> {
    let mut missing: Vec<Prerequisite> = prerequisites.iter().copied().filter(|each| !each.is_installed()).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn packages(prerequisites: &[Prerequisite]) -> Vec<&'static str> {
    prerequisites.iter().flat_map(|each| each.packages()).copied().collect()
}

fn advice(missing: &[Prerequisite]) -> String {
    let list = missing.iter().map(|each| each.description()).collect::<Vec<_>>().join("\n    ");
    let packages = packages(missing).join(" ");
    format!(
        "this machine lacks:\n\n    {list}\n\nInstall these programs, then try again. On Debian and Ubuntu: apt install {packages}"
    )
}

/// The path of a program on the PATH.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The command of a Python that is new enough.
#[must_use]
pub fn python() -> Option<&'static str> {
    // Debian's package python3 has the module venv, but not the module ensurepip that venv uses.
    const CHECK: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    ["python3", "python"].into_iter().find(|python| output(python, Command::new(python).args(["-c", CHECK])).is_ok())
}

/// The path of `PgBouncer`.
#[must_use]
pub fn pgbouncer() -> Option<PathBuf> {
    // Debian installs servers in a folder that is on the PATH of root only.
    on_path("pgbouncer").or_else(|| Some(PathBuf::from("/usr/sbin/pgbouncer")).filter(|path| path.is_file()))
}

fn has_nss_wrapper() -> bool {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    folders.chain([PathBuf::from("/usr/lib")]).any(|folder| folder.join("libnss_wrapper.so").is_file())
}

/// Major and minor version, from the first number that the program's `--version` prints.
fn version(program: &str) -> Option<(u32, u32)> {
    first_version(&output(program, Command::new(program).arg("--version")).ok()?)
}

fn first_version(printed: &str) -> Option<(u32, u32)> {
    let start = printed.find(|character: char| character.is_ascii_digit())?;
    let mut numbers = printed[start..].split(|character: char| !character.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    Some((major, numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_lists_everything_that_is_missing_with_one_apt_line() {
        let advice = advice(&[Prerequisite::Node, Prerequisite::Java, Prerequisite::Faults]);
        for what in ["Node.js 20.19", "Java 17", "PgBouncer"] {
            assert!(advice.contains(what), "{advice}");
        }
        let apt = "apt install nodejs npm default-jre-headless pgbouncer faketime libnss-wrapper";
        assert!(advice.ends_with(apt), "{advice}");
    }

    #[test]
    fn a_version_is_the_first_number_a_program_prints() {
        assert_eq!(first_version("v20.19.2\n"), Some((20, 19)));
        assert_eq!(first_version("openjdk 21-ea 2023-09-19\nOpenJDK Runtime"), Some((21, 0)));
        assert_eq!(first_version("Unrecognized option"), None);
    }
}
