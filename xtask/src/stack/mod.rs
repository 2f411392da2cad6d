//! The local stack: a PostgreSQL, a mail server, a DynamoDB where it is wanted, a gateway, and the functions behind it.

pub mod cors;
pub mod dynamodb;
pub mod forward;
mod front;
mod functions;
mod gateway;
pub mod mail;
pub mod postgres;
pub mod settings;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use toolkit::{
    console::{say, step},
    interrupt, ports,
    run_folder::RunFolder,
    system::{self, Need},
    tools,
    workspace::Workspace,
};

use self::{
    cors::Cors,
    dynamodb::DynamoDb,
    front::Front,
    functions::{Functions, Place},
    gateway::Gateway,
    mail::Mail,
    postgres::{Purpose, Server},
    settings::{Addresses, Settings},
};

/// The database's name on a server of our own.
const DATABASE: &str = "auth";

/// The state table's name in DynamoDB.
const STATE_TABLE: &str = "state";

/// Default ports, which the README and the Postman collection name.
pub const API_PORT: u16 = 5001;
const MAIL_PORT: u16 = 5003;

/// The ports to use; any free one where it is `None`.
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

/// What a person wants of the stack.
#[derive(clap::Args)]
pub struct StackArgs {
    /// Port of the API
    #[arg(long, value_name = "N", default_value_t = API_PORT)]
    pub port: u16,

    /// Port of the mail server: the service sends there, and its page shows what was sent
    #[arg(long, value_name = "N", default_value_t = MAIL_PORT)]
    mail_port: u16,

    /// Port of the database, where DATABASE_URL does not name one
    #[arg(long, value_name = "N", default_value_t = 5004)]
    database_port: u16,

    /// Counters of attempts in DynamoDB instead of PostgreSQL: DynamoDB Local, with a table `state` (needs Java 17)
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
    /// Returns an error that lists what this machine lacks for such a stack.
    pub fn require(&self) -> Result<()> {
        let needs = [Need::Compiler, Need::Python, Need::Node, Need::Java];
        system::require(if self.state_table { &needs } else { &needs[..3] })
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

/// What a stack is to be like.
pub struct Plan {
    pub ports: Ports,
    pub state_table: bool,
    pub cors: Cors,
    /// Processes of each function.
    pub concurrency: usize,
    /// Whether the functions are to be built at the start. They are built again whenever their code changes.
    pub build: bool,
}

/// What keeps the service's data and takes its mails. Dropped from top to bottom, like everything here that runs.
pub struct Backing {
    pub mail: Mail,
    pub dynamodb: Option<DynamoDb>,
    server: Option<Server>,
    pub database_url: String,
}

impl Backing {
    pub fn start(workspace: &Workspace, home: &RunFolder, ports: Ports, state_table: bool) -> Result<Self> {
        // An ephemeral run must not touch anybody's data.
        let given = if home.is_kept() { postgres::given()? } else { None };
        let (server, database_url) = if let Some(url) = given {
            (None, url)
        } else {
            let purpose = if home.is_kept() { Purpose::Keep } else { Purpose::Throwaway };
            let server = Server::start(workspace, home, ports.database, purpose)?;
            let url = server.ensure_database(DATABASE)?;
            (Some(server), url)
        };
        let dynamodb = state_table.then(|| DynamoDb::start(workspace, home, ports.dynamodb)).transpose()?;
        dynamodb.as_ref().map_or(Ok(()), |dynamodb| dynamodb.ensure_table(STATE_TABLE))?;
        let mail = Mail::start(workspace, home, ports.mail)?;
        Ok(Self { mail, dynamodb, server, database_url })
    }

    /// Writes the settings of functions behind this API.
    pub fn settings(&self, home: &RunFolder, api: &str) -> Result<Settings> {
        let state_table = self.dynamodb.as_ref().map(|dynamodb| (STATE_TABLE, dynamodb.url()));
        Settings::write(home, &Addresses { api, database: &self.database_url, mail: &self.mail.url(), state_table })
    }

    pub fn check(&mut self) -> Result<()> {
        self.server.as_mut().map_or(Ok(()), Server::check)?;
        self.dynamodb.as_mut().map_or(Ok(()), DynamoDb::check)?;
        self.mail.check()
    }
}

/// As the template's schedule does.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// The whole service.
pub struct Stack<'a> {
    pub url: String,
    _front: Front,
    functions: Functions,
    gateway: Gateway,
    pub backing: Backing,
    pub settings: Settings,
    concurrency: usize,
    swept: Instant,
    workspace: &'a Workspace,
    home: &'a RunFolder,
}

impl<'a> Stack<'a> {
    /// Starts everything and applies the migrations; returns when the first request can come.
    pub fn start(workspace: &'a Workspace, home: &'a RunFolder, plan: Plan) -> Result<Self> {
        let Plan { ports, state_table, cors, concurrency, build } = plan;
        // A port that is taken is worth knowing before anything is built.
        ports.api.map_or(Ok(()), front::claim)?;
        let backing = Backing::start(workspace, home, ports, state_table)?;
        tools::cargo_lambda(workspace)?;
        if build {
            step("Building the functions");
            workspace.build(&workspace.functions)?;
        }

        let port = ports.api.map_or_else(ports::free, Ok)?;
        let url = format!("http://127.0.0.1:{port}");
        let mut gateway = Gateway::start(workspace, home)?;
        let settings = backing.settings(home, &url)?;
        let place = Place { workspace, home, settings: &settings, runtime: &gateway.runtime(), concurrency };
        let mut functions = Functions::start(&place, &workspace.functions)?;
        migrate(&mut gateway, &mut functions)?;
        step(format_args!("Opening the API on {url}"));
        let front = front::open(port, &workspace.routes, &functions, gateway.url(), cors)?;
        Ok(Self {
            url,
            _front: front,
            functions,
            gateway,
            backing,
            settings,
            concurrency,
            swept: Instant::now(),
            workspace,
            home,
        })
    }

    /// Returns when `until` does so, when a part of the stack dies, or when a person wants to stop.
    pub fn tend_until<T>(&mut self, mut until: impl FnMut() -> Option<T>) -> Result<T> {
        let runtime = self.gateway.runtime();
        loop {
            if let Some(done) = until() {
                return Ok(done);
            }
            self.gateway.check()?;
            self.backing.check()?;
            let place = Place {
                workspace: self.workspace,
                home: self.home,
                settings: &self.settings,
                runtime: &runtime,
                concurrency: self.concurrency,
            };
            self.functions.tend(&place)?;
            if self.swept.elapsed() > SWEEP_EVERY {
                self.swept = Instant::now();
                self.gateway.invoke_unattended("sweep");
            }
            interrupt::sleep(interrupt::POLL_INTERVAL)?;
        }
    }
}

/// Applies the migrations to the database of these settings, with a gateway for this purpose alone.
pub fn migrate_only(workspace: &Workspace, home: &RunFolder, settings: &Settings) -> Result<()> {
    let mut gateway = Gateway::start(workspace, home)?;
    let place = Place { workspace, home, settings, runtime: &gateway.runtime(), concurrency: 1 };
    let mut functions = Functions::start(&place, &["migrate".to_owned()])?;
    migrate(&mut gateway, &mut functions)
}

fn migrate(gateway: &mut Gateway, functions: &mut Functions) -> Result<()> {
    step("Applying the migrations");
    let report = gateway.invoke(functions, "migrate", &json!({}))?;
    functions.check()?;
    let Some(report) = report.as_object() else {
        bail!("the function `migrate` answered {report}, which says nothing")
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
