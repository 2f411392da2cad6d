//! The steps and the checks that scenes are made of.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use toolkit::{console::say, interrupt, process, run_folder::RunFolder, tools::cargo_lambda, workspace::Workspace};

use super::{
    aws_stand_in::{AwsStandIn, STACK},
    fake_packages::{self, ARM64, healthy},
};
use crate::deployed_stack::Versions;

/// The stage of samconfig.toml that is deployed. Its stack is [`STACK`].
const STAGE: &str = "production";

/// Deployments to one stand-in for AWS.
pub struct Rehearsal<'a> {
    workspace: &'a Workspace,
    target: PathBuf,
    aws: AwsStandIn,
    /// The versions that `live` pointed to when a build was live for the first time. They must be the same whenever it is live again.
    versions: BTreeMap<String, Versions>,
    scenes: u64,
}

impl<'a> Rehearsal<'a> {
    /// Starts with an empty account.
    pub fn start(workspace: &'a Workspace, run_folder: &RunFolder) -> Result<Self> {
        let target = run_folder.path().join("target");
        let aws = AwsStandIn::start(workspace, run_folder, &target)?;
        Ok(Self { workspace, target, aws, versions: BTreeMap::new(), scenes: 0 })
    }

    /// The number of scenes so far.
    pub fn scenes(&self) -> u64 {
        self.scenes
    }

    /// Makes a command run at the root of the checkout, with the stand-in for AWS.
    pub fn configure(&self, command: &mut Command) {
        self.aws.configure(command.current_dir(&self.workspace.root));
    }

    /// Writes a healthy package for every function, except for these, which get another content.
    pub fn write_packages(&self, build: &str, except: &[(&str, Value)]) -> Result<()> {
        for name in &self.workspace.functions {
            let other = except.iter().find(|(other, _)| other == name);
            let content = other.map_or_else(|| healthy(build), |(_, content)| content.clone());
            self.write_package(name, ARM64, &content)?;
        }
        Ok(())
    }

    /// Writes the package of one function.
    pub fn write_package(&self, name: &str, machine: u8, content: &Value) -> Result<()> {
        fake_packages::write(&self.target.join("lambda").join(name).join("bootstrap.zip"), machine, content)
    }

    /// Runs `cargo delivery deploy`, which must succeed.
    pub fn deploy(&self, arguments: &[&str]) -> Result<()> {
        let (succeeded, _) = self.delivery("deploy", arguments)?;
        ensure!(succeeded, "this deployment should have succeeded");
        Ok(())
    }

    /// Runs `cargo delivery deploy`, which must fail with an error that contains these words.
    pub fn deploy_fails(&self, arguments: &[&str], words: &[&str]) -> Result<()> {
        let (succeeded, error) = self.delivery("deploy", arguments)?;
        ensure!(!succeeded, "this deployment should have failed");
        match words.iter().find(|word| !error.contains(**word)) {
            None => Ok(()),
            Some(word) => bail!("the error should contain `{word}`"),
        }
    }

    /// Runs `cargo delivery prune`, which must succeed.
    pub fn prune(&self, arguments: &[&str]) -> Result<()> {
        let (succeeded, _) = self.delivery("prune", arguments)?;
        ensure!(succeeded, "old versions should have been deleted");
        Ok(())
    }

    /// Runs a command of `cargo delivery`. Returns whether it succeeded, and what it printed to its standard error.
    fn delivery(&self, command: &str, arguments: &[&str]) -> Result<(bool, String)> {
        interrupt::check()?;
        // Not the file of this process: a build that runs meanwhile may have replaced it.
        let mut delivery = Command::new(self.workspace.binary("delivery"));
        self.configure(&mut delivery);
        let output = delivery.args([command, "--stage", STAGE]).args(arguments).output()?;
        interrupt::check()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        for line in String::from_utf8_lossy(&output.stdout).lines().chain(error.lines()) {
            say(format_args!("  | {line}"));
        }
        Ok((output.status.success(), error))
    }

    /// Deploys one function with `cargo lambda deploy`, as a pipeline without `cargo delivery` does.
    pub fn cargo_lambda_deploy(&self, name: &str) -> Result<()> {
        let mut deploy = Command::new(cargo_lambda(self.workspace)?.join("cargo-lambda"));
        self.configure(&mut deploy);
        deploy.args(["lambda", "deploy", "--binary-name", name, "--alias", "live", &format!("{STACK}-{name}")]);
        process::run("cargo lambda deploy", &mut deploy)
    }

    /// From now on, other versions of this build are expected.
    pub fn expect_new_versions(&mut self, build: &str) {
        self.versions.remove(build);
    }

    /// Deletes the alias `live` of a function, as if the stack did not have the function.
    pub fn delete_live(&mut self, name: &str) -> Result<()> {
        self.aws.call("delete_alias", name, json!({ "Name": "live" }))?;
        self.versions.values_mut().for_each(|versions| drop(versions.remove(name)));
        Ok(())
    }

    /// Returns the version that `live` of a function points to. It must give the answer of this build.
    pub fn check_answer(&mut self, name: &str, build: &str) -> Result<Option<String>> {
        let Some(version) = self.aws.live(name)? else { return Ok(None) };
        let answer = self.aws.call("invoke", name, json!({ "Qualifier": version }))?;
        let answer = answer["Payload"].as_str().unwrap_or_default();
        ensure!(
            answer.contains(&format!("\"{build}\"")),
            "`live` of {name} answers {answer}, which is not the answer of the build `{build}`"
        );
        Ok(Some(version))
    }

    /// The version that each `live` points to.
    pub fn live(&mut self) -> Result<Versions> {
        let mut versions = Versions::new();
        for name in &self.workspace.functions {
            if let Some(version) = self.aws.live(name)? {
                versions.insert(name.clone(), version);
            }
        }
        Ok(versions)
    }

    /// Checks that each `live` points to this version.
    pub fn check_live(&mut self, versions: &Versions) -> Result<()> {
        let live = self.live()?;
        ensure!(live == *versions, "`live` points to {live:?} instead of {versions:?}");
        Ok(())
    }

    /// Ends a scene. Checks that `live` of every function points to the version of this build, and gives its answer.
    pub fn end_scene(&mut self, what: &str, build: &str) -> Result<()> {
        let mut versions = Versions::new();
        for name in &self.workspace.functions {
            if let Some(version) = self.check_answer(name, build)? {
                versions.insert(name.clone(), version);
            }
        }
        let expected = self.versions.entry(build.to_owned()).or_insert_with(|| versions.clone());
        ensure!(versions == *expected, "`live` points to {versions:?} instead of {expected:?}");
        self.aws.check()?;
        self.scenes += 1;
        say(format_args!("---- {what}: every `live` is the build `{build}`\n"));
        Ok(())
    }
}
