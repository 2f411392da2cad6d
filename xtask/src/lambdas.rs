//! Runs functions as local processes, which get their events from a local stand-in for Lambda's runtime API. Each function has at most one process, so
//! the memory and processor time of this process are those of the function.

use std::{
    collections::BTreeMap,
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::runtime::Runtime;
use toolkit::{
    interrupt,
    lambda::{Function, FunctionSettings, Functions, Observer, Outcome},
};

/// 32 bytes in base64.
const DATA_KEY: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";

/// The environment variables of functions that are measured: those of a deployment with IAM login, and `more`.
pub fn environment(database: &str, secret: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let variables = [
        ("DATABASE_URL", database),
        ("JWT_SECRET_KEY", secret),
        ("DATA_SECRET_KEY", DATA_KEY),
        ("PASSKEY_RP_ID", "example.com"),
        // As in template.yaml.
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        // The default with IAM login.
        ("DATABASE_PREPARED_STATEMENTS", "on"),
        ("AWS_REGION", "us-east-1"),
        // Local stand-ins accept any credentials.
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ];
    variables.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The last line that each function wrote, for error messages.
#[derive(Default)]
struct LastLines(Mutex<BTreeMap<String, String>>);

impl Observer for LastLines {
    fn line_written(&self, function: &str, line: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(function.to_owned(), line.to_owned());
    }

    fn process_ended(&self, function: &str, status: ExitStatus, _restarted: bool) {
        self.line_written(function, &format!("a process ended by itself ({status})"));
    }
}

/// Functions, and the stand-in that gives them their events. Dropping this value ends their processes.
pub struct Lambdas {
    runtime: Runtime,
    functions: Arc<Functions>,
    last_lines: Arc<LastLines>,
}

impl Lambdas {
    /// Starts the stand-in for these functions. Starts no process.
    pub fn open(settings: Vec<FunctionSettings>) -> Result<Self> {
        let last_lines = Arc::new(LastLines::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let functions = runtime.block_on(Functions::open(settings, Arc::<LastLines>::clone(&last_lines)))?;
        Ok(Self { runtime, functions, last_lines })
    }

    /// Waits for a future. Functions get events only while this program waits here.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Sends an event to a function and returns its answer. Starts a process if there is none.
    pub async fn send(&self, name: &str, event: Value) -> Result<Value> {
        interrupt::check()?;
        match self.function(name)?.invoke(event, None).await {
            Ok(Outcome::Answer(answer)) => Ok(answer),
            Ok(Outcome::Error(error)) => bail!("{name} failed: {error}"),
            Ok(Outcome::Killed) => bail!("{name} was killed"),
            Err(reason) => bail!("{name} {reason}. Its last line: {}", self.last_line(name)),
        }
    }

    /// Like [`Lambdas::send`], but blocks this thread until the answer arrives.
    pub fn invoke(&self, name: &str, event: Value) -> Result<Value> {
        self.block_on(self.send(name, event))
    }

    /// Kills the process of a function. The next event starts another.
    pub fn kill(&self, name: &str) -> Result<()> {
        self.block_on(self.function(name)?.kill());
        Ok(())
    }

    /// Starts a new process of a function, with these environment variables.
    pub fn restart(&self, name: &str, environment: Vec<(String, String)>) -> Result<()> {
        Ok(self.block_on(self.function(name)?.restart(Some(environment)))?)
    }

    /// The operating system's id of the process of a function.
    pub fn process(&self, name: &str) -> Result<u32> {
        self.function(name)?.process_ids().first().copied().with_context(|| format!("{name} has no process"))
    }

    fn last_line(&self, name: &str) -> String {
        self.last_lines.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }

    fn function(&self, name: &str) -> Result<&Arc<Function>> {
        self.functions.get(name).with_context(|| format!("there is no program `{name}`"))
    }
}

impl Drop for Lambdas {
    fn drop(&mut self) {
        for function in self.functions.iter() {
            self.runtime.block_on(function.end());
        }
    }
}
