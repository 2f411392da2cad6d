//! The functions of a stack, what they log, and the gateway in front of them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitStatus,
    sync::{Arc, Mutex},
};

use axum::http::HeaderName;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{net::TcpListener, time::timeout};
use toolkit::{
    gateway::{self, Api, Cors},
    lambda::{self, Function, FunctionSettings, NoAnswer, Observer, Outcome},
};

use crate::documents;

/// The header in which a [`crate::Person`] tells the gateway the IP address that its requests come from.
pub(crate) const SOURCE: &str = "x-harness-source";

/// Every line that the processes wrote, by function.
#[derive(Default)]
struct CollectedLogs(Mutex<BTreeMap<String, Vec<String>>>);

impl CollectedLogs {
    fn of(&self, function: &str) -> String {
        self.0.lock().expect("no panic").get(function).map(|lines| lines.join("\n")).unwrap_or_default()
    }
}

impl Observer for CollectedLogs {
    fn line_written(&self, function: &str, line: &str) {
        self.0.lock().expect("no panic").entry(function.to_owned()).or_default().push(line.to_owned());
    }

    fn process_ended(&self, function: &str, status: ExitStatus, _restarted: bool) {
        self.line_written(function, &format!("(the harness: a process ended by itself, {status})"));
    }
}

/// The functions of a stack.
pub(crate) struct TestFunctions {
    functions: Arc<lambda::Functions>,
    logs: Arc<CollectedLogs>,
}

impl TestFunctions {
    /// Prepares every function of the project. `environment` returns the environment variables of the function with the given name.
    pub(crate) async fn open(max_processes: usize, environment: impl Fn(&str) -> Vec<(String, String)>) -> Self {
        let endpoints = documents::endpoints().iter().map(|endpoint| endpoint.name.clone());
        let settings = endpoints.chain(["panics".to_owned()]).map(|name| FunctionSettings {
            binary: binary(&name),
            folder: documents::root(),
            environment: environment(&name),
            timeout: documents::timeout(&name),
            max_processes,
            restart: false,
            name,
        });
        let logs = Arc::new(CollectedLogs::default());
        let functions = lambda::Functions::open(settings.collect(), Arc::<CollectedLogs>::clone(&logs)).await;
        Self { functions: functions.expect("a free port"), logs }
    }

    /// Serves the API. If a function does not answer a request, the connection of this request is closed, and the log of the test says why.
    pub(crate) fn serve(&self, listener: TcpListener) {
        let logs = Arc::clone(&self.logs);
        let api = Api {
            routes: documents::routes().into_iter().collect(),
            functions: Arc::clone(&self.functions),
            domain_name: "api.example.com".to_owned(),
            client_address: "203.0.113.7".to_owned(),
            client_address_header: Some(HeaderName::from_static(SOURCE)),
            on_no_answer: Box::new(move |_, function, reason| no_answer(function, reason, &logs)),
        };
        let cors = Cors::of_template(documents::sam_template(), None).expect("a CORS configuration");
        gateway::serve(listener, api, cors).expect("every route has its function");
    }

    /// Invokes a function directly.
    pub(crate) async fn invoke(&self, name: &str, event: Value) -> Outcome {
        let function = self.get(name);
        let answered = timeout(gateway::TIMEOUT, function.invoke(event, None)).await;
        answered.unwrap_or(Err(NoAnswer::TimedOut)).unwrap_or_else(|reason| no_answer(function, &reason, &self.logs))
    }

    pub(crate) fn get(&self, name: &str) -> &Function {
        self.functions.get(name).unwrap_or_else(|| panic!("there is no function `{name}`"))
    }

    /// Sends a signal to the processes of a function. SIGSTOP freezes them, as Lambda does between requests, and SIGCONT thaws them.
    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        for id in self.get(name).process_ids() {
            signal::kill(Pid::from_raw(id.cast_signed()), signal).expect("a child can be signalled");
        }
    }

    /// Everything that a function has logged so far.
    pub(crate) fn log(&self, name: &str) -> String {
        self.logs.of(name)
    }

    /// Everything that all functions have logged so far.
    pub(crate) fn all_logs(&self) -> String {
        self.functions.iter().map(|function| self.log(function.name())).collect::<Vec<_>>().join("\n")
    }

    /// Ends every function, and returns everything that each has logged, by the function's name.
    pub(crate) async fn end(&self) -> BTreeMap<&str, String> {
        let mut logs = BTreeMap::new();
        for function in self.functions.iter() {
            function.end().await;
            logs.insert(function.name(), self.log(function.name()));
        }
        logs
    }
}

fn no_answer(function: &Function, reason: &NoAnswer, logs: &CollectedLogs) -> ! {
    panic!("{} {reason}; its log:\n{}", function.name(), logs.of(function.name()))
}

/// The program of a function, which is `target/<profile>/<function>`. This test is `target/<profile>/deps/<test>`.
#[must_use]
pub fn binary(function: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("a test is in target/<profile>/deps");
    let binary = folder.join(function);
    assert!(binary.exists(), "{} is not built: run the tests with `cargo xtask test`", binary.display());
    binary
}
