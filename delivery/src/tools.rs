//! The tools that only `delivery` uses, and its helper programs in Python. `delivery/tools` contains the tools' versions and the programs.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use toolkit::{
    installation::{cargo_program, path_with, python},
    process::run,
    system,
    tools::{cargo_lambda, path_to_cargo_lambda, sam_folder, sam_pins},
    workspace::{Workspace, remove_cargo_variables},
};

const CHECKOV_PINS: &str = "delivery/tools/requirements-checkov.txt";

/// Rust's name for the machines of Lambda.
const TARGET: &str = "aarch64-unknown-linux-gnu";

fn helper(workspace: &Workspace, file: &str) -> PathBuf {
    workspace.root.join("delivery/tools").join(file)
}

/// A `sam` command with the AWS credentials of the environment.
pub fn sam_in_account(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(sam_folder(workspace)?.join("sam"));
    command.current_dir(&workspace.root).env("SAM_CLI_TELEMETRY", "0");
    // SAM reads AWS_DEFAULT_REGION, the older name of AWS_REGION.
    if let Some(region) = env::var_os("AWS_REGION") {
        command.env("AWS_DEFAULT_REGION", region);
    }
    Ok(command)
}

/// A folder for `PYTHONPATH`. With it, Python programs parse YAML with libyaml and collect no garbage.
pub fn fast_python(workspace: &Workspace) -> PathBuf {
    helper(workspace, "fast_python")
}

/// A program that sends the requests it reads to AWS, with the AWS credentials of the environment.
pub fn aws(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(sam_folder(workspace)?.join("python"));
    command.arg(helper(workspace, "aws.py"));
    Ok(command)
}

/// A server that imitates AWS for rehearsals. Its argument is its port.
pub fn aws_stand_in(workspace: &Workspace) -> Result<Command> {
    let folder = python(workspace, "moto", Path::new("delivery/tools/requirements-moto.txt"), &[])?;
    let mut command = Command::new(folder.join("python"));
    command.arg(helper(workspace, "rehearsal.py"));
    Ok(command)
}

/// A PATH with the AWS CLI and `cargo lambda`.
pub fn path_to_aws_and_cargo_lambda(workspace: &Workspace) -> Result<OsString> {
    let aws = python(workspace, "awscli", Path::new("delivery/tools/requirements-awscli.txt"), &[])?;
    Ok(path_with([aws, cargo_lambda(workspace)?]))
}

/// A command that prints both templates as CloudFormation receives them, for every combination of parameter values.
pub fn sam_translator(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(sam_folder(workspace)?.join("python"));
    command.arg(helper(workspace, "translated.py")).current_dir(&workspace.root);
    Ok(command)
}

/// A command that prints the routes that `sam local` serves.
pub fn local_routes(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(sam_folder(workspace)?.join("python"));
    command.arg(helper(workspace, "local_routes.py")).current_dir(&workspace.root);
    Ok(command)
}

/// A command that lints CloudFormation templates. `templates` is a path or a pattern.
pub fn cfn_lint(workspace: &Workspace, templates: &Path) -> Result<Command> {
    let mut command = Command::new(sam_folder(workspace)?.join("cfn-lint"));
    // W3011 requires UpdateReplacePolicy and DeletionPolicy together, but versions of functions need only the first. For resources with
    // data, check-template itself requires both. W3010 forbids fixed names of zones. The translated templates contain them, because the
    // translation replaces each parameter by its value.
    command.args(["--region", "us-east-1", "--ignore-checks", "W3010", "W3011", "--template"]).arg(templates);
    Ok(command)
}

/// A command that runs checkov on the CloudFormation templates in a folder. It sends nothing to checkov's maker.
pub fn checkov(workspace: &Workspace, folder: &Path) -> Result<Command> {
    let mut command = Command::new(python(workspace, "checkov", Path::new(CHECKOV_PINS), &[])?.join("checkov"));
    command.args(["--framework", "cloudformation", "--skip-download", "--compact", "--quiet", "--config-file"]);
    command.arg(helper(workspace, "checkov.yaml")).arg("--directory").arg(folder);
    Ok(command)
}

/// The tools that check the template, with their versions.
pub fn template_pins(workspace: &Workspace) -> Result<String> {
    let text = sam_pins(workspace)? + &fs::read_to_string(workspace.root.join(CHECKOV_PINS))?;
    let pins = text.lines().filter(|line| !line.starts_with('#')).map(|pin| pin.replace("==", " "));
    Ok(pins.collect::<Vec<_>>().join(", "))
}

/// The file that [`cargo_cyclonedx`] writes into each package's folder.
pub const SBOM: &str = "sbom.json";

/// A command that writes the SBOM of each function for Lambda.
pub fn cargo_cyclonedx(workspace: &Workspace) -> Result<Command> {
    let mut command = cargo_program(workspace, "cargo-cyclonedx", Path::new("delivery/tools/cargo-cyclonedx.txt"))?;
    command.args(["cyclonedx", "--format", "json", "--target", TARGET]);
    command.arg("--override-filename").arg(SBOM.trim_end_matches(".json"));
    Ok(command)
}

/// A command that builds functions for Lambda, as zips. Its arguments select the packages.
pub fn cargo_lambda_build(workspace: &Workspace) -> Result<Command> {
    // Without rustup, the user installs the target. If it is missing, the compiler says so.
    if system::on_path("rustup").is_some() {
        run(
            "rustup target add",
            Command::new("rustup").args(["--quiet", "target", "add", TARGET]).current_dir(&workspace.root),
        )?;
    }
    let mut command = Command::new(cargo_lambda(workspace)?.join("cargo-lambda"));
    command.current_dir(&workspace.root).env("PATH", path_to_cargo_lambda(workspace)?);
    command.args(["lambda", "build", "--release", "--arm64", "--output-format", "zip"]);
    remove_cargo_variables(&mut command);
    Ok(command)
}
