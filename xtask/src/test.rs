//! `cargo xtask test`.

use std::{
    fs,
    ops::Add,
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

mod local_stack;

use crate::{
    check_template::{self, Verdict},
    console::{complain, say, step},
    interrupt::Interrupted,
    package, rehearse, requirements,
    stack::{
        dynamodb::DynamoDb,
        home::Home,
        http,
        mail::Mail,
        ports,
        postgres::{Purpose, Server},
        process::{self, Service},
        system::{self, Need},
        tools,
    },
    workspace::{Workspace, cargo},
};

/// Run every test there is, or some parts, against real servers that are started for it and leave nothing behind.
///
/// What a part needs of the system and is missing is said before anything is built (on Debian and Ubuntu, root gets it installed). Ends
/// with a line per part and `N passed, N failed`; fails if a test failed, or if a part ran none.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask test
  cargo xtask test unit journeys
  cargo xtask test journeys -- refresh --nocapture")]
pub struct Args {
    /// Which parts to run; all of them if none is named
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,

    /// Passed on to the Rust tests: a filter, --nocapture, …
    #[arg(last = true, value_name = "LIBTEST ARGUMENTS")]
    libtest: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Rules, SQL texts, error table, documentation: tests beside the code
    Unit,
    /// The contract, over HTTP and the functions' binaries, a database for each test
    Journeys,
    /// The same journeys where every transaction of a function is `repeatable read`, so that conflicts are errors (SQLSTATE 40001)
    Isolation,
    /// Servers that fail, hang and come back, functions that are killed: what users see, and how soon it heals
    Faults,
    /// One list of routes, openapi.yaml held to the answers, the sample events
    Contract,
    /// An empty database, a current one, both forms of the old service's, and refusals
    Migrations,
    /// The page for a new password in Chromium
    Browser,
    /// Access tokens, verified by PyJWT, jose and Flask-JWT-Extended
    Verifiers,
    /// A minute of mixed traffic with a fault every few seconds, after which nothing may be lost
    Soak,
    /// Each requirement of docs/security.md, and each fault of docs/operations.md, has tests that carry its number
    Requirements,
    /// template.yaml as CloudFormation gets to see it, whatever its switches: cargo xtask check-template
    Template,
    /// Two functions as Lambda gets them, the largest one and one that asks nobody: cargo xtask package
    Package,
    /// Deployments that succeed, fail half-way and are taken back, to an AWS in one process, and docs/deploying.md: cargo xtask rehearse
    Delivery,
    /// What GitHub is to run, through actionlint
    Workflows,
    /// Licences, sources and bans of every dependency, through cargo deny (advisories: where there is a network, in CI)
    Dependencies,
    /// The Postman collection, unchanged, through newman against `cargo xtask up` on its default ports
    Collection,
    /// `cargo xtask up` on its default ports: the README's walk-through in bash, functions that restart, stop or cannot start
    Up,
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn covers(self) -> String {
        self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    fn needs_servers(self) -> bool {
        matches!(
            self,
            Self::Journeys
                | Self::Isolation
                | Self::Faults
                | Self::Contract
                | Self::Migrations
                | Self::Browser
                | Self::Verifiers
                | Self::Soak
        )
    }

    fn needs_dynamodb(self) -> bool {
        matches!(self, Self::Journeys | Self::Isolation | Self::Faults | Self::Contract | Self::Soak)
    }

    /// What it needs of the system.
    fn needs(self) -> &'static [Need] {
        use Need::{Browser, Compiler, Curl, Faults, Java, Node, Python};
        match self {
            Self::Unit | Self::Requirements => &[Compiler],
            Self::Journeys | Self::Isolation | Self::Contract | Self::Soak => &[Compiler, Node, Java],
            Self::Faults => &[Compiler, Node, Java, Faults],
            Self::Browser => &[Compiler, Node, Browser],
            Self::Migrations | Self::Collection => &[Compiler, Node],
            Self::Verifiers => &[Compiler, Node, Python],
            Self::Up => &[Compiler, Node, Python, Curl],
            Self::Template | Self::Package | Self::Delivery | Self::Dependencies => &[Compiler, Python],
            Self::Workflows => &[Node],
        }
    }

    /// What cargo builds for it.
    fn target(self) -> [String; 2] {
        match self {
            Self::Soak => ["--example".to_owned(), self.name()],
            Self::Isolation => ["--test".to_owned(), Self::Journeys.name()],
            _ => ["--test".to_owned(), self.name()],
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Add for Count {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { passed: self.passed + more.passed, failed: self.failed + more.failed }
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let parts = if args.parts.is_empty() { Part::value_variants() } else { &args.parts };
    system::require(&parts.iter().flat_map(|part| part.needs()).copied().collect::<Vec<_>>())?;
    let workspace = Workspace::load()?;
    let home = Home::ephemeral(&workspace)?;
    let mut servers = Servers::start(&workspace, &home, parts)?;

    let mut results = Vec::new();
    for part in parts {
        say(format_args!("\n==== {}: {}\n", part.name(), part.covers()));
        let began = Instant::now();
        let count = match run_part(*part, &workspace, &servers, &args.libtest) {
            Ok(Count { passed: 0, failed: 0 }) if args.libtest.is_empty() => {
                complain(format_args!("the part `{}` ran no test", part.name()));
                Count { passed: 0, failed: 1 }
            }
            Ok(count) => count,
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                complain(format_args!("{error:#}"));
                Count { passed: 0, failed: 1 }
            }
        };
        results.push((*part, count, began.elapsed()));
        servers.check()?;
    }
    drop(servers);
    drop(home);
    Ok(report(&results))
}

fn report(results: &[(Part, Count, Duration)]) -> ExitCode {
    say(format_args!("\n{:<12} {:>6} {:>6} {:>7}  covers", "part", "passed", "failed", "seconds"));
    let mut all = Count::default();
    for (part, count, time) in results {
        let (name, seconds) = (part.name(), time.as_secs_f32());
        say(format_args!("{name:<12} {:>6} {:>6} {seconds:>7.1}  {}", count.passed, count.failed, part.covers()));
        all = all + *count;
    }
    say(format_args!("\n{} passed, {} failed", all.passed, all.failed));
    // With a filter that matched nothing, nothing was shown.
    if all.failed == 0 && all.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_part(part: Part, workspace: &Workspace, servers: &Servers, libtest: &[String]) -> Result<Count> {
    let cargo_test = |targets: &[&str]| rust_tests(workspace, servers, &[], targets, libtest);
    match part {
        Part::Unit => Ok(cargo_test(&["--lib", "--bins"])? + cargo_test(&["--doc"])?),
        Part::Isolation => isolation(workspace, servers, libtest),
        Part::Faults => faults(workspace, servers, libtest),
        Part::Journeys | Part::Contract | Part::Migrations | Part::Browser | Part::Verifiers => {
            cargo_test(&["--test", &part.name()])
        }
        Part::Soak => soak(workspace, servers),
        Part::Requirements => Ok(Count { passed: requirements::check(workspace)?, failed: 0 }),
        Part::Template => template(workspace),
        Part::Package => package(workspace),
        Part::Delivery => Ok(Count { passed: rehearse::rehearse(workspace)?, failed: 0 }),
        Part::Workflows => workflows(workspace),
        Part::Dependencies => dependencies(workspace),
        Part::Collection => local_stack::collection(workspace, servers.built),
        Part::Up => local_stack::up(workspace, servers.built),
    }
}

/// What the tests talk to, as far as the parts to be run need it.
#[derive(Default)]
struct Servers {
    webdriver: Option<(Service, String)>,
    verifiers: Option<(PathBuf, PathBuf)>,
    dynamodb: Option<DynamoDb>,
    mail: Option<Mail>,
    database: Option<Server>,
    faults: Option<Faults>,
    /// Whether the functions are built, too.
    built: bool,
}

impl Servers {
    fn start(workspace: &Workspace, home: &Home, parts: &[Part]) -> Result<Self> {
        let mut servers = Self::default();
        let mut tests = parts.iter().filter(|part| part.needs_servers()).peekable();
        if tests.peek().is_some() {
            servers.database = Some(Server::start(workspace, home, None, Purpose::Throwaway)?);
            servers.mail = Some(Mail::start(workspace, home, None)?);
            if parts.iter().any(|part| part.needs_dynamodb()) {
                servers.dynamodb = Some(DynamoDb::start(workspace, home, None)?);
            }
            step("Building the functions and their tests");
            // The same packages as below, with test targets among them: so cargo settles the features of dependencies the same way,
            // and compiles each once.
            let mut build = cargo();
            build.current_dir(&workspace.root).args(["build", "--workspace", "--bins"]);
            build.args(tests.flat_map(|part| part.target()));
            process::run("cargo build", &mut build)?;
            servers.built = true;
        }
        if parts.contains(&Part::Faults) {
            servers.faults = Some(Faults::prepare(home)?);
        }
        if parts.contains(&Part::Browser) {
            servers.webdriver = Some(webdriver(home)?);
        }
        if parts.contains(&Part::Verifiers) {
            servers.verifiers = Some(tools::verifiers(workspace)?);
        }
        Ok(servers)
    }

    fn environment(&self) -> impl Iterator<Item = (&str, String)> {
        let database = self.database.iter().flat_map(|server| {
            let (programs, user, folder) = server.makings();
            [
                ("TEST_DATABASE_URL", server.url("postgres")),
                ("TEST_DATABASE_LOG", server.log().display().to_string()),
                ("TEST_POSTGRES", programs.display().to_string()),
                ("TEST_POSTGRES_USER", user),
                ("TEST_POSTGRES_FOLDER", folder.display().to_string()),
            ]
        });
        let faults = self.faults.iter().flat_map(|faults| {
            [
                ("TEST_PGBOUNCER", faults.pgbouncer.display().to_string()),
                ("TEST_FAULTS", faults.table.display().to_string()),
            ]
        });
        let mail = self.mail.iter().map(|mail| ("TEST_SES_URL", mail.url()));
        let dynamodb = self.dynamodb.iter().map(|dynamodb| ("TEST_DYNAMODB_URL", dynamodb.url().to_owned()));
        let webdriver = self.webdriver.iter().map(|(_, url)| ("TEST_WEBDRIVER_URL", url.clone()));
        let verifiers = self.verifiers.iter().flat_map(|(python, packages)| {
            [("TEST_PYTHON", python.display().to_string()), ("TEST_NODE_PACKAGES", packages.display().to_string())]
        });
        database.chain(faults).chain(mail).chain(dynamodb).chain(webdriver).chain(verifiers)
    }

    fn check(&mut self) -> Result<()> {
        self.database.as_mut().map_or(Ok(()), Server::check)?;
        self.mail.as_mut().map_or(Ok(()), Mail::check)?;
        self.dynamodb.as_mut().map_or(Ok(()), DynamoDb::check)?;
        self.webdriver.as_mut().map_or(Ok(()), |(service, _)| service.check())
    }
}

fn webdriver(home: &Home) -> Result<(Service, String)> {
    let port = ports::free()?;
    let url = format!("http://127.0.0.1:{port}");
    step(format_args!("Starting chromedriver on {url}"));
    let mut command = Command::new("chromedriver");
    // The browsers' profiles go where everything of this run goes away.
    command.arg(format!("--port={port}")).env("TMPDIR", home.folder());
    let mut service = Service::quiet("chromedriver", &mut command, home)?;
    let agent = http::agent(Some(Duration::from_secs(1)));
    service.await_ready(Duration::from_secs(30), || agent.get(format!("{url}/status")).call().is_ok())?;
    Ok((service, url))
}

/// What the tests of faults need beside a server.
struct Faults {
    pgbouncer: PathBuf,
    /// Where each of them writes its row.
    table: PathBuf,
}

impl Faults {
    fn prepare(home: &Home) -> Result<Self> {
        let pgbouncer = system::pgbouncer().context("PgBouncer is missing")?;
        Ok(Self { pgbouncer, table: home.folder().join("faults.md") })
    }
}

/// The tests of faults, many at once because they mostly wait, and what they found.
fn faults(workspace: &Workspace, servers: &Servers, libtest: &[String]) -> Result<Count> {
    let threads = ["--test-threads=4".to_owned()];
    let many = if libtest.iter().any(|argument| argument.starts_with("--test-threads")) { &[] } else { &threads[..] };
    let count = rust_tests(workspace, servers, &[], &["--test", "faults"], &[many, libtest].concat())?;
    let table = servers.faults.as_ref().and_then(|faults| fs::read_to_string(&faults.table).ok()).unwrap_or_default();
    let mut rows: Vec<_> = table.lines().collect();
    rows.sort_by_key(|row| row.split([' ', ':']).nth(1).and_then(|number| number.parse::<u32>().ok()));
    say(format_args!("\n| fault | users saw | longest answer, ms | healed after, ms |\n| --- | --- | --- | --- |"));
    for row in rows {
        say(row);
    }
    Ok(count)
}

/// The journeys, but for the longest ones, which repeat two hundred times what is already among the others.
fn isolation(workspace: &Workspace, servers: &Servers, libtest: &[String]) -> Result<Count> {
    let level = [("TEST_ISOLATION", "repeatable read")];
    let skipped = ["--skip", "races::whoever"].map(str::to_owned);
    rust_tests(workspace, servers, &level, &["--test", "journeys"], &[libtest, &skipped].concat())
}

/// `cargo test`, counted by its own "test result" lines.
fn rust_tests(
    workspace: &Workspace,
    servers: &Servers,
    environment: &[(&str, &str)],
    targets: &[&str],
    libtest: &[String],
) -> Result<Count> {
    let mut command = cargo();
    command.current_dir(&workspace.root).envs(servers.environment()).envs(environment.iter().copied());
    command.args(["test", "--workspace", "--no-fail-fast"]).args(targets).arg("--").args(libtest);
    let mut count = Count::default();
    let succeeded = process::lines("cargo test", &mut command, |line| {
        say(line);
        if let Some(more) = test_result(line) {
            count = count + more;
        }
    })?;
    if !succeeded && count.failed == 0 {
        complain("cargo test failed without a failed test: see above");
        count.failed = 1;
    }
    Ok(count)
}

/// "test result: ok. 12 passed; 0 failed; 1 ignored; …"
fn test_result(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |of| counts.split("; ").find_map(|part| part.strip_suffix(of)?.trim().parse().ok());
    Some(Count { passed: number("passed")?, failed: number("failed")? })
}

/// Another minute each time: the seed that brings one back is in what it says.
fn soak(workspace: &Workspace, servers: &Servers) -> Result<Count> {
    let mut soak = Command::new(workspace.binary("examples/soak"));
    process::run("soak", soak.arg("60").envs(servers.environment()))?;
    Ok(Count { passed: 1, failed: 0 })
}

fn template(workspace: &Workspace) -> Result<Count> {
    let Verdict { passed, failed } = check_template::check(workspace)?;
    Ok(Count { passed, failed })
}

/// All of them take longer than everything else: `cargo xtask package` builds those.
fn package(workspace: &Workspace) -> Result<Count> {
    let functions = ["reset-password", "public"].map(str::to_owned);
    package::build(workspace, &functions)?;
    let failed = package::check(workspace, &functions)?;
    Ok(Count { passed: functions.len() as u64 - failed, failed })
}

fn workflows(workspace: &Workspace) -> Result<Count> {
    let files = fs::read_dir(workspace.root.join(".github/workflows"))?;
    let files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    process::run("actionlint", tools::actionlint(workspace)?.args(&files))?;
    Ok(Count { passed: files.len() as u64, failed: 0 })
}

fn dependencies(workspace: &Workspace) -> Result<Count> {
    let checks = ["bans", "licenses", "sources"];
    process::run("cargo deny check", tools::cargo_deny(workspace)?.args(checks))?;
    Ok(Count { passed: checks.len() as u64, failed: 0 })
}

#[cfg(test)]
mod tests {
    use super::test_result;

    #[test]
    fn cargo_tests_own_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        let count = test_result(line).expect("a result");
        assert_eq!((count.passed, count.failed), (12, 3));
        assert!(test_result("test result_lines ... ok").is_none());
    }
}
