//! `cargo delivery rehearse`: runs `cargo delivery deploy` against a local server that imitates AWS (`delivery/tools/rehearsal.py`).

mod aws_stand_in;
mod documented_commands;
mod fake_packages;
mod rehearsal;
mod scenes;

use std::process::ExitCode;

use anyhow::Result;
use toolkit::{console::say, run_folder::RunFolder, service::end_of_log, workspace::Workspace};

use self::rehearsal::Rehearsal;
use crate::verdict::Verdict;

/// Test deployments that succeed, that fail half-way and that are rolled back, without an AWS account.
///
/// `cargo delivery deploy` and its `sam deploy` create the stacks in an empty account of moto, a local stand-in for AWS. They deploy packages
/// without a program: moto runs no function, but returns the answer that is written in its package. After each deployment, every alias `live` must point to the right version.
/// Then the commands of docs/deploying.md are run, one after the other. docs/unproven.md says what is left out.
#[derive(clap::Args)]
pub struct Args;

pub fn run(_: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let run_folder = RunFolder::ephemeral(&workspace)?;
    let mut rehearsal = Rehearsal::start(&workspace, &run_folder)?;
    scenes::play(&mut rehearsal).inspect_err(|_| say(end_of_log(&run_folder.log("aws"))))?;
    let scenes = rehearsal.scenes();
    drop(rehearsal);
    let commands = documented_commands::run(&workspace, &Rehearsal::start(&workspace, &run_folder)?)?;
    Ok(Verdict { passed: scenes + commands, failed: 0 }.report())
}
