//! The servers that the tests use. Environment variables tell the tests their addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use toolkit::{
    console::step,
    http, ports,
    postgres::VERSIONS,
    process,
    run_folder::RunFolder,
    service::Service,
    system,
    workspace::{Workspace, cargo},
};

use super::part::Part;
use crate::{
    stack::{
        dynamodb::DynamoDb,
        mail::Mail,
        postgres::{self, Purpose, Server},
    },
    tools,
};

/// The servers and programs that the chosen parts need.
#[derive(Default)]
pub struct Servers {
    webdriver: Option<(Service, String)>,
    axe: Option<PathBuf>,
    verifiers: Option<(PathBuf, PathBuf)>,
    dynamodb: Option<DynamoDb>,
    mail: Option<Mail>,
    /// A PostgreSQL server for each major version that a part runs on.
    databases: BTreeMap<u32, Server>,
    /// The folder of PostgreSQL's programs, for each major version that a test may start.
    programs: BTreeMap<u32, PathBuf>,
    pub faults: Option<Faults>,
    /// Whether the functions are built.
    pub built: bool,
}

impl Servers {
    /// Starts the servers of these parts. `version` says on which major version of PostgreSQL a part runs.
    pub fn start(
        workspace: &Workspace,
        run_folder: &RunFolder,
        parts: &[Part],
        version: impl Fn(&Part) -> u32,
    ) -> Result<Self> {
        let mut servers = Self::default();
        let mut tests = parts.iter().filter(|part| part.needs_servers()).peekable();
        if tests.peek().is_some() {
            for version in tests.clone().map(version).collect::<BTreeSet<_>>() {
                let database = Server::start(workspace, run_folder, None, Purpose::Test(version))?;
                servers.databases.insert(version, database);
                servers.programs.insert(version, postgres::programs(workspace, version)?);
            }
            servers.mail = Some(Mail::start(workspace, run_folder, None)?);
            if parts.iter().any(|part| part.needs_dynamodb()) {
                servers.dynamodb = Some(DynamoDb::start(workspace, run_folder, None)?);
            }
            step("Building the functions and their tests");
            // This selects the same packages and test targets as `cargo test` does later. Otherwise cargo could resolve other
            // features of dependencies and compile them twice.
            let mut build = cargo();
            build.current_dir(&workspace.root).args(["build", "--workspace", "--bins"]);
            build.args(tests.flat_map(|part| part.target()));
            process::run("cargo build", &mut build)?;
            servers.built = true;
        }
        if parts.contains(&Part::Migrations) {
            for version in VERSIONS {
                servers.programs.insert(version, postgres::programs(workspace, version)?);
            }
        }
        if parts.contains(&Part::Faults) {
            servers.faults = Some(Faults::prepare(run_folder)?);
        }
        if parts.contains(&Part::Browser) {
            servers.webdriver = Some(webdriver(run_folder)?);
            servers.axe = Some(tools::axe(workspace)?);
        }
        if parts.contains(&Part::Verifiers) {
            servers.verifiers = Some(tools::verifiers(workspace)?);
        }
        Ok(servers)
    }

    /// The variables for tests that run on this major version of PostgreSQL.
    pub fn environment(&self, version: u32) -> impl Iterator<Item = (String, String)> {
        let database = self.databases.get(&version).into_iter().flat_map(move |server| {
            let (user, folder) = server.user_and_folder();
            [
                ("TEST_DATABASE_URL", server.url("postgres")),
                ("TEST_DATABASE_LOG", server.log().display().to_string()),
                ("TEST_POSTGRES_VERSION", version.to_string()),
                ("TEST_POSTGRES_USER", user),
                ("TEST_POSTGRES_FOLDER", folder.display().to_string()),
            ]
        });
        let programs = self.programs.iter();
        let programs =
            programs.map(|(version, folder)| (format!("TEST_POSTGRES_{version}"), folder.display().to_string()));
        let faults = self.faults.iter().flat_map(|faults| {
            [
                ("TEST_PGBOUNCER", faults.pgbouncer.display().to_string()),
                ("TEST_FAULTS", faults.table.display().to_string()),
            ]
        });
        let mail = self.mail.iter().map(|mail| ("TEST_SES_URL", mail.url()));
        let dynamodb = self.dynamodb.iter().flat_map(|dynamodb| {
            let url = ("TEST_DYNAMODB_URL", dynamodb.url().to_owned());
            // DynamoDB Local accepts any credentials of letters and digits.
            let sdk = [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
            let sdk = sdk.map(|(name, value)| (name, value.to_owned()));
            sdk.into_iter().chain([url])
        });
        let webdriver = self.webdriver.iter().map(|(_, url)| ("TEST_WEBDRIVER_URL", url.clone()));
        let axe = self.axe.iter().map(|axe| ("TEST_AXE", axe.display().to_string()));
        let verifiers = self.verifiers.iter().flat_map(|(python, packages)| {
            [("TEST_PYTHON", python.display().to_string()), ("TEST_NODE_PACKAGES", packages.display().to_string())]
        });
        let others = database.chain(faults).chain(mail).chain(dynamodb).chain(webdriver).chain(axe).chain(verifiers);
        others.map(|(name, value)| (name.to_owned(), value)).chain(programs)
    }

    pub fn check(&mut self) -> Result<()> {
        self.databases.values_mut().try_for_each(Server::check)?;
        self.mail.as_mut().map_or(Ok(()), Mail::check)?;
        self.dynamodb.as_mut().map_or(Ok(()), DynamoDb::check)?;
        self.webdriver.as_mut().map_or(Ok(()), |(service, _)| service.check())
    }
}

fn webdriver(run_folder: &RunFolder) -> Result<(Service, String)> {
    let port = ports::free()?;
    let url = format!("http://127.0.0.1:{port}");
    step(format_args!("Starting chromedriver on {url}"));
    let mut command = Command::new("chromedriver");
    // Browsers write their profiles to TMPDIR. The run folder is deleted at the end.
    command.arg(format!("--port={port}")).env("TMPDIR", run_folder.path());
    let mut service = Service::with_log_file("chromedriver", &mut command, run_folder)?;
    let agent = http::agent(Some(Duration::from_secs(1)));
    service.await_ready(Duration::from_secs(30), || agent.get(format!("{url}/status")).call().is_ok())?;
    Ok((service, url))
}

/// What the tests of faults need in addition to the servers.
pub struct Faults {
    pgbouncer: PathBuf,
    /// The file to which each test of faults appends a row.
    pub table: PathBuf,
}

impl Faults {
    fn prepare(run_folder: &RunFolder) -> Result<Self> {
        let pgbouncer = system::pgbouncer().context("PgBouncer is missing")?;
        Ok(Self { pgbouncer, table: run_folder.path().join("faults.md") })
    }
}
