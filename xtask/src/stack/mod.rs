//! The local stack: PostgreSQL, a mail server, DynamoDB Local if requested, the functions, and the API in front of them.

mod changes;
pub mod dynamodb;
pub mod forward;
mod functions;
pub mod mail;
pub mod postgres;
pub mod settings;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use toolkit::{
    console::{say, step},
    gateway::Cors,
    interrupt, ports,
    postgres::NEWEST,
    run_folder::RunFolder,
    system::{self, Prerequisite},
    workspace::Workspace,
};

use self::{
    dynamodb::DynamoDb,
    functions::LocalFunctions,
    mail::Mail,
    postgres::{Purpose, Server},
    settings::{Addresses, Settings},
};

/// The name of the database on a server that the stack starts.
const DATABASE: &str = "auth";

/// Default ports. The README and the Postman collection contain them.
pub const API_PORT: u16 = 5001;
const MAIL_PORT: u16 = 5003;

/// The ports to use. `None` means any free port.
#[derive(Clone, Copy, Default)]
pub struct Ports {
    pub api: Option<u16>,
    pub mail: Option<u16>,
    pub database: Option<u16>,
    pub dynamodb: Option<u16>,
}

impl Ports {
    /// The API and the mail server on their default ports.
    pub const DOCUMENTED: Self = Self { api: Some(API_PORT), mail: Some(MAIL_PORT), database: None, dynamodb: None };
}

/// Command-line options of the commands that start a stack.
#[derive(clap::Args)]
pub struct StackArgs {
    /// Port of the API
    #[arg(long, value_name = "N", default_value_t = API_PORT)]
    pub port: u16,

    /// Port of the mail server, which receives the service's mails and shows them on a page
    #[arg(long, value_name = "N", default_value_t = MAIL_PORT)]
    mail_port: u16,

    /// Port of the database, if DATABASE_URL is not set
    #[arg(long, value_name = "N", default_value_t = 5004)]
    database_port: u16,

    /// Keep sessions and count attempts in DynamoDB Local instead of PostgreSQL (needs Java 17)
    #[arg(long)]
    pub state_table: bool,

    /// Port of DynamoDB Local
    #[arg(long, value_name = "N", default_value_t = 5005, requires = "state_table")]
    dynamodb_port: u16,

    /// The web origins whose pages may call the API, comma-separated, instead of the template's default
    #[arg(long, value_name = "ORIGINS")]
    pub allowed_origins: Option<String>,
}

impl StackArgs {
    /// Installs the programs that the stack needs, and those in `more`, or returns an error that lists the missing ones.
    pub fn require(&self, more: &[Prerequisite]) -> Result<()> {
        let mut prerequisites = [&[Prerequisite::Compiler, Prerequisite::Node], more].concat();
        prerequisites.extend(self.state_table.then_some(Prerequisite::Java));
        system::require(&prerequisites)
    }

    pub fn ports(&self) -> Ports {
        Ports {
            api: Some(self.port),
            mail: Some(self.mail_port),
            database: Some(self.database_port),
            dynamodb: Some(self.dynamodb_port),
        }
    }
}

/// How a stack is started.
pub struct Options {
    pub ports: Ports,
    pub state_table: bool,
    pub cors: Cors,
    /// Processes of each function.
    pub concurrency: usize,
    /// Whether to build the functions at the start. They are always built again when their code changes.
    pub build: bool,
}

/// The servers that keep the service's data and receive its mails.
pub struct BackingServices {
    pub mail: Mail,
    pub dynamodb: Option<DynamoDb>,
    server: Option<Server>,
    pub database_url: String,
}

impl BackingServices {
    pub fn start(workspace: &Workspace, run_folder: &RunFolder, ports: Ports, state_table: bool) -> Result<Self> {
        // An ephemeral run deletes its data at the end, so it must not use the developer's database.
        let given_url = if run_folder.is_kept() { postgres::given_url()? } else { None };
        let (server, database_url) = if let Some(url) = given_url {
            (None, url)
        } else {
            let purpose = if run_folder.is_kept() { Purpose::Keep } else { Purpose::Test(NEWEST) };
            let server = Server::start(workspace, run_folder, ports.database, purpose)?;
            let url = server.ensure_database(DATABASE)?;
            (Some(server), url)
        };
        let dynamodb = state_table.then(|| DynamoDb::start(workspace, run_folder, ports.dynamodb)).transpose()?;
        dynamodb.as_ref().map_or(Ok(()), DynamoDb::ensure_state_table)?;
        let mail = Mail::start(workspace, run_folder, ports.mail)?;
        Ok(Self { mail, dynamodb, server, database_url })
    }

    /// Writes the settings of the functions. `api` is the URL of the API.
    pub fn settings(&self, run_folder: &RunFolder, api: &str) -> Result<Settings> {
        let state_table = self.dynamodb.as_ref().map(|dynamodb| (dynamodb.state_table(), dynamodb.url()));
        Settings::write(
            run_folder,
            &Addresses { api, database: &self.database_url, mail: &self.mail.url(), state_table },
        )
    }

    pub fn check(&mut self) -> Result<()> {
        self.server.as_mut().map_or(Ok(()), Server::check)?;
        self.dynamodb.as_mut().map_or(Ok(()), DynamoDb::check)?;
        self.mail.check()
    }
}

/// The interval of the schedule in template.yaml.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// The whole service. Fields are dropped from top to bottom, so the functions end before the servers that they use.
pub struct Stack<'a> {
    pub url: String,
    functions: LocalFunctions<'a>,
    pub backing: BackingServices,
    pub settings: Settings,
    last_sweep: Instant,
}

impl<'a> Stack<'a> {
    /// Starts everything and applies the migrations. When this returns, the API accepts requests.
    pub fn start(workspace: &'a Workspace, run_folder: &'a RunFolder, options: Options) -> Result<Self> {
        let Options { ports, state_table, cors, concurrency, build } = options;
        // This is checked before the build, so that the error appears at once.
        ports.api.map_or(Ok(()), claim_api_port)?;
        let backing = BackingServices::start(workspace, run_folder, ports, state_table)?;
        if build {
            step("Building the functions");
            workspace.build(&workspace.functions)?;
        }

        let port = ports.api.map_or_else(ports::free, Ok)?;
        let url = format!("http://127.0.0.1:{port}");
        let settings = backing.settings(run_folder, &url)?;
        let functions = LocalFunctions::start(workspace, run_folder, &settings, &workspace.functions, concurrency)?;
        migrate(&functions)?;
        step(format_args!("Opening the API on {url}"));
        functions.open_api(port, cors)?;
        Ok(Self { url, functions, backing, settings, last_sweep: Instant::now() })
    }

    /// The operating system's ids of the processes of a function.
    pub fn process_ids(&self, function: &str) -> Vec<u32> {
        self.functions.process_ids(function)
    }

    /// Runs until `until` returns a value, and returns that value. Meanwhile, it restarts changed functions and invokes `sweep`
    /// every minute.
    ///
    /// # Errors
    /// If a server of the stack ends, or at Ctrl-C.
    pub fn run_until<T>(&mut self, mut until: impl FnMut() -> Option<T>) -> Result<T> {
        loop {
            if let Some(value) = until() {
                return Ok(value);
            }
            self.backing.check()?;
            self.functions.restart_changed()?;
            if self.last_sweep.elapsed() > SWEEP_EVERY {
                self.last_sweep = Instant::now();
                self.functions.invoke_unattended("sweep");
            }
            interrupt::sleep(interrupt::POLL_INTERVAL)?;
        }
    }
}

/// Returns an error if another program uses the port.
fn claim_api_port(port: u16) -> Result<()> {
    ports::claim(port, "the API", "--port")
}

/// Applies the migrations to the database in these settings. Starts only the function `migrate`.
pub fn migrate_only(workspace: &Workspace, run_folder: &RunFolder, settings: &Settings) -> Result<()> {
    migrate(&LocalFunctions::start(workspace, run_folder, settings, &["migrate".to_owned()], 1)?)
}

fn migrate(functions: &LocalFunctions) -> Result<()> {
    step("Applying the migrations");
    let report = functions.invoke("migrate", json!({}))?;
    functions.check()?;
    let Some(report) = report.as_object() else {
        bail!("the function `migrate` answered {report}, which is not a report")
    };
    for (name, value) in report.iter().filter(|(_, value)| !value.is_null()) {
        let value = match value {
            Value::Array(list) if list.is_empty() => "none".into(),
            Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
            value => plain(value),
        };
        say(format_args!("    {}: {value}", name.replace('_', " ")));
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}
