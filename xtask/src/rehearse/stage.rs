//! What a rehearsal is played on: an AWS in one process, and packages that say what their function is to answer.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    aws::Aws,
    console::{say, step},
    stack::{
        home::Home,
        ports,
        process::{self, Service},
        tools,
    },
    workspace::Workspace,
};

/// The stage of samconfig.toml, and what that calls its stack.
const STAGE: &str = "production";
const STACK: &str = "jwt-auth-production";

/// What a stand-in of a generation says when its function is invoked.
pub fn fine(generation: &str) -> Value {
    json!({ "answer": { "statusCode": 200, "generation": generation } })
}

/// Machines, as an ELF header has them.
pub const ARM64: u8 = 0xb7;
pub const X86_64: u8 = 0x3e;

pub type Versions = BTreeMap<String, String>;

pub struct Stage<'a> {
    workspace: &'a Workspace,
    home: &'a Home,
    aws: Aws,
    environment: Vec<(&'static str, String)>,
    /// The versions behind each `live` when a generation first was there. It must be these whenever it is there again.
    versions: BTreeMap<String, Versions>,
    scenes: u64,
    server: Service,
}

impl<'a> Stage<'a> {
    /// An empty account.
    pub fn open(workspace: &'a Workspace, home: &'a Home) -> Result<Self> {
        let port = ports::free()?;
        // By name: moto takes the first part of an address for a bucket.
        let url = format!("http://localhost:{port}");
        step(format_args!("Starting an AWS on {url}"));
        let mut server = Service::quiet("aws", tools::moto(workspace)?.arg(port.to_string()), home)?;
        server.await_ready(Duration::from_mins(1), || ports::answers(port))?;
        let environment = vec![
            ("AWS_ENDPOINT_URL", url),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("SAM_CLI_POLL_DELAY", "0.5".to_owned()),
            ("NO_PROXY", "localhost".to_owned()),
            ("CARGO_TARGET_DIR", home.folder().join("target").display().to_string()),
        ];
        let aws = Aws::new(workspace, &environment)?;
        Ok(Self { workspace, home, aws, environment, versions: BTreeMap::new(), scenes: 0, server })
    }

    pub fn scenes(&self) -> u64 {
        self.scenes
    }

    /// A command with this AWS as its own.
    pub fn on(&self, mut command: Command) -> Command {
        command.current_dir(&self.workspace.root).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.folder().join("target/lambda").join(name).join("bootstrap.zip")
    }

    /// Stand-ins for every function, all of which answer well but these.
    pub fn packages(&self, generation: &str, but: &[(&str, Value)]) -> Result<()> {
        for name in &self.workspace.functions {
            let said =
                but.iter().find(|(other, _)| other == name).map_or_else(|| fine(generation), |(_, said)| said.clone());
            self.package(name, ARM64, &said)?;
        }
        Ok(())
    }

    /// A stand-in: the header of a program of 64 bits, without sections, and behind it what it says.
    pub fn package(&self, name: &str, machine: u8, said: &Value) -> Result<()> {
        let mut program = [0; 64];
        program[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        program[16..24].copy_from_slice(&[3, 0, machine, 0, 1, 0, 0, 0]);
        program[52..60].copy_from_slice(&[64, 0, 56, 0, 0, 0, 64, 0]);
        let program = [&program[..], said.to_string().as_bytes()].concat();

        let path = self.path(name);
        fs::create_dir_all(path.with_file_name(""))?;
        fs::write(path.with_file_name("bootstrap"), &program)?;
        let mut zip = ZipWriter::new(File::create(path)?);
        zip.start_file("bootstrap", SimpleFileOptions::default())?;
        zip.write_all(&program)?;
        zip.finish()?;
        Ok(())
    }

    pub fn deploys(&self, arguments: &[&str]) -> Result<()> {
        let (succeeded, _) = self.deploy(arguments)?;
        ensure!(succeeded, "this deployment should have succeeded");
        Ok(())
    }

    /// A deployment that must fail, with these words.
    pub fn fails(&self, arguments: &[&str], words: &[&str]) -> Result<()> {
        let (succeeded, said) = self.deploy(arguments)?;
        ensure!(!succeeded, "this deployment should have failed");
        match words.iter().find(|word| !said.contains(**word)) {
            None => Ok(()),
            Some(word) => bail!("it should have said `{word}`"),
        }
    }

    /// `cargo xtask prune`, which must succeed.
    pub fn prunes(&self, arguments: &[&str]) -> Result<()> {
        let (succeeded, _) = self.xtask("prune", arguments)?;
        ensure!(succeeded, "old versions should have been deleted");
        Ok(())
    }

    fn deploy(&self, arguments: &[&str]) -> Result<(bool, String)> {
        self.xtask("deploy", arguments)
    }

    /// A command of `cargo xtask`; returns whether it succeeded, and what went wrong in its words.
    fn xtask(&self, task: &str, arguments: &[&str]) -> Result<(bool, String)> {
        // Not the file of this very process: a build of the whole workspace meanwhile may have put another in its place.
        let mut command = self.on(Command::new(self.workspace.binary("xtask")));
        let done = command.args([task, "--stage", STAGE]).args(arguments).output()?;
        let problem = String::from_utf8_lossy(&done.stderr).into_owned();
        for line in String::from_utf8_lossy(&done.stdout).lines().chain(problem.lines()) {
            say(format_args!("  | {line}"));
        }
        Ok((done.status.success(), problem))
    }

    /// As a pipeline that knows no `cargo xtask` ships a function.
    pub fn cargo_lambda_deploy(&self, name: &str) -> Result<()> {
        let mut ship = self.on(Command::new(tools::cargo_lambda(self.workspace)?.join("cargo-lambda")));
        ship.args(["lambda", "deploy", "--binary-name", name, "--alias", "live", &format!("{STACK}-{name}")]);
        process::run("cargo lambda deploy", &mut ship)
    }

    /// A generation whose versions are others from now on.
    pub fn begins_anew(&mut self, generation: &str) {
        self.versions.remove(generation);
    }

    /// Takes `live` away from a function, as if the stack had none.
    pub fn loses(&mut self, name: &str) -> Result<()> {
        self.aws.ask("lambda", "delete_alias", &of(name, json!({ "Name": "live" })))?;
        self.versions.values_mut().for_each(|versions| drop(versions.remove(name)));
        Ok(())
    }

    /// The version behind `live` of a function, which has to answer as this generation does.
    pub fn answers(&mut self, name: &str, generation: &str) -> Result<Option<String>> {
        let Some(version) = self.version(name)? else { return Ok(None) };
        let answer = self.aws.ask("lambda", "invoke", &of(name, json!({ "Qualifier": version })))?;
        let answer = answer["Payload"].as_str().unwrap_or_default();
        ensure!(
            answer.contains(&format!("\"{generation}\"")),
            "`live` of {name} answers {answer}, and not as the {generation}"
        );
        Ok(Some(version))
    }

    /// The version behind `live` of a function, if it has one.
    fn version(&mut self, name: &str) -> Result<Option<String>> {
        let alias = self.aws.ask("lambda", "get_alias", &of(name, json!({ "Name": "live" })))?;
        Ok(alias["FunctionVersion"].as_str().map(str::to_owned))
    }

    /// The version behind each `live`.
    pub fn live(&mut self) -> Result<Versions> {
        let mut versions = Versions::new();
        for name in &self.workspace.functions {
            if let Some(version) = self.version(name)? {
                versions.insert(name.clone(), version);
            }
        }
        Ok(versions)
    }

    /// Whether each `live` is this version.
    pub fn is_live(&mut self, versions: &Versions) -> Result<()> {
        let live = self.live()?;
        ensure!(live == *versions, "`live` leads to {live:?} instead of {versions:?}");
        Ok(())
    }

    /// Whether `live` of every function is the version of this generation, and answers as that.
    pub fn scene(&mut self, what: &str, generation: &str) -> Result<()> {
        let mut versions = Versions::new();
        for name in &self.workspace.functions {
            if let Some(version) = self.answers(name, generation)? {
                versions.insert(name.clone(), version);
            }
        }
        let expected = self.versions.entry(generation.to_owned()).or_insert_with(|| versions.clone());
        ensure!(versions == *expected, "`live` leads to {versions:?} instead of {expected:?}");
        self.server.check()?;
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
