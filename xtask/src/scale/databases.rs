//! A PostgreSQL server with an empty and a filled database, and the functions, one process of each for each database.

use std::fs;

use anyhow::{Context as _, Result};
use postgres::{Client, NoTls};
use serde_json::{Value, json};
use toolkit::{
    console::step, lambda::FunctionSettings, postgres::NEWEST, run_folder::RunFolder, template::Template,
    workspace::Workspace,
};

use super::{
    generator::{self, Amounts},
    ses::Ses,
    tokens::Tokens,
};
use crate::{
    bench::{
        proc,
        requests::{self, OLD_HASH, PASSWORD},
    },
    lambdas::{self, Lambdas},
    stack::{
        postgres::{Purpose, Server},
        settings,
    },
};

/// The functions that this measurement needs.
pub const FUNCTIONS: [&str; 6] = ["migrate", "signin", "refresh", "dashboard", "forgot-password", "sweep"];

/// The settings of PostgreSQL on which the figures depend most.
const SETTINGS: [&str; 7] =
    ["shared_buffers", "work_mem", "max_wal_size", "fsync", "synchronous_commit", "full_page_writes", "autovacuum"];

/// One of the two databases.
#[derive(Clone, Copy)]
pub enum Which {
    /// It has only the accounts and sessions that the requests use.
    Empty,
    Filled,
}

impl Which {
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Filled => "filled",
        }
    }

    /// The name of a function that uses this database.
    pub fn function(self, function: &str) -> String {
        format!("{function}-{}", self.name())
    }
}

/// Both databases, and their functions.
pub struct Databases {
    pub lambdas: Lambdas,
    pub tokens: Tokens,
    server: Server,
    password_hash: String,
}

impl Databases {
    /// Starts the server with this much memory for pages (`shared_buffers`), creates the tables in both databases, and signs in once.
    pub fn start(workspace: &Workspace, run_folder: &RunFolder, shared_buffers: &str) -> Result<Self> {
        let memory = format!("shared_buffers={shared_buffers}");
        let settings = [&*memory, "max_wal_size=4GB"];
        let server = Server::start_with(workspace, run_folder, None, Purpose::Measure(NEWEST), &settings)?;
        let template = Template::read(&workspace.root)?;
        let secret = settings::random_hex(32)?;
        let ses = Ses::bind()?;
        let mut functions = Vec::new();
        for which in [Which::Empty, Which::Filled] {
            let environment = environment(&server.ensure_database(which.name())?, &secret, &ses.url);
            for function in FUNCTIONS {
                functions.push(FunctionSettings {
                    name: which.function(function),
                    binary: workspace.release_binary(function),
                    folder: workspace.root.clone(),
                    environment: environment.clone(),
                    timeout: template.timeout(function)?,
                    max_processes: 1,
                    restart: false,
                });
            }
        }
        let lambdas = Lambdas::open(functions)?;
        lambdas.block_on(ses.serve())?;
        step("Creating the tables");
        for which in [Which::Empty, Which::Filled] {
            lambdas.invoke(&which.function("migrate"), json!({}))?;
            lambdas.kill(&which.function("migrate"))?;
        }
        let mut sql = Client::connect(&server.url(Which::Empty.name()), NoTls)?;
        let (password_hash, tokens) = first_sign_in(workspace, &lambdas, &mut sql, secret)?;
        Ok(Self { lambdas, tokens, server, password_hash })
    }

    /// The URL of a database, with the name and password of the owner of the tables.
    pub fn url(&self, which: Which) -> String {
        self.server.url(which.name())
    }

    /// A connection of the owner of the tables.
    pub fn sql(&self, which: Which) -> Result<Client> {
        Ok(Client::connect(&self.url(which), NoTls)?)
    }

    /// Creates this many rows.
    pub fn fill(&self, which: Which, amounts: Amounts) -> Result<()> {
        generator::fill(&mut self.sql(which)?, amounts, &self.password_hash)
    }

    /// From now on, this program, the functions and new connections use one processor core.
    pub fn use_one_core(&self) -> Result<()> {
        let (_, data) = self.server.user_and_folder();
        let file = fs::read_to_string(data.join("cluster/postmaster.pid"))?;
        let process = file.lines().next().context("postmaster.pid is empty")?.trim().parse()?;
        proc::use_one_core()?;
        proc::pin(process)
    }

    pub fn postgres_version(&self) -> Result<String> {
        Ok(self.sql(Which::Empty)?.query_one("SHOW server_version", &[])?.get(0))
    }

    /// The settings of the server, such as `fsync = off`.
    pub fn settings(&self) -> Result<Vec<String>> {
        let mut sql = self.sql(Which::Empty)?;
        let setting = |name| {
            let value: String = sql.query_one("SELECT current_setting($1)", &[&name])?.get(0);
            Ok(format!("{name} = {value}"))
        };
        SETTINGS.iter().map(setting).collect()
    }
}

/// The environment variables of the functions.
fn environment(database: &str, secret: &str, ses: &str) -> Vec<(String, String)> {
    let own = [
        ("MAIL_FROM", "no-reply@example.com"),
        ("AWS_ENDPOINT_URL_SES", ses),
        // A minimum duration would hide the time of the statements.
        ("FORGOT_PASSWORD_FLOOR_MS", "0"),
        // The first sign-in comes before the databases are filled, which may take longer than an hour.
        ("JWT_ACCESS_TOKEN_EXPIRES", "86400"),
    ];
    lambdas::environment(database, secret, &own)
}

/// Signs in to a new account of the empty database, and deletes the account. Returns the hash of its password and the tokens of its session.
fn first_sign_in(
    workspace: &Workspace,
    lambdas: &Lambdas,
    sql: &mut Client,
    secret: String,
) -> Result<(String, Tokens)> {
    let email = "first@example.com";
    sql.execute("INSERT INTO users (name, email, password) VALUES ('First', $1, $2)", &[&email, &OLD_HASH])?;
    let mut event = requests::sample_event(workspace, "signin")?;
    event["body"] = sign_in_body(email);
    let answer = lambdas.invoke(&Which::Empty.function("signin"), event)?;
    // This process and its connection may use all cores. The measured processes use one.
    lambdas.kill(&Which::Empty.function("signin"))?;
    let (access, refresh) = (requests::token(&answer, "access_token")?, requests::token(&answer, "refresh_token")?);
    let hash = sql.query_one("SELECT password FROM users", &[])?.get(0);
    sql.batch_execute("TRUNCATE users, throttle RESTART IDENTITY CASCADE")?;
    Ok((hash, Tokens { secret, access, refresh }))
}

/// The body of a sign-in to a generated account.
pub fn sign_in_body(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD }).to_string().into()
}
