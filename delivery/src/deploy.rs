//! `cargo delivery deploy`. Each stack's tag `template` holds the fingerprint of the template that it was made from. The description of
//! each alias `live` records the last deployment and the version before it (see [`crate::alias`]).

use std::{process::ExitCode, thread, time::Duration};

use anyhow::{Context as _, Error, Result, bail};
use serde_json::json;
use toolkit::{
    console::{say, step},
    endpoints::{Endpoint, endpoints, needed_connections},
    interrupt::{self, Interrupted},
    workspace::Workspace,
};

use crate::{
    alias::{Aliases, Move, deployment_number},
    cloudformation::{Description, StackUpdate, describe_ready, is_changing},
    data_stack::{ADDRESS, DataStack, URL_SECRET},
    deployed_stack::{DeployedStack, Versions, list},
    fingerprints::{Packages, build_fingerprint},
    package::{self, MACHINE, Package},
    request::{Request, RequestArgs},
    rollback::roll_back,
    sign_out,
    templates::{BUILD, Parameters},
};

/// Deploy what is checked out: first the database if there is none, then its tables, then the template if it changed, then every function.
///
/// A stage has two stacks. database.yaml makes the database's stack, whose name ends in -database, and template.yaml makes the
/// application's stack. The first deployment creates both. Later deployments do not touch the database's stack, unless --set names a
/// parameter that only database.yaml has, or --database is given. The application's stack is deployed when its template, a parameter or
/// the address of the database changes. A stage with DatabaseUrlSecret or DatabaseAddress uses a database of your own instead.
///
/// Functions are built once. Each gets a new version, which must answer a sample event before it receives requests. Then every alias
/// `live` points to the new version. If anything fails, every `live` points to its old version again. The AWS account is chosen as for
/// every AWS tool: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, …
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo delivery deploy --stage production --set MailFrom=no-reply@example.com --set MailDomain=example.com
  cargo delivery deploy --stage production
  cargo delivery deploy --stage production --set DatabaseClass=db.t4g.medium
  cargo delivery deploy --stage production --rollback")]
pub struct Args {
    #[command(flatten)]
    request: RequestArgs,

    /// Deploy the packages in target/lambda/, and build nothing
    #[arg(long)]
    built: bool,

    /// Deploy template.yaml even if it has not changed
    #[arg(long)]
    template: bool,

    /// Point `live` to the versions before the last deployment, and do nothing else. The database stays as it is
    #[arg(long, conflicts_with_all = ["built", "template", "database", "parameters", "sign_everybody_out"])]
    rollback: bool,
}

/// The time between two looks at a stack that CloudFormation is changing.
const STACK_POLL_INTERVAL: Duration = Duration::from_secs(10);

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    if args.rollback {
        roll_back(&mut DeployedStack::of_stage(&workspace, &args.request.stage)?)?;
    } else {
        let request = Request::new(&workspace, &args.request)?;
        deploy(&workspace, &request, args)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What one deployment of the application deploys.
struct Deployment<'a> {
    workspace: &'a Workspace,
    request: &'a Request,
    /// The functions that the stack has, or will have.
    functions: Vec<String>,
    packages: Packages,
    /// Why the template is deployed. `None` if it is not.
    template_reason: Option<String>,
    /// The parameters that change, and those that the database sets.
    set: Parameters,
    /// All parameters of the stack after the deployment.
    parameters: Parameters,
    /// Whether the database has another address than before.
    database_moves: bool,
    /// When the last update of the stack failed. Empty if it succeeded.
    failed_at: String,
    /// Where every alias `live` pointed when the deployment began.
    before: Aliases,
}

fn deploy(workspace: &Workspace, request: &Request, args: &Args) -> Result<()> {
    let mut stack = DeployedStack::of_stage(workspace, &request.stage)?;
    if !args.built {
        package::build(workspace, &workspace.functions)?;
    }
    let packages = read_packages(workspace)?;
    let application = describe_ready(&mut stack.aws, &stack.name)?.unwrap_or_default();
    let mut parameters = request.parameters(&application)?;
    let mut database = DataStack::plan(request, &mut stack.aws, &stack.name, &application)?;
    let endpoints = endpoints(&workspace.root)?;
    database.check_connections(needed_connections(&endpoints))?;
    let before = stack.aliases()?;
    if sign_out::check(request, &mut stack, &before, &parameters)? {
        database.check_is_current()?;
    }
    say(format_args!("live: {}", list(before.iter().map(|(name, alias)| (name, &alias.function_version)))));

    let from_database = database.deploy(workspace, &mut stack.aws)?;
    let moved = changed(&from_database, &application);
    sign_out::refuse_replaced_database(request, &moved, &application)?;
    let mut set = request.for_application();
    set.extend(from_database);
    parameters.extend(set.clone());
    let deployment = Deployment {
        workspace,
        request,
        functions: deployed_functions(request, &parameters, endpoints),
        packages,
        template_reason: template_reason(request, args, &application, &moved),
        database_moves: is_other_database(request, &application, &parameters),
        set,
        parameters,
        failed_at: application.failed_at,
        before,
    };
    deployment.check_functions(&stack.name)?;
    deployment.run(&mut stack).map_err(|problem| deployment.undo(&mut stack, problem))?;
    if let Err(problem) = print_next_steps(&mut stack) {
        say(format_args!("Everything is deployed, but the outputs of the stack could not be read: {problem:#}"));
    }
    Ok(())
}

/// Prints the address of the API and the outputs that say what to do next.
fn print_next_steps(stack: &mut DeployedStack<'_>) -> Result<()> {
    let outputs = describe_ready(&mut stack.aws, &stack.name)?.unwrap_or_default().outputs;
    for (name, value) in outputs.iter().filter(|(name, _)| *name == "ApiUrl" || name.starts_with("Next")) {
        say(format_args!("{name}: {value}"));
    }
    Ok(())
}

/// The names of the parameters that the database sets to another value than the stack has.
fn changed(from_database: &Parameters, application: &Description) -> Vec<String> {
    let changed = from_database.iter().filter(|(name, value)| application.parameters.get(*name) != Some(*value));
    changed.map(|(name, _)| name.clone()).collect()
}

/// Whether the application uses another database after the deployment.
fn is_other_database(request: &Request, application: &Description, after: &Parameters) -> bool {
    let template = &request.application;
    [ADDRESS, URL_SECRET]
        .iter()
        .any(|name| template.value(&application.parameters, name) != template.value(after, name))
}

/// Why the template is deployed. `None` if it need not be.
fn template_reason(request: &Request, args: &Args, application: &Description, moved: &[String]) -> Option<String> {
    if *application == Description::default() {
        return Some("there is no stack yet".to_owned());
    }
    let given: Vec<_> = request.for_application().into_keys().collect();
    let reasons = [
        (!application.is_of(&request.application)).then(|| "it is not what the stack was made from".to_owned()),
        args.template.then(|| "--template".to_owned()),
        (!given.is_empty()).then(|| format!("--set {}", given.join(", "))),
        (!moved.is_empty()).then(|| format!("the database has another {}", moved.join(", "))),
    ];
    let reasons: Vec<_> = reasons.into_iter().flatten().collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// The functions that a stack with these parameters has.
fn deployed_functions(request: &Request, parameters: &Parameters, endpoints: Vec<Endpoint>) -> Vec<String> {
    let with_examples = request.application.value(parameters, "Examples") == "on";
    let deployed = endpoints.into_iter().filter(|endpoint| with_examples || !endpoint.example);
    deployed.map(|endpoint| endpoint.name).collect()
}

impl Deployment<'_> {
    /// Returns an error if the stack lacks a function, and the template is not deployed.
    fn check_functions(&self, stack: &str) -> Result<()> {
        let missing: Vec<_> = self.functions.iter().filter(|name| !self.before.contains_key(*name)).collect();
        if self.template_reason.is_none() && !missing.is_empty() {
            bail!("the stack {stack} has no alias `live` of {missing:?}. Deploy the template, too: --template");
        }
        Ok(())
    }

    /// Migrates, deploys the template, and points every alias `live` to a new version. After an error, [`Self::undo`] restores the aliases.
    fn run(&self, stack: &mut DeployedStack<'_>) -> Result<()> {
        let template = &self.request.application.fingerprint;
        let build = build_fingerprint(&self.packages, template, &self.parameters, &self.failed_at);
        // Tables first, because new functions may need new tables. A first deployment has no `migrate` yet. If the database moves, the
        // stack's `migrate` still uses the old database.
        if self.before.contains_key("migrate") && !self.database_moves {
            self.migrate(stack)?;
        }
        if let Some(reason) = &self.template_reason {
            step(format_args!("Deploying the template: {reason}"));
            self.deploy_template(&stack.name, &build)?;
            // The template may have created `migrate`, or given it another database.
            self.migrate(stack)?;
        }
        let mut versions = Versions::new();
        for name in &self.functions {
            let version = stack.publish(name, &self.packages)?;
            if name != "migrate" {
                stack.try_sample_event(name, &version)?;
            }
            versions.insert(name.clone(), version);
        }
        self.set_live(stack, &versions, &build)
    }

    /// Points every alias `live` to its old version after a failure. Returns the failure with the result.
    fn undo(&self, stack: &mut DeployedStack<'_>, problem: Error) -> Error {
        step("The deployment failed. Restoring every alias `live`");
        // CloudFormation continues after `sam deploy` has ended, and would move the aliases again.
        while self.template_reason.is_some() && is_changing(&mut stack.aws, &stack.name).unwrap_or(false) {
            say("  CloudFormation is still changing the stack: waiting for it");
            thread::sleep(STACK_POLL_INTERVAL);
        }
        // The template may have deleted the other functions, with their aliases.
        let mut before = self.before.clone();
        before.retain(|name, _| self.functions.contains(name));
        let restored = stack.restore_live(&before);
        // The error of an interruption is not printed, so the result is printed here.
        if problem.is::<Interrupted>() {
            say(&restored);
        }
        problem.context(restored)
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

    /// Deploys the template with the packages that are already built. `sam deploy` builds nothing.
    fn deploy_template(&self, stack: &str, build: &str) -> Result<()> {
        let Request { stage, application: template, .. } = self.request;
        let file = template.packaged(self.workspace)?;
        // `Build` is part of every function's description, so CloudFormation publishes versions exactly when it changes.
        let mut parameters = self.set.clone();
        parameters.insert(BUILD.to_owned(), build.to_owned());
        StackUpdate { stage, stack, template, file: &file, parameters: &parameters }.run(self.workspace)
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
