//! `cargo xtask rds-certificates`.

use std::{
    fs,
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::{
    console::say,
    stack::{process::output, tools},
    workspace::Workspace,
};

/// Write the certificates of Amazon RDS, which functions verify a database by, to shared/certificates/rds.pem.
///
/// They come from the npm package that xtask/tools/rds pins: raise its version there first. Certificates that have expired are left out.
#[derive(clap::Args)]
pub struct Args;

pub fn run(_: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut node = Command::new("node");
    node.arg(workspace.pins().join("rds/certificates.mjs")).current_dir(tools::rds(&workspace)?);
    let certificates = output("node", &mut node)?;
    let file = workspace.root.join("shared/certificates/rds.pem");
    fs::write(&file, &certificates)?;
    let count = certificates.matches("BEGIN CERTIFICATE").count();
    say(format_args!("{count} certificates in {}. Commit it.", file.display()));
    Ok(ExitCode::SUCCESS)
}
