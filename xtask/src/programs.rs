//! Runs programs of `tests/examples/`, with the servers they need.

use std::process::Command;

use anyhow::Result;
use toolkit::{
    console::step,
    process,
    run_folder::RunFolder,
    system::{self, Prerequisite},
    workspace::{Workspace, cargo},
};

use crate::stack::{
    dynamodb::DynamoDb,
    mail::Mail,
    postgres::{Purpose, Server},
};

/// Builds the programs and the functions, and runs each program with its arguments. Returns an error if one fails. Starts DynamoDB
/// Local if `with_dynamodb`, and PostgreSQL of this major version.
pub fn run(programs: &[(&str, Vec<String>)], with_dynamodb: bool, postgres: u32) -> Result<()> {
    let needs = [Prerequisite::Compiler, Prerequisite::Node, Prerequisite::Java];
    system::require(if with_dynamodb { &needs } else { &needs[..2] })?;
    let workspace = Workspace::load()?;
    let run_folder = RunFolder::ephemeral(&workspace)?;
    let database = Server::start(&workspace, &run_folder, None, Purpose::Measure(postgres))?;
    let mail = Mail::start(&workspace, &run_folder, None)?;
    let dynamodb = with_dynamodb.then(|| DynamoDb::start(&workspace, &run_folder, None)).transpose()?;
    step("Building the functions and the programs");
    let mut build = cargo();
    build.current_dir(&workspace.root).args(["build", "--workspace", "--bins"]);
    build.args(programs.iter().flat_map(|(name, _)| ["--example", name]));
    process::run("cargo build", &mut build)?;
    for (name, arguments) in programs {
        step(format_args!("Running {name}"));
        let mut program = Command::new(workspace.binary(&format!("examples/{name}")));
        program
            .args(arguments)
            .env("TEST_DATABASE_URL", database.url("postgres"))
            .env("TEST_SES_URL", mail.url())
            .envs(dynamodb.iter().map(|dynamodb| ("TEST_DYNAMODB_URL", dynamodb.url())));
        process::run(name, &mut program)?;
    }
    Ok(())
}
