//! The steps and the checks that scenes are made of.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use toolkit::{console::say, interrupt, process, run_folder::RunFolder, tools::cargo_lambda, workspace::Workspace};

use super::{
    aws_stand_in::{AwsStandIn, REGION, STACK},
    fake_packages::{self, ARM64, healthy},
};
use crate::{deployed_stack::Versions, tools};

/// The stage of samconfig.toml that is deployed. Its stack is [`STACK`].
const STAGE: &str = "production";

/// Deployments to one stand-in for AWS.
pub struct Rehearsal<'a> {
    workspace: &'a Workspace,
    target: PathBuf,
    aws: AwsStandIn,
    /// For each build, the versions of its functions when it became live for the first time. Whenever it is live again, they must be the same.
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

    /// Makes a command run at the root of the checkout, with the stand-in for AWS. SAM and the AWS CLI parse YAML with libyaml and collect no garbage,
    /// which saves time (docs/measurements.md). The part `template` tests SAM without this.
    pub fn configure(&self, command: &mut Command) {
        self.aws.configure(command.current_dir(&self.workspace.root));
        command.env("PYTHONPATH", tools::fast_python(self.workspace));
    }

    /// Writes a package for every function. Packages are healthy, except for those in `except`, which get the content given there.
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

    /// A file of the checkout as text.
    pub fn read(&self, file: &str) -> Result<String> {
        Ok(fs::read_to_string(self.workspace.root.join(file))?)
    }

    /// Writes a file that only this rehearsal has, and returns its path.
    pub fn write(&self, file: &str, text: &str) -> Result<String> {
        let path = self.target.join(file);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Runs `cargo delivery deploy`, which must succeed. Returns what it printed.
    pub fn deploy(&self, arguments: &[&str]) -> Result<String> {
        let Ran { succeeded, said, .. } = self.delivery("deploy", arguments)?;
        ensure!(succeeded, "this deployment should have succeeded");
        Ok(said)
    }

    /// Runs `cargo delivery deploy`, which must fail with an error that contains these words.
    pub fn deploy_fails(&self, arguments: &[&str], words: &[&str]) -> Result<()> {
        let Ran { succeeded, error, .. } = self.delivery("deploy", arguments)?;
        ensure!(!succeeded, "this deployment should have failed");
        match words.iter().find(|word| !error.contains(**word)) {
            None => Ok(()),
            Some(word) => bail!("the error should contain `{word}`"),
        }
    }

    /// Runs `cargo delivery prune`, which must succeed.
    pub fn prune(&self, arguments: &[&str]) -> Result<()> {
        ensure!(self.delivery("prune", arguments)?.succeeded, "old versions should have been deleted");
        Ok(())
    }

    /// Runs a command of `cargo delivery` for the stage.
    fn delivery(&self, command: &str, arguments: &[&str]) -> Result<Ran> {
        // Not `current_exe()`: if a build that runs meanwhile replaces the file, that path no longer exists.
        let mut delivery = Command::new(self.workspace.binary("delivery"));
        self.run(delivery.args([command, "--stage", STAGE]).args(arguments))
    }

    /// Runs a command of SAM. Returns an error if its success is not as expected.
    pub fn sam(&self, arguments: &[&str], expected: bool) -> Result<()> {
        let mut sam = tools::sam_in_account(self.workspace)?;
        let Ran { succeeded, .. } = self.run(sam.env("AWS_DEFAULT_REGION", REGION).args(arguments))?;
        ensure!(
            succeeded == expected,
            "sam {} should have {}",
            arguments[0],
            if expected { "succeeded" } else { "failed" }
        );
        Ok(())
    }

    /// Runs a command with the stand-in for AWS, and prints its output.
    fn run(&self, command: &mut Command) -> Result<Ran> {
        self.configure(command);
        interrupt::check()?;
        let output = command.output()?;
        interrupt::check()?;
        let [said, error] =
            [output.stdout, output.stderr].map(|printed| String::from_utf8_lossy(&printed).into_owned());
        for line in said.lines().chain(error.lines()) {
            say(format_args!("  | {line}"));
        }
        Ok(Ran { succeeded: output.status.success(), said, error })
    }

    /// Calls an operation of AWS.
    pub fn aws(&mut self, service: &str, operation: &str, arguments: &Value) -> Result<Value> {
        self.aws.aws.call(service, operation, arguments)
    }

    /// What CloudFormation says about a stack: its description, template and resources. Null if there is no stack.
    pub fn stack(&mut self, name: &str) -> Result<Value> {
        let arguments = json!({ "StackName": name });
        let described = self.aws("cloudformation", "describe_stacks", &arguments)?["Stacks"][0].clone();
        if described.is_null() {
            return Ok(Value::Null);
        }
        let template = self.aws("cloudformation", "get_template", &arguments)?["TemplateBody"].clone();
        let described_resources = self.aws("cloudformation", "describe_stack_resources", &arguments)?;
        let resources = described_resources["StackResources"].as_array().into_iter().flatten();
        let resources: BTreeMap<_, _> = resources
            .filter_map(|resource| Some((resource["LogicalResourceId"].as_str()?, &resource["PhysicalResourceId"])))
            .collect();
        Ok(json!({ "description": described, "template": template, "resources": resources }))
    }

    /// Plays a part that must not change a stack.
    pub fn without_touching(&mut self, stack: &str, part: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let before = self.stack(stack)?;
        ensure!(!before.is_null(), "there is no stack {stack}");
        part(self)?;
        ensure!(self.stack(stack)? == before, "the stack {stack} should not have been changed");
        Ok(())
    }

    /// The value of an output or a parameter in a stack's description, such as `Outputs` and `DatabaseAddress`.
    pub fn value(&mut self, stack: &str, list: &str, name: &str) -> Result<String> {
        let description = self.stack(stack)?["description"].clone();
        let key = list.trim_end_matches('s').to_owned();
        let mut items = description[list].as_array().into_iter().flatten();
        let item = items.find(|item| item[format!("{key}Key")] == name);
        let value = item.and_then(|item| item[format!("{key}Value")].as_str());
        value.map(str::to_owned).with_context(|| format!("{stack} has no {name} in its {list}"))
    }

    /// The name that AWS gave to a resource of a stack.
    pub fn resource(&mut self, stack: &str, name: &str) -> Result<String> {
        let described = self.aws(
            "cloudformation",
            "describe_stack_resource",
            &json!({ "StackName": stack, "LogicalResourceId": name }),
        )?;
        let physical = described["StackResourceDetail"]["PhysicalResourceId"].as_str();
        physical.map(str::to_owned).with_context(|| format!("{stack} has no resource {name}"))
    }

    /// Deploys one function with `cargo lambda deploy`, as a pipeline without `cargo delivery` does.
    pub fn cargo_lambda_deploy(&self, name: &str) -> Result<()> {
        let mut deploy = Command::new(cargo_lambda(self.workspace)?.join("cargo-lambda"));
        self.configure(&mut deploy);
        deploy.args(["lambda", "deploy", "--binary-name", name, "--alias", "live", &format!("{STACK}-{name}")]);
        process::run("cargo lambda deploy", &mut deploy)
    }

    /// From now on, other versions of every build are expected, because the stack is new.
    pub fn forget_versions(&mut self) {
        self.versions.clear();
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
        say(format_args!("---- {what}: every `live` points to the build `{build}`\n"));
        Ok(())
    }
}

/// What a command did.
struct Ran {
    succeeded: bool,
    /// Its standard output.
    said: String,
    /// Its standard error.
    error: String,
}
