//! The functions of the local stack, and the API in front of them. The functions start before the first request, and restart when
//! their code or their settings change.

use std::{
    collections::BTreeMap,
    env,
    fs::{File, OpenOptions},
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::ExitStatus,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use toolkit::{
    console::{print_error, say, step},
    endpoints,
    gateway::{self, Api, Cors},
    interrupt::{self, POLL_INTERVAL},
    lambda::{self, Observer, Outcome},
    route::Route,
    run_folder::RunFolder,
    service::end_of_log,
    template::Template,
    workspace::Workspace,
};

use super::{
    changes::{Change, Changes},
    settings::Settings,
};

/// Writes the functions' output to log files, and reports processes that end.
struct LogFiles {
    /// The log file of each function.
    files: BTreeMap<String, (PathBuf, Mutex<File>)>,
    /// Whether the lines are also printed on the terminal.
    shown: Arc<AtomicBool>,
}

impl LogFiles {
    fn open(run_folder: &RunFolder, functions: &[String]) -> Result<Self> {
        let open = |function: &String| {
            let path = run_folder.log(function);
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            Ok((function.clone(), (path, Mutex::new(file))))
        };
        Ok(Self { files: functions.iter().map(open).collect::<Result<_>>()?, shown: run_folder.logs_shown() })
    }
}

impl Observer for LogFiles {
    fn line_written(&self, function: &str, line: &str) {
        if let Some((_, file)) = self.files.get(function) {
            _ = writeln!(file.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
        }
        if self.shown.load(Ordering::Relaxed) {
            say(format_args!("{function} | {line}"));
        }
    }

    fn process_ended(&self, function: &str, status: ExitStatus, restarted: bool) {
        if restarted {
            say(format_args!("A process of {function} ended by itself ({status}). Another one was started."));
            return;
        }
        let log = self.files.get(function).map(|(path, _)| end_of_log(path)).unwrap_or_default();
        print_error(format_args!(
            "{function} ends as soon as it starts ({status}). It stays stopped until its code or its settings change. {log}"
        ));
    }
}

/// The running functions.
pub struct LocalFunctions<'a> {
    runtime: Runtime,
    functions: Arc<lambda::Functions>,
    changes: Changes<'a>,
    settings: Settings,
    workspace: &'a Workspace,
    run_folder: &'a RunFolder,
}

impl<'a> LocalFunctions<'a> {
    /// Starts the processes of these functions, `concurrency` of each.
    pub fn start(
        workspace: &'a Workspace,
        run_folder: &'a RunFolder,
        settings: &Settings,
        names: &[String],
        concurrency: usize,
    ) -> Result<Self> {
        step(format_args!("Starting the functions ({} × {concurrency})", names.len()));
        let template = Template::read(&workspace.root)?;
        let environment = environment(settings)?;
        let functions = names.iter().map(|name| {
            Ok(lambda::FunctionSettings {
                name: name.clone(),
                binary: workspace.binary(name),
                folder: workspace.root.clone(),
                environment: environment.clone(),
                timeout: template.timeout(name)?,
                max_processes: concurrency,
                restart: true,
            })
        });
        let changes = Changes::new(workspace, settings, names);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let logs = LogFiles::open(run_folder, names)?;
        let functions = runtime.block_on(lambda::Functions::open(functions.collect::<Result<_>>()?, Arc::new(logs)))?;
        let started = Self { runtime, functions, changes, settings: settings.clone(), workspace, run_folder };
        started.start_processes()?;
        Ok(started)
    }

    fn start_processes(&self) -> Result<()> {
        let _runtime = self.runtime.enter();
        self.functions.iter().try_for_each(|function| {
            function.start().with_context(|| format!("cannot start {}", function.binary().display()))
        })
    }

    /// Opens the API on a port of 127.0.0.1.
    pub fn open_api(&self, port: u16, cors: Cors) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).or_else(|error| {
            super::claim_api_port(port)?;
            Err(error).context("cannot open the port of the API")
        })?;
        listener.set_nonblocking(true)?;
        let _runtime = self.runtime.enter();
        let logs = self.run_folder.path().join("logs");
        let api = Api {
            routes: endpoints::routes(&self.workspace.root)?,
            functions: Arc::clone(&self.functions),
            // From this name, functions recognise a local gateway without TLS.
            domain_name: "localhost".to_owned(),
            client_address: Ipv4Addr::LOCALHOST.to_string(),
            client_address_header: None,
            on_no_answer: Box::new(move |Route { method, path, .. }, function, reason| {
                // The request's path may contain a secret, so the route's path is shown instead.
                let log = logs.join(format!("{}.log", function.name()));
                say(format_args!("{method} {path}: {} {reason}. See its log: {}", function.name(), log.display()));
            }),
        };
        gateway::serve(tokio::net::TcpListener::from_std(listener)?, api, cors)
    }

    /// Invokes a function as `aws lambda invoke` does, and returns its answer.
    pub fn invoke(&self, name: &str, event: Value) -> Result<Value> {
        let function = self.functions.get(name).with_context(|| format!("there is no function `{name}`"))?;
        let function = Arc::clone(function);
        let invocation = self.runtime.spawn(async move { function.invoke(event, None).await });
        while !invocation.is_finished() {
            interrupt::sleep(POLL_INTERVAL)?;
        }
        match self.runtime.block_on(invocation)? {
            Ok(Outcome::Answer(answer)) => Ok(answer),
            Ok(Outcome::Error(error)) => {
                let message = error["errorMessage"].as_str().map_or_else(|| error.to_string(), String::from);
                bail!("the function `{name}` failed: {message}")
            }
            Ok(Outcome::Killed) => bail!("the function `{name}` was killed"),
            Err(reason) => bail!("the function `{name}` {reason}. {}", end_of_log(&self.run_folder.log(name))),
        }
    }

    /// Invokes a function as a schedule does, without waiting for its answer. The function logs the outcome.
    pub fn invoke_unattended(&self, name: &str) {
        if let Some(function) = self.functions.get(name) {
            let function = Arc::clone(function);
            self.runtime.spawn(async move { function.invoke(json!({}), None).await });
        }
    }

    pub fn process_ids(&self, name: &str) -> Vec<u32> {
        self.functions.get(name).map(|function| function.process_ids()).unwrap_or_default()
    }

    /// Returns an error if a function is stopped because it ended as soon as it started.
    pub fn check(&self) -> Result<()> {
        match self.functions.iter().find(|function| !function.is_running()) {
            None => Ok(()),
            Some(function) => {
                bail!(
                    "the function `{}` does not run. {}",
                    function.name(),
                    end_of_log(&self.run_folder.log(function.name()))
                )
            }
        }
    }

    /// Restarts the functions whose code or settings have changed. The stack calls this repeatedly.
    pub fn restart_changed(&mut self) -> Result<()> {
        match self.changes.check(&self.settings)? {
            None => Ok(()),
            Some(Change::Settings) => {
                step(format_args!("{} changed: restarting the functions", self.settings.path().display()));
                let environment = environment(&self.settings)?;
                self.functions.iter().try_for_each(|function| self.restart(function, Some(environment.clone())))
            }
            Some(Change::Code) => self.rebuild(),
        }
    }

    fn rebuild(&mut self) -> Result<()> {
        step("The code changed: building");
        if self.workspace.build(&self.workspace.functions).is_err() {
            interrupt::check()?;
            print_error(
                "the build failed, see above. The functions still run the previous code. Correct the code and save it again",
            );
            return Ok(());
        }
        let rebuilt = self.changes.rebuilt();
        for function in self.functions.iter().filter(|function| rebuilt.iter().any(|name| name == function.name())) {
            self.restart(function, None)?;
        }
        step(match rebuilt.as_slice() {
            [] => "No function changed, so none was restarted".to_owned(),
            names => format!("Restarted: {}", names.join(", ")),
        });
        Ok(())
    }

    fn restart(&self, function: &lambda::Function, environment: Option<Vec<(String, String)>>) -> Result<()> {
        let restarted = self.runtime.block_on(function.restart(environment));
        restarted.with_context(|| format!("cannot start {}", function.binary().display()))
    }
}

impl Drop for LocalFunctions<'_> {
    fn drop(&mut self) {
        for function in self.functions.iter() {
            self.runtime.block_on(function.end());
        }
    }
}

/// The environment variables of the functions. As in Lambda, the functions do not inherit variables. Two variables of the
/// terminal are exceptions, because they help to find defects.
fn environment(settings: &Settings) -> Result<Vec<(String, String)>> {
    let inherited = ["RUST_LOG", "RUST_BACKTRACE"].into_iter().filter_map(|name| {
        let value = env::var_os(name)?.into_string().ok()?;
        Some((name.to_owned(), value))
    });
    Ok(inherited.chain(settings.read()?).collect())
}
