//! `cargo delivery deploy`. The stack's tag `template` holds the fingerprint of the template that it was made from. The description of
//! each alias `live` records the last deployment and the version before it (see [`crate::alias`]).

use std::{
    fmt::Display,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use toolkit::{
    console::{say, step},
    interrupt::{self, Interrupted},
    process,
    workspace::Workspace,
};

use crate::{
    alias::{Aliases, Move, deployment_number, moves_of_newest_deployment},
    deployed_stack::{DeployedStack, Versions},
    fingerprints::{Packages, Parameters, build_fingerprint, packaged_template, parameters, template_fingerprint},
    package::{self, MACHINE, Package},
    tools,
};

/// Deploy what is checked out: the database's tables first, then the template if it changed, then every function.
///
/// Functions are built once. Each gets a new version, which must answer a sample event before it receives requests. Then every alias
/// `live` points to the new version. If anything fails, every `live` points to its old version again. The first deployment creates the
/// stack. The AWS account is chosen as for every AWS tool: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, …
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo delivery deploy --stage production --set MailFrom=no-reply@example.com --set MailDomain=example.com
  cargo delivery deploy --stage production
  cargo delivery deploy --stage production --rollback")]
pub struct Args {
    /// A section of samconfig.toml, which names the stack
    #[arg(long, value_name = "STAGE")]
    stage: String,

    /// Deploy the packages in target/lambda/, and build nothing
    #[arg(long)]
    built: bool,

    /// Deploy the template even if it has not changed
    #[arg(long)]
    template: bool,

    /// A parameter of the template, which the stack keeps from then on; may be repeated
    #[arg(long = "set", value_name = "PARAMETER=VALUE")]
    parameters: Vec<String>,

    /// Point `live` to the versions before the last deployment, and do nothing else. The database stays as it is
    #[arg(long, conflicts_with_all = ["built", "template", "parameters"])]
    rollback: bool,
}

/// The stack's tag that holds the fingerprint of its template.
const TAG: &str = "template";

/// The time between two looks at a stack that CloudFormation is changing.
const STACK_POLL_INTERVAL: Duration = Duration::from_secs(10);

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut stack = DeployedStack::of_stage(&workspace, &args.stage)?;
    if args.rollback {
        roll_back(&mut stack)?;
    } else {
        deploy(&workspace, &mut stack, args)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What one deployment deploys.
struct Deployment<'a> {
    workspace: &'a Workspace,
    args: &'a Args,
    packages: Packages,
    template: String,
    with_template: bool,
    parameters: Parameters,
    /// Where every alias `live` pointed when the deployment began.
    before: Aliases,
}

fn deploy(workspace: &Workspace, stack: &mut DeployedStack<'_>, args: &Args) -> Result<()> {
    if !args.built {
        package::build(workspace, &workspace.functions)?;
    }
    let packages = read_packages(workspace)?;
    let template = template_fingerprint(workspace)?;
    let description = stack.describe_ready()?;
    let mut tags = description["Tags"].as_array().into_iter().flatten();
    let unchanged = tags.any(|tag| tag["Key"] == TAG && tag["Value"] == template.as_str());
    let with_template = !unchanged || args.template || !args.parameters.is_empty();

    let before = stack.aliases()?;
    let missing: Vec<_> = workspace.functions.iter().filter(|name| !before.contains_key(*name)).collect();
    if !with_template && !missing.is_empty() {
        bail!("the stack {} has no alias `live` of {missing:?}. Deploy the template, too: --template", stack.name);
    }
    say(format_args!("live: {}", list(before.iter().map(|(name, alias)| (name, &alias.function_version)))));

    let parameters = parameters(&description, &args.parameters)?;
    let deployment = Deployment { workspace, args, packages, template, with_template, parameters, before };
    let Err(problem) = deployment.run(stack) else { return Ok(()) };

    step("The deployment failed. Restoring every alias `live`");
    // CloudFormation continues after `sam deploy` has ended, and would move the aliases again.
    while with_template && stack.is_changing().unwrap_or(false) {
        say("  CloudFormation is still changing the stack: waiting for it");
        thread::sleep(STACK_POLL_INTERVAL);
    }
    let restored = stack.restore_live(&deployment.before);
    // The error of an interruption is not printed, so the result is printed here.
    if problem.is::<Interrupted>() {
        say(&restored);
    }
    Err(problem.context(restored))
}

impl Deployment<'_> {
    /// Everything that may fail half-way.
    fn run(&self, stack: &mut DeployedStack<'_>) -> Result<()> {
        let build = build_fingerprint(&self.packages, &self.template, &self.parameters);
        // Tables first: new functions may need new tables. Before the first deployment there is no function that makes them.
        if self.before.contains_key("migrate") {
            self.migrate(stack)?;
        }
        if self.with_template {
            step("Deploying the template");
            process::run("sam deploy", &mut self.sam_deploy(&stack.name, &build)?)?;
            // The stack may use another database now.
            self.migrate(stack)?;
        }
        let mut versions = Versions::new();
        for name in &self.workspace.functions {
            let version = stack.publish(name, &self.packages)?;
            if name != "migrate" {
                stack.try_sample_event(name, &version)?;
            }
            versions.insert(name.clone(), version);
        }
        self.set_live(stack, &versions, &build)
    }

    fn migrate(&self, stack: &mut DeployedStack<'_>) -> Result<()> {
        let version = stack.publish("migrate", &self.packages)?;
        step("Migrating the database");
        let report = stack
            .invoke("migrate", &version, &json!({}))
            .context("the database was not migrated, and is as it was before")?;
        say(format_args!("  {report}"));
        Ok(())
    }

    /// A `sam deploy` command. It deploys the same packages as the rest of the deployment, so there is one build of everything.
    fn sam_deploy(&self, stack: &str, build: &str) -> Result<Command> {
        let Self { workspace, args, template, .. } = self;
        let mut sam = tools::sam_deploy(workspace)?;
        sam.arg("--template-file").arg(packaged_template(workspace)?);
        sam.arg("--config-file").arg(workspace.root.join("samconfig.toml"));
        sam.args(["--config-env", &args.stage, "--stack-name", stack, "--tags", &format!("{TAG}={template}")]);
        sam.args([
            "--resolve-s3",
            "--capabilities",
            "CAPABILITY_IAM",
            "--no-confirm-changeset",
            "--no-fail-on-empty-changeset",
        ]);
        // `Build` is part of every function's description, so CloudFormation publishes versions exactly when it changes.
        sam.arg("--parameter-overrides").arg(format!("Build={build}"));
        for (name, value) in args.parameters.iter().filter_map(|parameter| parameter.split_once('=')) {
            sam.arg(format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
        }
        Ok(sam)
    }

    /// Points every alias `live` to its new version.
    fn set_live(&self, stack: &mut DeployedStack<'_>, versions: &Versions, build: &str) -> Result<()> {
        let is_set = |(name, version): &(&String, &String)| {
            self.before.get(*name).is_some_and(|alias| alias.function_version == **version)
        };
        if versions.iter().all(|function| is_set(&function)) {
            say("Every alias `live` already points to these versions");
            return Ok(());
        }
        step("Every version answers: pointing `live` to them");
        let deployment = deployment_number(&self.before, build);
        // An alias that already points to its version stays as it is. Either an earlier, interrupted run of this deployment moved the
        // alias, or the function has not changed.
        for (name, version) in versions.iter().filter(|function| !is_set(function)) {
            interrupt::check()?;
            let before = self.before.get(name).map_or(version, |alias| &alias.function_version).clone();
            let last = Move { deployment, build: build.to_owned(), before };
            stack.set_live(name, version, &last.to_string())?;
        }
        say(format_args!("live: {}", list(versions)));
        Ok(())
    }
}

/// Finds the aliases that the newest deployment moved, and points each of them to its previous version. A
/// rollback is recorded like a deployment, so a second rollback undoes the first.
fn roll_back(stack: &mut DeployedStack<'_>) -> Result<()> {
    let now = stack.aliases()?;
    let moves = moves_of_newest_deployment(&now);
    if moves.is_empty() {
        bail!(
            "no alias `live` of {} records an earlier version: this command has not deployed anything yet",
            stack.name
        );
    }
    // All versions are checked before the first alias moves, so that no rollback stops half-way.
    for (name, Move { before, .. }) in &moves {
        if !stack.has_version(name, before)? {
            bail!(
                "version {before} of {name} does not exist any more, so nothing was changed. Check out the commit it was built from, and deploy that"
            );
        }
    }
    for (name, Move { deployment, build, before }) in &moves {
        let rollback = Move {
            deployment: deployment + 1,
            build: format!("back from {}", build.trim_start_matches("back from ")),
            before: now[name].function_version.clone(),
        };
        stack.set_live(name, before, &rollback.to_string())?;
    }
    say(format_args!("live: {}", list(moves.iter().map(|(name, last)| (name, &last.before)))));
    say(
        "The functions are those of before. The database's tables were not changed. Another --rollback undoes this one.",
    );
    Ok(())
}

/// Reads the package of every function. Returns an error if one is missing or is for another machine.
fn read_packages(workspace: &Workspace) -> Result<Packages> {
    let mut packages = Packages::new();
    for name in &workspace.functions {
        let package = Package::read(&workspace.package(name))
            .with_context(|| format!("{name} cannot be deployed. Build it: leave out --built"))?;
        if package.machine != MACHINE {
            bail!(
                "the package of {name} is for {}, not for {MACHINE}. Build it again: leave out --built",
                package.machine
            );
        }
        packages.insert(name.clone(), package);
    }
    Ok(packages)
}

fn list<N: Display, V: Display>(versions: impl IntoIterator<Item = (N, V)>) -> String {
    let versions: Vec<_> = versions.into_iter().map(|(name, version)| format!("{name} {version}")).collect();
    if versions.is_empty() { "nothing".to_owned() } else { versions.join(", ") }
}
