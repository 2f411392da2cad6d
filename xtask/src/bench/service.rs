//! Runs the servers, and the release programs with a local Lambda runtime interface.

use std::path::{Path, PathBuf};

use anyhow::Result;
use postgres::{Client, NoTls};
use serde_json::{Value, json};
use toolkit::{
    console::step, lambda::FunctionSettings, postgres::NEWEST, run_folder::RunFolder, template::Template,
    workspace::Workspace,
};

use super::{
    proc,
    subject::{Setup, Subject},
    tls,
};
use crate::{
    lambdas::{self, Lambdas},
    stack::{
        dynamodb::DynamoDb,
        postgres::{Purpose, Server},
        settings,
    },
};

/// The function that creates the tables.
pub const MIGRATE: &str = "migrate";
/// The name of the database.
pub const DATABASE: &str = "auth";
/// The variable with DynamoDB's address.
const DYNAMODB_URL: &str = "AWS_ENDPOINT_URL_DYNAMODB";

/// The running servers, and the programs. Each program has at most one process.
pub struct Service {
    lambdas: Lambdas,
    environment: Vec<(String, String)>,
    /// The file with the certificate authority that programs trust when they verify the server. Deployed functions trust those of RDS, which they contain.
    authority: PathBuf,
    pub dynamodb: Option<DynamoDb>,
    pub database: Server,
}

impl Service {
    /// Starts the servers, creates the tables, and prepares the programs.
    pub fn start(workspace: &Workspace, run_folder: &RunFolder, subjects: &[Subject]) -> Result<Self> {
        let with_table = subjects.iter().any(|subject| subject.setup == Setup::StateTable);
        let dynamodb = with_table.then(|| DynamoDb::start(workspace, run_folder, None)).transpose()?;
        dynamodb.as_ref().map_or(Ok(()), create_table)?;
        // DynamoDB Local was started before this limit, because its threads work at the same time and may use all cores.
        proc::use_one_core()?;
        let database = Server::start(workspace, run_folder, None, Purpose::Measure(NEWEST))?;
        let url = database.ensure_database(DATABASE)?;
        let authority = tls::enable(run_folder, &database, &mut Client::connect(&url, NoTls)?)?;
        let environment = lambdas::environment(&url, &settings::random_hex(32)?, &[]);

        let template = Template::read(&workspace.root)?;
        let settings = |function: &str, name: String, binary: &str, environment: Vec<(String, String)>| {
            Ok::<_, anyhow::Error>(FunctionSettings {
                name,
                binary: workspace.release_binary(binary),
                folder: workspace.root.clone(),
                environment,
                timeout: template.timeout(function)?,
                max_processes: 1,
                restart: false,
            })
        };
        let mut programs = vec![settings(MIGRATE, MIGRATE.to_owned(), MIGRATE, environment.clone())?];
        let table_at = dynamodb.as_ref().map(|dynamodb| (dynamodb.state_table(), dynamodb.url()));
        for subject in subjects {
            let environment = with_setup(&environment, *subject, &authority, table_at);
            programs.push(settings(subject.program, subject.name(), &subject.binary(), environment)?);
        }
        let lambdas = Lambdas::open(programs)?;
        let service = Self { lambdas, environment, authority, dynamodb, database };
        step("Creating the tables");
        service.invoke(MIGRATE, json!({}))?;
        service.kill(MIGRATE)?;
        service.sql()?.batch_execute(
            "CREATE TABLE limits (id bigint PRIMARY KEY, changes bigint NOT NULL) WITH (fillfactor = 80);
             INSERT INTO limits VALUES (1, 0)",
        )?;
        Ok(service)
    }

    /// A connection of the owner of the tables.
    pub fn sql(&self) -> Result<Client> {
        Ok(Client::connect(&self.database.url(DATABASE), NoTls)?)
    }

    /// Sends an event to a program and returns its answer. Starts a process if there is none.
    pub fn invoke(&self, name: &str, event: Value) -> Result<Value> {
        self.lambdas.invoke(name, event)
    }

    /// Kills the process of a program. The next event starts another.
    pub fn kill(&self, name: &str) -> Result<()> {
        self.lambdas.kill(name)
    }

    /// Starts a new process of a program, which reaches DynamoDB at this address.
    pub fn restart_with_dynamodb_at(&self, subject: Subject, url: Option<&str>) -> Result<()> {
        let table_at = self.dynamodb.as_ref().map(DynamoDb::state_table).zip(url);
        let environment = with_setup(&self.environment, subject, &self.authority, table_at);
        self.lambdas.restart(&subject.name(), environment)
    }

    /// The operating system's id of the process of a program.
    pub fn process(&self, name: &str) -> Result<u32> {
        self.lambdas.process(name)
    }

    pub fn postgres_version(&self) -> Result<String> {
        Ok(self.sql()?.query_one("SHOW server_version", &[])?.get(0))
    }
}

/// Creates the state table, with the two items that the bare program reads.
fn create_table(dynamodb: &DynamoDb) -> Result<()> {
    dynamodb.ensure_state_table()?;
    ["1", "2"].iter().try_for_each(|sort_key| {
        let item = json!({ "pk": { "S": "limit" }, "sk": { "S": sort_key }, "text": { "S": "test@example.com" } });
        dynamodb.put(&item)
    })
}

/// Adds the variables of the program's setup to `variables`. `table_at` is the name of the state table and the URL of DynamoDB.
fn with_setup(
    variables: &[(String, String)],
    subject: Subject,
    authority: &Path,
    table_at: Option<(&str, &str)>,
) -> Vec<(String, String)> {
    let own = match (subject.setup, table_at) {
        (Setup::Tls, _) => {
            vec![("DATABASE_TLS", "verify".to_owned()), ("DATABASE_CA", authority.display().to_string())]
        }
        (Setup::StateTable, Some((table, url))) => {
            vec![("STATE_TABLE", table.to_owned()), (DYNAMODB_URL, url.to_owned())]
        }
        _ => Vec::new(),
    };
    variables.iter().cloned().chain(own.into_iter().map(|(name, value)| (name.to_owned(), value))).collect()
}
