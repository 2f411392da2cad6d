//! `cargo xtask mails`.

use std::{fs, process::ExitCode};

use anyhow::Result;
use toolkit::{
    console::{say, step},
    process,
    workspace::{Workspace, cargo},
};

/// Write all mails in all languages into one HTML page, the text part beside the HTML part, and print its path.
///
/// The variables BRAND_NAME, BRAND_LOGO_URL and BRAND_COLOR of this command set the look.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    step("Building the mails");
    let mut render = cargo();
    render.current_dir(&workspace.root).args(["run", "--quiet", "--package", "shared", "--example", "mails"]);
    let page = process::output("cargo run --example mails", &mut render)?;
    let path = workspace.local().join("mails.html");
    fs::create_dir_all(workspace.local())?;
    fs::write(&path, page)?;
    say(path.display());
    Ok(ExitCode::SUCCESS)
}
