//! `cargo xtask rehearse`: the command that deploys, for real, to an AWS in one process (`xtask/tools/rehearsal.py`).

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    aws::Aws,
    check_template::Translation,
    console::{say, step},
    deploy::{TAG, fingerprint_of_template},
    stack::{
        home::Home,
        ports,
        process::{self, Service},
        tools,
    },
    workspace::Workspace,
};

/// Rehearse deployments that succeed, that fail half-way and that are taken back, without an AWS account.
///
/// Every function of the template is made in moto, as the template would make it, and `cargo xtask deploy` ships stand-ins to it: packages
/// that say what their function is to answer. After each deployment, which version is behind each `live` has to be the right one.
/// What it leaves out is in docs/unproven.md.
#[derive(clap::Args)]
pub struct Args;

pub fn run(_: &Args) -> Result<ExitCode> {
    let scenes = rehearse(&Workspace::load()?)?;
    say(format_args!("\n{scenes} scenes, each as it should be"));
    Ok(ExitCode::SUCCESS)
}

const STACK: &str = "jwt-auth";

/// Plays every scene, and returns how many there are.
pub fn rehearse(workspace: &Workspace) -> Result<u64> {
    let home = Home::ephemeral(workspace)?;
    let mut stage = Stage::build(workspace, &home)?;
    stage.scene("the template made every function", "first")?;

    stage.packages("second", &[])?;
    stage.deploys(&[])?;
    stage.scene("a deployment leads every `live` to what was built", "second")?;

    stage.packages("third", &[("signin", json!({ "answer": { "statusCode": 503 } }))])?;
    stage.fails(&["signin", "503", "every `live` leads where it led before"])?;
    stage.scene("a version that answers 503 is not let near a request", "second")?;

    stage.packages("third", &[("dashboard", json!({ "error": "exited with error: exit status: 1" }))])?;
    stage.fails(&["dashboard", "exit status: 1", "every `live` leads where it led before"])?;
    stage.scene("nor is one that does not start", "second")?;

    stage.packages("third", &[("migrate", json!({ "error": "the schema is newer" }))])?;
    stage.fails(&["the database was not migrated", "the schema is newer"])?;
    stage.scene("where migrate refuses, the other functions stay as they are", "second")?;

    stage.packages("third", &[("sweep", json!({ "answer": {}, "stuck": true }))])?;
    stage.fails(&["sweep is stuck", "every `live` leads where it led before"])?;
    stage.scene("where one `live` does not move, those that did are put back", "second")?;

    stage.packages("third", &[])?;
    stage.package("refresh", X86_64, &fine("third"))?;
    stage.fails(&["refresh", "x86_64"])?;
    stage.scene("a package for another machine is not shipped", "second")?;

    stage.packages("third", &[])?;
    stage.deploys(&[])?;
    stage.scene("what was broken is mended", "third")?;
    stage.deploys(&[])?;
    stage.scene("deploying the same again makes no version, and forgets nothing", "third")?;

    stage.deploys(&["--rollback"])?;
    stage.scene("and taken back on demand", "second")?;
    stage.deploys(&["--rollback"])?;
    stage.scene("and forth again", "third")?;

    stage.ask("lambda", "delete_alias", &of("example", json!({ "Name": "live" })))?;
    stage.fails(&["example", "--template"])?;
    stage.versions.iter_mut().for_each(|(_, versions)| drop(versions.remove("example")));
    stage.scene("a function that the stack lacks stops a deployment before it begins", "third")?;
    Ok(stage.scenes)
}

/// What a stand-in of a generation says when its function is invoked.
fn fine(generation: &str) -> Value {
    json!({ "answer": { "statusCode": 200, "generation": generation } })
}

/// Machines, as an ELF header has them.
const ARM64: u8 = 0xb7;
const X86_64: u8 = 0x3e;

/// What the rehearsal is played on.
struct Stage<'a> {
    workspace: &'a Workspace,
    home: &'a Home,
    aws: Aws,
    environment: Vec<(&'static str, String)>,
    /// The versions behind each `live` when a generation first was there. It must be these whenever it is there again.
    versions: BTreeMap<String, BTreeMap<String, String>>,
    scenes: u64,
    _server: Service,
}

impl<'a> Stage<'a> {
    /// The stack as the template makes it.
    fn build(workspace: &'a Workspace, home: &'a Home) -> Result<Self> {
        let port = ports::free()?;
        let url = format!("http://127.0.0.1:{port}");
        step(format_args!("Starting an AWS on {url}"));
        let mut server = Service::quiet("aws", tools::moto(workspace)?.arg(port.to_string()), home)?;
        server.await_ready(Duration::from_mins(1), || ports::answers(port))?;

        let environment = vec![
            ("AWS_ENDPOINT_URL", url),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
            ("CARGO_TARGET_DIR", home.folder().join("target").display().to_string()),
        ];
        let aws = Aws::new(workspace, &environment)?;
        let mut stage =
            Self { workspace, home, aws, environment, versions: BTreeMap::new(), scenes: 0, _server: server };

        step("Making every function of the template there");
        stage.packages("first", &[])?;
        let tags = json!([{ "Key": TAG, "Value": fingerprint_of_template(workspace)? }]);
        let template = json!({ "Resources": { "Alarms": { "Type": "AWS::SNS::Topic" } } }).to_string();
        let stack = json!({ "StackName": STACK, "TemplateBody": template, "Tags": tags });
        stage.ask("cloudformation", "create_stack", &stack)?;
        let role = json!({ "RoleName": "function", "AssumeRolePolicyDocument": "{}" });
        let role = stage.ask("iam", "create_role", &role)?["Role"]["Arn"].clone();
        let translations = tools::translations(workspace)?;
        for (name, properties) in translations.first().into_iter().flat_map(Translation::named_functions) {
            let code = json!({ "ZipFile": stage.path(name) });
            let mut function = of(name, json!({ "Role": role, "Code": code }));
            for property in ["Runtime", "Handler", "Architectures", "MemorySize", "Timeout"] {
                function[property] = properties[property].clone();
            }
            stage.ask("lambda", "create_function", &function)?;
            let version = stage.ask("lambda", "publish_version", &of(name, json!({})))?["Version"].clone();
            stage.ask("lambda", "create_alias", &of(name, json!({ "Name": "live", "FunctionVersion": version })))?;
        }
        Ok(stage)
    }

    fn ask(&mut self, service: &str, operation: &str, arguments: &Value) -> Result<Value> {
        self.aws.ask(service, operation, arguments)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.folder().join("target/lambda").join(name).join("bootstrap.zip")
    }

    /// Stand-ins for every function, all of which answer well but these.
    fn packages(&self, generation: &str, but: &[(&str, Value)]) -> Result<()> {
        for name in &self.workspace.functions {
            let said =
                but.iter().find(|(other, _)| other == name).map_or_else(|| fine(generation), |(_, said)| said.clone());
            self.package(name, ARM64, &said)?;
        }
        Ok(())
    }

    fn package(&self, name: &str, machine: u8, said: &Value) -> Result<()> {
        let zip = self.path(name);
        let folder = zip.with_extension("");
        fs::create_dir_all(&folder)?;
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0".to_vec();
        elf.extend([machine, 0]);
        fs::write(folder.join("bootstrap"), elf)?;
        fs::write(folder.join("words.json"), said.to_string())?;
        let mut python = tools::sam_python(self.workspace)?;
        python.args(["-I", "-m", "zipfile", "-c"]).arg(&zip).args(["bootstrap", "words.json"]);
        process::run("zipfile", python.current_dir(&folder))
    }

    fn deploys(&self, arguments: &[&str]) -> Result<()> {
        let (succeeded, _) = self.deploy(arguments)?;
        ensure!(succeeded, "this deployment should have succeeded");
        Ok(())
    }

    /// A deployment that must fail, with these words.
    fn fails(&self, words: &[&str]) -> Result<()> {
        let (succeeded, said) = self.deploy(&[])?;
        ensure!(!succeeded, "this deployment should have failed");
        match words.iter().find(|word| !said.contains(**word)) {
            None => Ok(()),
            Some(word) => bail!("it should have said `{word}`"),
        }
    }

    /// `cargo xtask deploy`; returns whether it succeeded, and what went wrong in its words.
    fn deploy(&self, arguments: &[&str]) -> Result<(bool, String)> {
        // Not the file of this very process: a build of the whole workspace meanwhile may have put another in its place.
        let mut deploy = Command::new(self.workspace.binary("xtask"));
        deploy.current_dir(&self.workspace.root).args(["deploy", "--stage", "default"]);
        deploy.args(if arguments.is_empty() { &["--built"] } else { arguments });
        let done = deploy.envs(self.environment.iter().map(|(name, value)| (name, value))).output()?;
        let problem = String::from_utf8_lossy(&done.stderr).into_owned();
        for line in String::from_utf8_lossy(&done.stdout).lines().chain(problem.lines()) {
            say(format_args!("  | {line}"));
        }
        Ok((done.status.success(), problem))
    }

    /// Whether `live` of every function is the version of this generation, and answers as that.
    fn scene(&mut self, what: &str, generation: &str) -> Result<()> {
        let mut versions = BTreeMap::new();
        for name in &self.workspace.functions {
            let alias = self.aws.ask("lambda", "get_alias", &of(name, json!({ "Name": "live" })))?;
            let Some(version) = alias["FunctionVersion"].as_str() else { continue };
            let answer = self.aws.ask("lambda", "invoke", &of(name, json!({ "Qualifier": version })))?;
            let answer = answer["Payload"].as_str().unwrap_or_default();
            ensure!(
                answer.contains(&format!("\"{generation}\"")),
                "`live` of {name} answers {answer}, and not as the {generation}"
            );
            versions.insert(name.clone(), version.to_owned());
        }
        let expected = self.versions.entry(generation.to_owned()).or_insert_with(|| versions.clone());
        ensure!(versions == *expected, "`live` leads to {versions:?} instead of {expected:?}");
        self.scenes += 1;
        say(format_args!("---- {what}: every `live` is the {generation}\n"));
        Ok(())
    }
}

/// Arguments about a function.
fn of(name: &str, mut arguments: Value) -> Value {
    arguments["FunctionName"] = json!(format!("{STACK}-{name}"));
    arguments
}
