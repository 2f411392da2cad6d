//! `cargo xtask rds-certificates`.

use std::{fs, process::ExitCode};

use anyhow::Result;
use toolkit::{console::say, process::output, workspace::Workspace};

use crate::tools;

/// Write the certificates of Amazon RDS to shared/certificates/rds.pem. The functions verify the database with them.
///
/// The certificates come from the npm package that xtask/tools/rds pins. For newer ones, first raise its version there. Expired ones are left out.
#[derive(clap::Args)]
pub struct Args;

pub fn run(_: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let certificates = output("node", &mut tools::rds_certificates(&workspace)?)?;
    let file = workspace.root.join("shared/certificates/rds.pem");
    fs::write(&file, &certificates)?;
    let count = certificates.matches("BEGIN CERTIFICATE").count();
    say(format_args!("{count} certificates in {}. Commit this file.", file.display()));
    Ok(ExitCode::SUCCESS)
}
