//! A local server that imitates AWS: moto, with a CloudFormation of our own.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};
use toolkit::{console::step, ports, run_folder::RunFolder, service::Service, workspace::Workspace};

use crate::{aws::Aws, tools};

/// The region of the account.
pub const REGION: &str = "us-east-1";

/// The application's stack. [`AwsStandIn::call`] and [`AwsStandIn::live`] use its functions.
pub const STACK: &str = "jwt-auth-production";

/// The stack of its database.
pub const DATA_STACK: &str = "jwt-auth-production-database";

/// A server that imitates an empty AWS account. Dropping this value stops the server.
pub struct AwsStandIn {
    pub aws: Aws,
    environment: Vec<(&'static str, String)>,
    server: Service,
}

impl AwsStandIn {
    /// Starts the server. Commands that use it get the folder `target` as `CARGO_TARGET_DIR`.
    pub fn start(workspace: &Workspace, run_folder: &RunFolder, target: &Path) -> Result<Self> {
        let port = ports::free()?;
        // Not 127.0.0.1: moto would use the first part of a numeric address as the name of an S3 bucket.
        let url = format!("http://localhost:{port}");
        step(format_args!("Starting a stand-in for AWS on {url}"));
        let mut server =
            Service::with_log_file("aws", tools::aws_stand_in(workspace)?.arg(port.to_string()), run_folder)?;
        server.await_ready(Duration::from_mins(1), || ports::answers(port))?;
        let environment = vec![
            ("AWS_ENDPOINT_URL", url),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("SAM_CLI_POLL_DELAY", "0.1".to_owned()),
            ("NO_PROXY", "localhost".to_owned()),
            ("CARGO_TARGET_DIR", target.display().to_string()),
        ];
        let aws = Aws::new(workspace, &environment)?;
        Ok(Self { aws, environment, server })
    }

    /// Makes a command use this server instead of AWS.
    pub fn configure(&self, command: &mut Command) {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// Calls an operation of Lambda's API on a function of the stack.
    pub fn call(&mut self, operation: &str, name: &str, mut arguments: Value) -> Result<Value> {
        arguments["FunctionName"] = json!(format!("{STACK}-{name}"));
        self.aws.call("lambda", operation, &arguments)
    }

    /// The version that the alias `live` of a function points to, if it has one.
    pub fn live(&mut self, name: &str) -> Result<Option<String>> {
        let alias = self.call("get_alias", name, json!({ "Name": "live" }))?;
        Ok(alias["FunctionVersion"].as_str().map(str::to_owned))
    }

    /// Returns an error if the server has ended.
    pub fn check(&mut self) -> Result<()> {
        self.server.check()
    }
}
