//! AWS, asked through its own SDK for Python (`xtask/tools/aws.py`), which SAM brings along: it knows every way in which people log in.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{stack::tools, workspace::Workspace};

pub struct Aws {
    questions: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    child: Child,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply {
    Answer(Value),
    Refused(String),
}

impl Aws {
    /// `environment` is beside what the terminal says of whose account it is.
    pub fn new(workspace: &Workspace, environment: &[(&str, String)]) -> Result<Self> {
        let mut command = tools::aws(workspace)?;
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        // Ctrl-C must not reach it: there may be something to put back.
        let mut child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("Python has no standard output")?).lines();
        Ok(Self { questions, answers, child })
    }

    /// The answer, which is null if what is asked about is not there. It is also how to wait: by the name of a waiter.
    pub fn ask(&mut self, service: &str, operation: &str, arguments: &Value) -> Result<Value> {
        let mut questions = self.questions.as_ref().context("nobody asks any more")?;
        writeln!(questions, "{}", json!([service, operation, arguments]))?;
        let reply = self.answers.next().context("AWS's SDK for Python ended by itself; its own words are above")??;
        match serde_json::from_str(&reply)? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Refused(why) => bail!("{operation} was refused: {why}"),
        }
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        // It ends when there is nothing more to read.
        self.questions = None;
        _ = self.child.wait();
    }
}
