//! DynamoDB Local by AWS, which stores the state table. It accepts any credentials.

use std::{env, ffi::OsString, fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use toolkit::{
    console::{say, step},
    http, ports,
    run_folder::RunFolder,
    service::Service,
    system::DYNAMODB_LOCAL_URL,
    workspace::Workspace,
};

use super::settings::random_hex;
use crate::tools;

const STATE_TABLE: &str = "state";

pub struct DynamoDb {
    /// `None` if DynamoDB Local was already running.
    service: Option<Service>,
    url: String,
    state_table: String,
}

fn given_url() -> Option<OsString> {
    env::var_os(DYNAMODB_LOCAL_URL).filter(|url| !url.is_empty())
}

impl DynamoDb {
    pub fn start(workspace: &Workspace, run_folder: &RunFolder, port: Option<u16>) -> Result<Self> {
        if let Some(url) = given_url() {
            return Self::already_running(
                url.into_string().ok().with_context(|| format!("{DYNAMODB_LOCAL_URL} is not text"))?,
                run_folder,
            );
        }
        let mut command = tools::dynamodb(workspace).with_context(|| {
            format!("DynamoDB Local cannot be started here. Start one elsewhere, and set its address in {DYNAMODB_LOCAL_URL}")
        })?;
        let port = match port {
            Some(port) => {
                ports::claim(port, "DynamoDB Local", "--dynamodb-port")?;
                port
            }
            None => ports::free()?,
        };
        let url = format!("http://127.0.0.1:{port}");
        step(format_args!("Starting DynamoDB Local on {url}"));
        // DynamoDB Local writes a file into its working directory.
        command.current_dir(run_folder.path());
        // DynamoDB Local listens on every address of this machine. It has no option to restrict that.
        command.args(["-sharedDb", "-disableTelemetry", "-port", &port.to_string()]);
        if run_folder.is_kept() {
            let data = run_folder.path().join("dynamodb");
            fs::create_dir_all(&data)?;
            command.arg("-dbPath").arg(data);
        } else {
            command.arg("-inMemory");
        }
        let mut service = Service::with_log_file("dynamodb", &mut command, run_folder)?;
        service.await_ready(Duration::from_mins(1), || answers(&url))?;
        Ok(Self { service: Some(service), url, state_table: STATE_TABLE.to_owned() })
    }

    fn already_running(url: String, run_folder: &RunFolder) -> Result<Self> {
        if !answers(&url) {
            bail!(
                "{DYNAMODB_LOCAL_URL} is set, but no server answers at {url}. Start DynamoDB Local there, or \
                 unset the variable. Then this command starts one"
            );
        }
        say(format_args!("Using the DynamoDB Local at {url}, from {DYNAMODB_LOCAL_URL}"));
        // An ephemeral run deletes its table at the end, so it must not use the developer's table.
        let state_table =
            if run_folder.is_kept() { STATE_TABLE.to_owned() } else { format!("{STATE_TABLE}-{}", random_hex(8)?) };
        Ok(Self { service: None, url, state_table })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name of the state table.
    pub fn state_table(&self) -> &str {
        &self.state_table
    }

    /// Creates the state table if it does not exist.
    pub fn ensure_state_table(&self) -> Result<()> {
        let name = self.state_table();
        let table = json!({
            "TableName": name,
            "AttributeDefinitions": [
                { "AttributeName": "pk", "AttributeType": "S" }, { "AttributeName": "sk", "AttributeType": "S" },
            ],
            "KeySchema": [
                { "AttributeName": "pk", "KeyType": "HASH" }, { "AttributeName": "sk", "KeyType": "RANGE" },
            ],
            "BillingMode": "PAY_PER_REQUEST",
        });
        let expiry = json!({
            "TableName": name,
            "TimeToLiveSpecification": { "AttributeName": "expires_at", "Enabled": true },
        });
        match self.call("CreateTable", &table)? {
            Answer::Done => {}
            Answer::Refused(reason) if reason.contains("ResourceInUseException") => return Ok(()),
            Answer::Refused(reason) => bail!("DynamoDB did not create the table `{name}`: {reason}"),
        }
        match self.call("UpdateTimeToLive", &expiry)? {
            Answer::Done => Ok(()),
            Answer::Refused(reason) => bail!("DynamoDB did not enable expiry in the table `{name}`: {reason}"),
        }
    }

    /// Writes an item into the state table.
    pub fn put(&self, item: &Value) -> Result<()> {
        let table = self.state_table();
        match self.call("PutItem", &json!({ "TableName": table, "Item": item }))? {
            Answer::Done => Ok(()),
            Answer::Refused(reason) => bail!("DynamoDB did not write an item into the table `{table}`: {reason}"),
        }
    }

    fn call(&self, operation: &str, input: &Value) -> Result<Answer> {
        // DynamoDB Local reads the access key id, but does not check the signature.
        const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                               SignedHeaders=host, Signature=0";
        let mut response = http::agent(Some(Duration::from_secs(10)))
            .post(&self.url)
            .header("Authorization", AUTHORIZATION)
            .header("Content-Type", "application/x-amz-json-1.0")
            .header("X-Amz-Target", format!("DynamoDB_20120810.{operation}"))
            .send(input.to_string())
            .with_context(|| format!("DynamoDB did not answer at {}", self.url))?;
        if response.status().is_success() {
            return Ok(Answer::Done);
        }
        Ok(Answer::Refused(response.body_mut().read_to_string()?))
    }

    pub fn check(&mut self) -> Result<()> {
        self.service.as_mut().map_or(Ok(()), Service::check)
    }
}

impl Drop for DynamoDb {
    /// Deletes the table of an ephemeral run from a server that continues to run.
    fn drop(&mut self) {
        if self.state_table != STATE_TABLE {
            _ = self.call("DeleteTable", &json!({ "TableName": self.state_table }));
        }
    }
}

enum Answer {
    Done,
    Refused(String),
}

/// Whether a server answers. The status does not matter: DynamoDB refuses this request, because it names no operation.
fn answers(url: &str) -> bool {
    http::agent(Some(Duration::from_secs(1))).get(url).call().is_ok()
}
