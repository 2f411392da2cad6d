//! `cargo lambda watch` as API Gateway and Lambda: it takes HTTP requests, turns them into events by the routes in Cargo.toml, and
//! hands them to whichever function process asks. Those processes are ours ([`super::functions`]), not its own: it would start each
//! with `cargo run` at the first call, again at every change of any file, and watch the whole checkout once per process. Its port is
//! for this stack alone; what clients see is in [`super::front`].

use std::{process::Command, sync::mpsc, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use toolkit::{
    console::step,
    http,
    interrupt::{self, POLL_INTERVAL},
    ports,
    run_folder::RunFolder,
    service::Service,
    tools,
    workspace::{self, Workspace},
};

use super::functions::Functions;

pub struct Gateway {
    service: Service,
    url: String,
}

impl Gateway {
    pub fn start(workspace: &Workspace, home: &RunFolder) -> Result<Self> {
        let tools = tools::cargo_lambda(workspace)?;
        let port = ports::free()?;
        step("Starting the gateway");
        let mut command = Command::new(tools.join("cargo-lambda"));
        workspace::remove_cargo_variables(&mut command);
        command.current_dir(&workspace.root).args(["lambda", "watch", "--only-lambda-apis", "--disable-cors"]).args([
            "--invoke-address",
            "127.0.0.1",
            "--invoke-port",
            &port.to_string(),
        ]);
        let mut service = Service::with_log_file("gateway", &mut command, home)?;
        service.await_ready(Duration::from_mins(1), || ports::answers(port))?;
        Ok(Self { service, url: format!("http://127.0.0.1:{port}") })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where functions ask for work; a function's own address is this, a slash, and its name.
    pub fn runtime(&self) -> String {
        format!("{}/.rt", self.url)
    }

    /// Invokes a function as Lambda's own API does, and returns its answer; an error if it fails, or if it or the gateway dies.
    pub fn invoke(&mut self, functions: &mut Functions, name: &str, payload: &Value) -> Result<Value> {
        let url = format!("{}/2015-03-31/functions/{name}/invocations", self.url);
        let payload = payload.to_string();
        let (send, answer) = mpsc::channel();
        thread::spawn(move || {
            let answered = http::agent(None).post(&url).send(&payload).and_then(|mut response| {
                let text = response.body_mut().read_to_string()?;
                Ok((response.status().is_success(), text))
            });
            _ = send.send(answered);
        });
        let (succeeded, text) = loop {
            if let Ok(answered) = answer.recv_timeout(POLL_INTERVAL) {
                break answered.with_context(|| format!("the gateway did not answer for `{name}`"))?;
            }
            interrupt::check()?;
            self.check()?;
            functions.check()?;
        };
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if succeeded && answer.get("errorMessage").is_none() {
            return Ok(answer);
        }
        bail!(
            "the function `{name}` failed: {}",
            answer["errorMessage"].as_str().map_or_else(|| answer.to_string(), String::from)
        )
    }

    /// Invokes a function as a schedule does: nobody waits for its answer. What becomes of it is in its log.
    pub fn invoke_unattended(&self, name: &str) {
        let url = format!("{}/2015-03-31/functions/{name}/invocations", self.url);
        thread::spawn(move || http::agent(None).post(&url).send("{}").map(drop));
    }

    pub fn check(&mut self) -> Result<()> {
        self.service.check()
    }
}
