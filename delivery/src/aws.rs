//! Requests to AWS. They go through the AWS SDK for Python (`delivery/tools/aws.py`), which comes with SAM and knows every way to log in.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use toolkit::workspace::Workspace;

use crate::tools;

pub struct Aws {
    requests: Option<ChildStdin>,
    replies: Lines<BufReader<ChildStdout>>,
    child: Child,
}

/// A line that `aws.py` prints.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply {
    Answer(Value),
    Refused(String),
}

impl Aws {
    /// Starts `aws.py`. It inherits this process's environment variables, which select the AWS account. `environment` adds to them.
    pub fn new(workspace: &Workspace, environment: &[(&str, String)]) -> Result<Self> {
        let mut command = tools::aws(workspace)?;
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        // Its own process group, so that Ctrl-C does not stop it: a deployment that is interrupted still restores aliases.
        let mut child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().context("Python has no standard output")?).lines();
        Ok(Self { requests, replies, child })
    }

    /// Calls an operation of a service, by its name in the SDK, and returns the answer. The answer is null if what a `get_` or
    /// `describe_` operation asks for does not exist. `operation` may also be the name of a waiter.
    pub fn call(&mut self, service: &str, operation: &str, arguments: &Value) -> Result<Value> {
        let mut requests = self.requests.as_ref().context("the connection to the AWS SDK is closed")?;
        writeln!(requests, "{}", json!([service, operation, arguments]))?;
        let reply =
            self.replies.next().context("the AWS SDK for Python ended by itself. Its own messages are above")??;
        match serde_json::from_str(&reply)? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Refused(reason) => bail!("{operation} was refused: {reason}"),
        }
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        // The program ends at the end of its input.
        self.requests = None;
        _ = self.child.wait();
    }
}
