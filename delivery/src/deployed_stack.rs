//! The application's stack of a stage, and the functions in it.

use std::{collections::BTreeMap, fmt::Display, fs, process::Command};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use toolkit::{
    console::{print_error, say},
    interrupt, process,
    workspace::Workspace,
};

use crate::{
    alias::{Alias, Aliases},
    aws::Aws,
    fingerprints::Packages,
    package::MACHINE,
};

/// A version of each function, by the function's name.
pub type Versions = BTreeMap<String, String>;

/// The application's stack of one stage.
pub struct DeployedStack<'a> {
    workspace: &'a Workspace,
    pub aws: Aws,
    /// Its name in CloudFormation. The names of its functions begin with it.
    pub name: String,
    commit: String,
}

impl<'a> DeployedStack<'a> {
    /// Finds the name of a stage's stack, and checks that AWS accepts the credentials of the environment.
    pub fn of_stage(workspace: &'a Workspace, stage: &str) -> Result<Self> {
        let name = stack_name(workspace, stage)?;
        let mut aws = Aws::new(workspace, &[])?;
        let identity = aws.call("sts", "get_caller_identity", &json!({})).context(
            "AWS does not accept these credentials. Log in (aws sso login, or AWS_PROFILE, or a workflow's role), and set AWS_REGION; then try again",
        )?;
        say(format_args!("Stack {name} of stage {stage}, as {}", text(&identity["Arn"])));
        let commit = process::output("git", Command::new("git").args(["describe", "--always", "--dirty"]))?;
        Ok(Self { workspace, aws, name, commit: commit.trim().to_owned() })
    }
}

impl DeployedStack<'_> {
    /// The aliases `live` that exist.
    pub fn aliases(&mut self) -> Result<Aliases> {
        let mut aliases = Aliases::new();
        for name in &self.workspace.functions {
            let alias = self.call("get_alias", name, json!({ "Name": "live" }))?;
            if !alias.is_null() {
                aliases.insert(name.clone(), serde_json::from_value(alias)?);
            }
        }
        Ok(aliases)
    }

    /// Publishes a version of a function with our package, waits until it is active, and returns its number. Lambda returns the last
    /// version's number if nothing has changed.
    pub fn publish(&mut self, name: &str, packages: &Packages) -> Result<String> {
        interrupt::check()?;
        let now = self.call("get_function_configuration", name, json!({}))?;
        if now.is_null() {
            bail!(
                "the stack {} has no function {name}. If it is in template.yaml, deploy the template, too: --template",
                self.name
            );
        }
        if now["CodeSha256"] != packages[name].sha256.as_str() {
            let path = self.workspace.package(name);
            self.call("update_function_code", name, json!({ "ZipFile": path, "Architectures": [MACHINE] }))?;
            self.call("function_updated_v2", name, json!({}))?;
        }
        let version = self.call("publish_version", name, json!({ "Description": self.commit }))?;
        let version = text(&version["Version"]).to_owned();
        self.call("function_active_v2", name, json!({ "Qualifier": version }))?;
        say(format_args!("  {name}: version {version}"));
        Ok(version)
    }

    /// Invokes a version with the function's sample event. Returns an error if it fails or answers with a 5xx status.
    pub fn try_sample_event(&mut self, name: &str, version: &str) -> Result<()> {
        let reserved = self.call("get_function_concurrency", name, json!({}))?;
        if reserved["ReservedConcurrentExecutions"] == 0 {
            say(format_args!("  {name} has a reserved concurrency of 0, so it is not invoked"));
            return Ok(());
        }
        let file = self.workspace.root.join(format!("events/{name}.json"));
        let mut event: Value = serde_json::from_str(
            &fs::read_to_string(&file)
                .with_context(|| format!("{name} has no sample event. Add {}", file.display()))?,
        )?;
        // Both functions refuse this body, so a deployment creates no account and sends no mail.
        if ["signup", "forgot-password"].contains(&name) {
            event["body"] = json!("{}");
            event["isBase64Encoded"] = json!(false);
        }
        let answer = self.invoke(name, version, &event)?;
        if answer["statusCode"].as_u64().is_some_and(|status| status >= 500) {
            bail!(
                "version {version} of {name} answers its sample event with {answer}. {}",
                self.where_the_log_is(name)
            );
        }
        Ok(())
    }

    /// Invokes a version, and returns its answer.
    pub fn invoke(&mut self, name: &str, version: &str, event: &Value) -> Result<Value> {
        let arguments = json!({ "Qualifier": version, "Payload": event.to_string() });
        let invoked = self.call("invoke", name, arguments)?;
        let payload = text(&invoked["Payload"]);
        if !invoked["FunctionError"].is_null() {
            bail!("version {version} of {name} failed: {payload}. {}", self.where_the_log_is(name));
        }
        serde_json::from_str(payload)
            .with_context(|| format!("the answer of version {version} of {name} is not JSON: {payload}"))
    }

    fn where_the_log_is(&self, name: &str) -> String {
        let stack = &self.name;
        format!(
            "Its log says why: search the log group in the outputs of {stack} with `filter span.function = \"{name}\"`"
        )
    }

    /// The table of sessions that a version of a function uses. Empty if it uses none. `None` if the version does not exist.
    pub fn session_table(&mut self, name: &str, version: &str) -> Result<Option<String>> {
        let function = self.call("get_function_configuration", name, json!({ "Qualifier": version }))?;
        if function.is_null() {
            return Ok(None);
        }
        let table = text(&function["Environment"]["Variables"]["STATE_TABLE"]);
        // A table with another name only has counters: earlier versions of template.yaml created it.
        let has_sessions = table.starts_with(&self.name_of_session_table(""));
        Ok(Some(if has_sessions { table.to_owned() } else { String::new() }))
    }

    /// The name of the table of sessions if the template's parameter `StateGeneration` has this value.
    pub fn name_of_session_table(&self, generation: &str) -> String {
        format!("{}-state-{generation}", self.name)
    }

    /// Points the alias `live` of a function to a version.
    pub fn set_live(&mut self, name: &str, version: &str, description: &str) -> Result<()> {
        let arguments = json!({ "Name": "live", "FunctionVersion": version, "Description": description });
        self.call("update_alias", name, arguments).map(drop)
    }

    /// Points every alias `live` to the version that it pointed to before. Prints what fails, and returns a summary for the error message.
    pub fn restore_live(&mut self, before: &Aliases) -> String {
        let mut failed = Vec::new();
        for (name, Alias { function_version, description }) in before {
            if let Err(problem) = self.set_live(name, function_version, description) {
                print_error(format_args!("{problem:#}"));
                failed.push(format!("{name} {function_version}"));
            }
        }
        match failed.as_slice() {
            _ if before.is_empty() => "not deployed. There was no alias `live` before, so none was restored".to_owned(),
            [] => "not deployed. Every alias `live` points to the same version as before (if the template was deployed, it stays deployed)"
                .to_owned(),
            failed => format!("not deployed. Point these aliases `live` to these versions by hand: {}", failed.join(", ")),
        }
    }

    /// Calls an operation of Lambda's API on a function.
    pub fn call(&mut self, operation: &str, name: &str, mut arguments: Value) -> Result<Value> {
        arguments["FunctionName"] = json!(format!("{}-{name}", self.name));
        self.aws.call("lambda", operation, &arguments).with_context(|| name.to_owned())
    }
}

/// The name that a stage's section of samconfig.toml gives its stack.
fn stack_name(workspace: &Workspace, stage: &str) -> Result<String> {
    let settings: toml::Table = fs::read_to_string(workspace.root.join("samconfig.toml"))?.parse()?;
    let name =
        settings.get(stage).and_then(|stage| stage.get("global")?.get("parameters")?.get("stack_name")?.as_str());
    name.map(str::to_owned).with_context(|| {
        let stages: Vec<_> = settings.iter().filter(|(_, section)| section.is_table()).map(|(name, _)| name.as_str()).collect();
        format!(
            "samconfig.toml names no stack for the stage `{stage}`. It has the stages {}. Add a section: [{stage}.global.parameters]",
            stages.join(", ")
        )
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Names with their versions, for the terminal.
pub fn list<N: Display, V: Display>(versions: impl IntoIterator<Item = (N, V)>) -> String {
    let versions: Vec<_> = versions.into_iter().map(|(name, version)| format!("{name} {version}")).collect();
    if versions.is_empty() { "nothing".to_owned() } else { versions.join(", ") }
}
