//! The pinned tools that `xtask` and `delivery` both use: SAM, and `cargo lambda` with its linker. The pin files are in `toolkit/tools`.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    installation::{path_with, python},
    workspace::{Workspace, remove_cargo_variables},
};

const SAM_PINS: &str = "toolkit/tools/requirements-sam.txt";

/// The folder of `cargo-lambda`, without the linker for cross-compiling.
pub fn cargo_lambda(workspace: &Workspace) -> Result<PathBuf> {
    let pins = Path::new("toolkit/tools/requirements-cargo-lambda.txt");
    python(workspace, "cargo-lambda", pins, &["--no-deps"])
}

/// A PATH with `cargo lambda` and its linker.
pub fn path_to_cargo_lambda(workspace: &Workspace) -> Result<OsString> {
    let linker = python(workspace, "zig", Path::new("toolkit/tools/requirements-zig.txt"), &[])?;
    // `cargo lambda` finds the linker as the module `ziglang` of the first `python3`. Both folders have a `python3`.
    Ok(path_with([linker, cargo_lambda(workspace)?]))
}

/// The folder with the programs `sam` and `cfn-lint`, and with a Python that has the AWS SDK.
pub fn sam_folder(workspace: &Workspace) -> Result<PathBuf> {
    python(workspace, "sam", Path::new(SAM_PINS), &[])
}

/// The pinned versions of [`sam_folder`], as lines of a requirements file.
pub fn sam_pins(workspace: &Workspace) -> Result<String> {
    Ok(fs::read_to_string(workspace.root.join(SAM_PINS))?)
}

/// A `sam` command that runs at the root of the checkout. It sends no telemetry, and it gets no credentials of an AWS account.
pub fn sam(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(sam_folder(workspace)?.join("sam"));
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"AWS_") && name != "AWS_CA_BUNDLE" {
            command.env_remove(name);
        }
    }
    command
        .current_dir(&workspace.root)
        .envs([("SAM_CLI_TELEMETRY", "0"), ("AWS_DEFAULT_REGION", "us-east-1")])
        .envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")]);
    Ok(command)
}

/// A `sam build` command, which finds `cargo lambda` and its linker on its PATH.
pub fn sam_build(workspace: &Workspace) -> Result<Command> {
    let mut command = sam(workspace)?;
    command.env("PATH", path_to_cargo_lambda(workspace)?).arg("build");
    remove_cargo_variables(&mut command);
    Ok(command)
}
