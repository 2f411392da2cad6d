//! `cargo xtask deploy`. What routes call is each function's alias `live`. The alias remembers in its description which deployment led it
//! there, and from where; the stack, in a tag, which template it was made from: nothing else is kept anywhere.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    aws::Aws,
    console::{complain, say, step},
    interrupt::{self, Interrupted},
    package::{self, MACHINE, Package},
    stack::{process, tools},
    workspace::{Workspace, fingerprint},
};

/// Ship what is checked out: the database's tables first, then the template if it changed, then every function.
///
/// Functions are built once. Each gets a new version, which has to answer a sample event before any request reaches it; then `live`
/// leads to all of the new versions. If anything fails, `live` leads again where it led before. The first deployment makes the stack.
/// Whose AWS account it is, is said by what every AWS tool goes by: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, …
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask deploy --stage production --set MailFrom=no-reply@example.com --set MailDomain=example.com
  cargo xtask deploy --stage production
  cargo xtask deploy --stage production --rollback")]
pub struct Args {
    /// A section of samconfig.toml, which names the stack
    #[arg(long, value_name = "STAGE")]
    stage: String,

    /// Ship what is in target/lambda/, and build nothing
    #[arg(long)]
    built: bool,

    /// Deploy the template even if it has not changed
    #[arg(long)]
    template: bool,

    /// A parameter of the template, which the stack keeps from then on; may be repeated
    #[arg(long = "set", value_name = "PARAMETER=VALUE")]
    parameters: Vec<String>,

    /// Let `live` lead where it led before the last deployment, and do nothing else. The database stays as it is
    #[arg(long, conflicts_with_all = ["built", "template", "parameters"])]
    rollback: bool,
}

/// The stack's tag that holds a fingerprint of what it was made from.
const TAG: &str = "template";

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut delivery = Delivery::to(&workspace, &args.stage)?;
    if args.rollback {
        delivery.roll_back()?;
    } else {
        delivery.deliver(args)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The name that a stage's section of samconfig.toml gives its stack.
fn stack_of(workspace: &Workspace, stage: &str) -> Result<String> {
    let settings: toml::Table = fs::read_to_string(workspace.root.join("samconfig.toml"))?.parse()?;
    let name =
        settings.get(stage).and_then(|stage| stage.get("global")?.get("parameters")?.get("stack_name")?.as_str());
    name.map(str::to_owned).with_context(|| {
        let stages: Vec<_> = settings.iter().filter(|(_, section)| section.is_table()).map(|(name, _)| name.as_str()).collect();
        format!(
            "samconfig.toml names no stack for the stage `{stage}` (it knows {}). Add a section: [{stage}.global.parameters]",
            stages.join(", ")
        )
    })
}

/// What identifies a template with its configuration.
fn fingerprint_of_template(workspace: &Workspace) -> Result<String> {
    let files = ["template.yaml", "samconfig.toml"].map(|file| fs::read(workspace.root.join(file)));
    let [template, settings] = files;
    Ok(fingerprint(&[template?, settings?].concat()))
}

/// Where an alias leads, and what it remembers.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Alias {
    function_version: String,
    description: String,
}

impl Alias {
    /// The version that a rollback would lead it to.
    pub(crate) fn version_before(&self) -> Option<String> {
        Memory::read(&self.description).map(|memory| memory.before)
    }
}

/// What an alias remembers: the deployment that led it where it leads, and where it led before. A deployment has a number, and a
/// fingerprint of what it ships, by which one that was killed half-way knows itself when it is tried again.
#[derive(Debug, PartialEq)]
struct Memory {
    deployment: u32,
    shipped: String,
    before: String,
}

impl Memory {
    fn written(&self) -> String {
        format!("deployment {} of {}, before: {}", self.deployment, self.shipped, self.before)
    }

    fn read(description: &str) -> Option<Self> {
        let (deployment, rest) = description.strip_prefix("deployment ")?.split_once(" of ")?;
        let (shipped, before) = rest.split_once(", before: ")?;
        Some(Self { deployment: deployment.parse().ok()?, shipped: shipped.to_owned(), before: before.to_owned() })
    }
}

/// The number of a deployment that ships this: the newest one's if it is that one again, or the next.
fn number(aliases: &Aliases, shipped: &str) -> u32 {
    moved_last(aliases).first().map_or(1, |(_, newest)| newest.deployment + u32::from(newest.shipped != shipped))
}

/// What the newest deployment moved, with what each remembers: nothing that an older one did.
fn moved_last(aliases: &Aliases) -> Vec<(String, Memory)> {
    let memories: Vec<_> =
        aliases.iter().filter_map(|(name, alias)| Some((name.clone(), Memory::read(&alias.description)?))).collect();
    let newest = memories.iter().map(|(_, memory)| memory.deployment).max();
    memories.into_iter().filter(|(_, memory)| Some(memory.deployment) == newest).collect()
}

type Versions = BTreeMap<String, String>;
pub(crate) type Aliases = BTreeMap<String, Alias>;

/// Deliveries to the stack of one stage.
pub(crate) struct Delivery<'a> {
    workspace: &'a Workspace,
    aws: Aws,
    stack: String,
    commit: String,
}

impl<'a> Delivery<'a> {
    /// Finds out who asks, and which stack the stage has.
    pub(crate) fn to(workspace: &'a Workspace, stage: &str) -> Result<Self> {
        let stack = stack_of(workspace, stage)?;
        let mut aws = Aws::new(workspace, &[])?;
        let identity = aws.ask("sts", "get_caller_identity", &json!({})).context(
            "AWS does not know who asks. Log in (aws sso login, or AWS_PROFILE, or a workflow's role), and set AWS_REGION; then try again",
        )?;
        say(format_args!("Stack {stack} of stage {stage}, as {}", text(&identity["Arn"])));
        let commit = process::output("git", Command::new("git").args(["describe", "--always", "--dirty"]))?;
        Ok(Self { workspace, aws, stack, commit: commit.trim().to_owned() })
    }
}

impl Delivery<'_> {
    fn deliver(&mut self, args: &Args) -> Result<()> {
        if !args.built {
            package::build(self.workspace, &self.workspace.functions)?;
        }
        let packages = self.packages()?;
        let template = fingerprint_of_template(self.workspace)?;
        let stack = self.stack_at_rest()?;
        let unchanged = list(&stack["Tags"]).any(|tag| tag["Key"] == TAG && tag["Value"] == template.as_str());
        let with_template = !unchanged || args.template || !args.parameters.is_empty();

        let before = self.aliases()?;
        let missing: Vec<_> = self.workspace.functions.iter().filter(|name| !before.contains_key(*name)).collect();
        if !with_template && !missing.is_empty() {
            bail!(
                "the stack {} has no {missing:?} with a version `live`. Deploy the template, too: --template",
                self.stack
            );
        }
        say(format_args!("live: {}", listed(before.iter().map(|(name, alias)| (name, &alias.function_version)))));

        let parameters = parameters(&stack, &args.parameters)?;
        let delivered = self.replace(&parameters, &packages, &template, with_template.then_some(args), &before);
        if let Err(problem) = delivered {
            step("Something failed: putting every `live` back");
            // CloudFormation goes on by itself when `sam deploy` does not, and would lead them away again.
            while with_template && self.stack().is_ok_and(|stack| at_work(status(&stack))) {
                say("  CloudFormation is still at work on the stack: waiting for it");
                thread::sleep(Duration::from_secs(10));
            }
            let put_back = self.put_back(&before);
            // Of an interruption nothing else is told.
            if problem.is::<Interrupted>() {
                say(&put_back);
            }
            return Err(problem.context(put_back));
        }
        Ok(())
    }

    /// What CloudFormation says of the stack; null if there is none.
    fn stack(&mut self) -> Result<Value> {
        let stacks = self.aws.ask("cloudformation", "describe_stacks", &json!({ "StackName": self.stack }))?;
        Ok(stacks["Stacks"][0].clone())
    }

    /// The same of a stack that can be deployed to; null if that has to be made.
    fn stack_at_rest(&mut self) -> Result<Value> {
        let stack = self.stack()?;
        let name = &self.stack;
        match status(&stack) {
            "REVIEW_IN_PROGRESS" => Ok(Value::Null),
            dead @ ("CREATE_FAILED" | "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "DELETE_FAILED") => bail!(
                "the stack {name} is {dead}: nothing can be deployed to it. Delete it (docs/deploying.md, Tearing it down)"
            ),
            busy if busy == "UPDATE_ROLLBACK_FAILED" || at_work(busy) => {
                bail!("the stack {name} is {busy}. See to that in CloudFormation, or wait; then try again")
            }
            _ => Ok(stack),
        }
    }

    /// Everything that may fail half-way.
    fn replace(
        &mut self,
        parameters: &BTreeMap<String, String>,
        packages: &BTreeMap<String, Package>,
        template: &str,
        with_template: Option<&Args>,
        before: &Aliases,
    ) -> Result<()> {
        let build = fingerprint_of_build(packages, template, parameters);
        // New tables before new functions, so that nothing asks for what is not there. Only the first time there is nobody to make them.
        if before.contains_key("migrate") {
            self.migrate(packages)?;
        }
        if let Some(args) = with_template {
            step("Deploying the template");
            process::run("sam deploy", &mut self.sam_deploy(args, template, &build)?)?;
            // It may have another database now.
            self.migrate(packages)?;
        }
        let mut versions = Versions::new();
        for name in &self.workspace.functions {
            let version = self.ship(name, packages)?;
            if name != "migrate" {
                self.smoke(name, &version)?;
            }
            versions.insert(name.clone(), version);
        }
        let leads_there = |(name, version): &(&String, &String)| {
            before.get(*name).is_some_and(|alias| alias.function_version == **version)
        };
        if versions.iter().all(|function| leads_there(&function)) {
            say("Nothing is new: live leads where it led");
            return Ok(());
        }
        step("Nothing failed: live leads there");
        let deployment = number(before, &build);
        // One that leads there already was moved by this deployment when it was tried before, or is none of its business.
        for (name, version) in versions.iter().filter(|function| !leads_there(function)) {
            interrupt::check()?;
            let before = before.get(name).map_or(version, |alias| &alias.function_version).clone();
            self.flip(name, version, &Memory { deployment, shipped: build.clone(), before }.written())?;
        }
        say(format_args!("live: {}", listed(&versions)));
        Ok(())
    }

    /// Leads back what the newest deployment moved. Each remembers where it came from, so that doing it twice undoes it.
    fn roll_back(&mut self) -> Result<()> {
        let now = self.aliases()?;
        let back = moved_last(&now);
        if back.is_empty() {
            bail!(
                "no alias `live` of {} remembers another version: this command has not deployed anything yet",
                self.stack
            );
        }
        // All of them, before the first alias moves: half a rollback would be worse than none.
        for (name, Memory { before, .. }) in &back {
            if self.of_function("get_function_configuration", name, json!({ "Qualifier": before }))?.is_null() {
                bail!(
                    "version {before} of {name} is not there any more, so nothing was changed. Check out what it was built from, and deploy that"
                );
            }
        }
        for (name, Memory { deployment, shipped, before }) in &back {
            let memory = Memory {
                deployment: deployment + 1,
                shipped: format!("back from {}", shipped.trim_start_matches("back from ")),
                before: now[name].function_version.clone(),
            };
            self.flip(name, before, &memory.written())?;
        }
        say(format_args!("live: {}", listed(back.iter().map(|(name, memory)| (name, &memory.before)))));
        say("Those are the functions of before, on the tables of now. The same command once more goes forward again.");
        Ok(())
    }

    /// Every package, if all are there and for the machine that is built for.
    fn packages(&self) -> Result<BTreeMap<String, Package>> {
        let mut packages = BTreeMap::new();
        for name in &self.workspace.functions {
            let package = Package::read(&self.workspace.package(name))
                .with_context(|| format!("{name} cannot be shipped. Build it: leave out --built"))?;
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

    /// The aliases `live` that are there.
    pub(crate) fn aliases(&mut self) -> Result<Aliases> {
        let mut aliases = Aliases::new();
        for name in &self.workspace.functions {
            let alias = self.of_function("get_alias", name, json!({ "Name": "live" }))?;
            if !alias.is_null() {
                aliases.insert(name.clone(), serde_json::from_value(alias)?);
            }
        }
        Ok(aliases)
    }

    fn migrate(&mut self, packages: &BTreeMap<String, Package>) -> Result<()> {
        let version = self.ship("migrate", packages)?;
        step("Migrating the database");
        let report =
            self.invoke("migrate", &version, &json!({})).context("the database was not migrated, and is as it was")?;
        say(format_args!("  {report}"));
        Ok(())
    }

    /// `sam deploy` of the template with the very packages that are shipped otherwise, so that there is one build of everything.
    fn sam_deploy(&self, args: &Args, template: &str, build: &str) -> Result<Command> {
        let file = packaged_template(self.workspace)?;
        let mut sam = tools::sam_deploy(self.workspace)?;
        sam.arg("--template-file").arg(file).arg("--config-file").arg(self.workspace.root.join("samconfig.toml"));
        sam.args(["--config-env", &args.stage, "--stack-name", &self.stack, "--tags", &format!("{TAG}={template}")]);
        sam.args([
            "--resolve-s3",
            "--capabilities",
            "CAPABILITY_IAM",
            "--no-confirm-changeset",
            "--no-fail-on-empty-changeset",
        ]);
        // `Build` stands in every function's description, so CloudFormation publishes versions exactly when it changes.
        sam.arg("--parameter-overrides").arg(format!("Build={build}"));
        for (name, value) in args.parameters.iter().filter_map(|parameter| parameter.split_once('=')) {
            sam.arg(format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
        }
        Ok(sam)
    }

    /// A version with our package that is ready to answer. What has not changed makes no new one.
    fn ship(&mut self, name: &str, packages: &BTreeMap<String, Package>) -> Result<String> {
        interrupt::check()?;
        let now = self.of_function("get_function_configuration", name, json!({}))?;
        if now.is_null() {
            bail!(
                "the stack {} has no function {name}. Is it in template.yaml? Deploy that, too: --template",
                self.stack
            );
        }
        if now["CodeSha256"] != packages[name].sha256.as_str() {
            let path = self.workspace.package(name);
            self.of_function("update_function_code", name, json!({ "ZipFile": path, "Architectures": [MACHINE] }))?;
            self.of_function("function_updated_v2", name, json!({}))?;
        }
        let version = self.of_function("publish_version", name, json!({ "Description": self.commit }))?;
        let version = text(&version["Version"]).to_owned();
        self.of_function("function_active_v2", name, json!({ "Qualifier": version }))?;
        say(format_args!("  {name}: version {version}"));
        Ok(version)
    }

    /// Whether a version starts, finds what it needs, and answers.
    fn smoke(&mut self, name: &str, version: &str) -> Result<()> {
        let reserved = self.of_function("get_function_concurrency", name, json!({}))?;
        if reserved["ReservedConcurrentExecutions"] == 0 {
            say(format_args!("  {name} is kept from running: not asked"));
            return Ok(());
        }
        let file = self.workspace.root.join(format!("events/{name}.json"));
        let mut event: Value = serde_json::from_str(
            &fs::read_to_string(&file)
                .with_context(|| format!("{name} is not shipped without a sample event. Add {}", file.display()))?,
        )?;
        // Nobody signs up, and no mail is sent, because something is deployed.
        if ["signup", "forgot-password"].contains(&name) {
            event["body"] = json!("{}");
            event["isBase64Encoded"] = json!(false);
        }
        let answer = self.invoke(name, version, &event)?;
        if answer["statusCode"].as_u64().is_some_and(|status| status >= 500) {
            bail!("version {version} of {name} answers its sample event with {answer}: its log says why");
        }
        Ok(())
    }

    fn invoke(&mut self, name: &str, version: &str, event: &Value) -> Result<Value> {
        let arguments = json!({ "Qualifier": version, "Payload": event.to_string() });
        let invoked = self.of_function("invoke", name, arguments)?;
        let payload = text(&invoked["Payload"]);
        if !invoked["FunctionError"].is_null() {
            bail!("version {version} of {name} failed: {payload}");
        }
        serde_json::from_str(payload).with_context(|| format!("version {version} of {name} answers no JSON: {payload}"))
    }

    fn flip(&mut self, name: &str, version: &str, description: &str) -> Result<()> {
        let arguments = json!({ "Name": "live", "FunctionVersion": version, "Description": description });
        self.of_function("update_alias", name, arguments).map(drop)
    }

    /// Leads every alias where it led, and returns what to tell of that.
    fn put_back(&mut self, before: &Aliases) -> String {
        let mut stuck = Vec::new();
        for (name, Alias { function_version, description }) in before {
            if let Err(problem) = self.flip(name, function_version, description) {
                complain(format_args!("{problem:#}"));
                stuck.push(format!("{name} {function_version}"));
            }
        }
        match stuck.as_slice() {
            _ if before.is_empty() => "nothing was `live` before, so nothing was put back".to_owned(),
            [] => "not deployed; every `live` leads where it led before (the template stays, where that was deployed)"
                .to_owned(),
            stuck => format!("not deployed, and `live` has to be put back by hand: {}", stuck.join(", ")),
        }
    }

    pub(crate) fn of_function(&mut self, operation: &str, name: &str, mut arguments: Value) -> Result<Value> {
        arguments["FunctionName"] = json!(format!("{}-{name}", self.stack));
        self.aws.ask("lambda", operation, &arguments).with_context(|| name.to_owned())
    }
}

fn status(stack: &Value) -> &str {
    text(&stack["StackStatus"])
}

/// Whether it is CloudFormation's word for a stack that it has not done with.
fn at_work(status: &str) -> bool {
    status.ends_with("_IN_PROGRESS")
}

/// The parameters of the template that a deployment gives or keeps, by their names; `Build` is made of the others.
fn parameters(stack: &Value, given: &[String]) -> Result<BTreeMap<String, String>> {
    let kept = list(&stack["Parameters"])
        .map(|parameter| (text(&parameter["ParameterKey"]).to_owned(), text(&parameter["ParameterValue"]).to_owned()));
    let mut parameters: BTreeMap<_, _> = kept.filter(|(name, _)| name != "Build").collect();
    for parameter in given {
        let (name, value) = parameter.split_once('=').with_context(|| format!("--set {parameter} has no ="))?;
        parameters.insert(name.to_owned(), value.to_owned());
    }
    Ok(parameters)
}

/// What identifies everything a version is made of: code, template and settings. Lambda publishes no version of what is the same as the last
/// one, and CloudFormation publishes one only where something about the function differs; so this stands in each function's description,
/// which has 256 characters at most.
fn fingerprint_of_build(
    packages: &BTreeMap<String, Package>,
    template: &str,
    parameters: &BTreeMap<String, String>,
) -> String {
    let packages: String = packages.values().map(|package| &*package.sha256).collect();
    fingerprint(format!("{packages} {template} {parameters:?}").as_bytes())
}

/// The template, with our packages where it names the functions' folders.
fn packaged_template(workspace: &Workspace) -> Result<PathBuf> {
    let mut template = fs::read_to_string(workspace.root.join("template.yaml"))?;
    for name in &workspace.functions {
        let folder = format!("CodeUri: functions/{name}/\n");
        template = template.replace(&folder, &format!("CodeUri: {}\n", workspace.package(name).display()));
    }
    if let Some(line) = template.lines().find(|line| line.contains("CodeUri: functions/")) {
        bail!("template.yaml has `{}`, which is no folder of a function", line.trim());
    }
    let folder = workspace.root.join(".aws-sam");
    fs::create_dir_all(&folder)?;
    let file = folder.join("packaged.yaml");
    fs::write(&file, template)?;
    Ok(file)
}

fn listed<N: std::fmt::Display, V: std::fmt::Display>(versions: impl IntoIterator<Item = (N, V)>) -> String {
    let versions: Vec<_> = versions.into_iter().map(|(name, version)| format!("{name} {version}")).collect();
    if versions.is_empty() { "nothing".to_owned() } else { versions.join(", ") }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{Alias, Aliases, Memory, fingerprint_of_build, moved_last, number, parameters};

    fn aliases(of: &[(&str, &str, &str)]) -> Aliases {
        let alias = |version: &str, description: &str| Alias {
            function_version: version.to_owned(),
            description: description.to_owned(),
        };
        of.iter().map(|(name, version, description)| ((*name).to_owned(), alias(version, description))).collect()
    }

    #[test]
    fn what_an_alias_remembers_it_can_tell() {
        let memory = Memory { deployment: 7, shipped: "back from a1".to_owned(), before: "3".to_owned() };
        assert_eq!(Memory::read(&memory.written()), Some(memory));
        assert_eq!(Memory::read("somebody's own words"), None);
    }

    #[test]
    fn a_build_is_another_where_code_template_or_a_parameter_is() {
        let stack = json!({ "Parameters": [
            { "ParameterKey": "Build", "ParameterValue": "before" },
            { "ParameterKey": "PasswordMinLength", "ParameterValue": "15" },
            { "ParameterKey": "MailFrom", "ParameterValue": "no-reply@example.com" },
        ] });
        let of = |template: &str, given: &[&str]| {
            let given: Vec<_> = given.iter().map(|given| (*given).to_owned()).collect();
            fingerprint_of_build(&BTreeMap::new(), template, &parameters(&stack, &given).expect("parameters"))
        };
        assert_eq!(of("a", &[]), of("a", &["PasswordMinLength=15"]), "the same value again");
        assert_ne!(of("a", &[]), of("a", &["PasswordMinLength=16"]));
        assert_ne!(of("a", &[]), of("b", &[]));
        assert!(parameters(&Value::Null, &["MailFrom".to_owned()]).is_err());
    }

    #[test]
    fn only_what_the_newest_deployment_moved_is_led_back() {
        // Of three, the last deployment changed two and was killed after one of these.
        let aliases = aliases(&[
            ("signin", "4", "deployment 3 of c, before: 3"),
            ("signup", "3", "deployment 2 of b, before: 2"),
            ("public", "1", ""),
        ]);
        let moved: Vec<_> = moved_last(&aliases).into_iter().map(|(name, memory)| (name, memory.before)).collect();
        assert_eq!(moved, [("signin".to_owned(), "3".to_owned())]);
        assert_eq!(number(&aliases, "c"), 3, "the same again goes on with it");
        assert_eq!(number(&aliases, "d"), 4);
        assert_eq!(number(&Aliases::new(), "a"), 1);
    }
}
