//! The functions' processes: several of each, as Lambda runs as many as there are calls at once. They start before the first call,
//! and again when their code or settings change.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Result;
use tokio::sync::watch;
use toolkit::{
    console::{print_error, say, step},
    interrupt,
    run_folder::RunFolder,
    service::{Service, end_of_log},
    workspace::Workspace,
};

use super::settings::Settings;

/// A process that ends sooner than this would do so again.
const STABLE: Duration = Duration::from_secs(5);
const LOOK_FOR_CHANGES: Duration = Duration::from_millis(500);

/// Whether a function has processes. A new value, the same one included, says that a process has ended: it may have held a request,
/// which is then never answered.
pub type Running = watch::Receiver<bool>;

pub struct Functions {
    all: Vec<Function>,
    sources: u64,
    settings: Option<SystemTime>,
    looked: Instant,
}

struct Function {
    name: String,
    binary: PathBuf,
    built: Option<SystemTime>,
    processes: Vec<Service>,
    running: watch::Sender<bool>,
}

/// What a process needs to become a function.
pub struct Place<'a> {
    pub workspace: &'a Workspace,
    pub home: &'a RunFolder,
    pub settings: &'a Settings,
    pub runtime: &'a str,
    /// Processes of each function.
    pub concurrency: usize,
}

impl Functions {
    pub fn start(at: &Place, names: &[String]) -> Result<Self> {
        step(format_args!("Starting the functions ({} × {})", names.len(), at.concurrency));
        let sources = sources(at.workspace);
        let settings = changed(at.settings.path());
        let functions = names.iter().map(|name| {
            let binary = at.workspace.binary(name);
            let built = changed(&binary);
            let (running, _) = watch::channel(false);
            let mut function = Function { name: name.clone(), binary, built, processes: Vec::new(), running };
            function.start(at)?;
            Ok(function)
        });
        Ok(Self { all: functions.collect::<Result<_>>()?, sources, settings, looked: Instant::now() })
    }

    /// To be asked before a request is passed to a function. `None` if there is no function of this name.
    pub fn running(&self, name: &str) -> Option<Running> {
        self.all.iter().find(|function| function.name == name).map(|function| function.running.subscribe())
    }

    /// An error if a process ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.all.iter_mut().flat_map(|function| &mut function.processes).try_for_each(Service::check)
    }

    /// Keeps them going: takes up what a person changed, and replaces a process that ended. To be called again and again.
    pub fn tend(&mut self, at: &Place) -> Result<()> {
        for function in &mut self.all {
            function.replace_ended(at)?;
        }
        if self.looked.elapsed() < LOOK_FOR_CHANGES {
            return Ok(());
        }
        self.looked = Instant::now();
        if changed(at.settings.path()) != self.settings {
            self.settings = changed(at.settings.path());
            step(format_args!("{} changed: starting the functions again", at.settings.path().display()));
            self.all.iter_mut().try_for_each(|function| function.start(at))?;
        }
        if sources(at.workspace) != self.sources {
            self.sources = settled_sources(at.workspace)?;
            self.rebuild(at)?;
        }
        Ok(())
    }

    fn rebuild(&mut self, at: &Place) -> Result<()> {
        step("The code changed: building");
        if at.workspace.build(&at.workspace.functions).is_err() {
            interrupt::check()?;
            print_error(
                "not built, see above; the functions as they were keep answering. Save again when it is mended",
            );
            return Ok(());
        }
        let mut started = Vec::new();
        for function in &mut self.all {
            if changed(&function.binary) != function.built {
                function.start(at)?;
                started.push(function.name.as_str());
            }
        }
        step(match started.as_slice() {
            [] => "Nothing changed in the functions".to_owned(),
            names => format!("Started again: {}", names.join(", ")),
        });
        Ok(())
    }
}

impl Function {
    /// Stops what runs of this function and starts it anew.
    fn start(&mut self, at: &Place) -> Result<()> {
        self.stop();
        self.built = changed(&self.binary);
        self.processes = (0..at.concurrency).map(|number| self.process(at, number)).collect::<Result<_>>()?;
        self.running.send_replace(true);
        Ok(())
    }

    fn stop(&mut self) {
        self.running.send_replace(false);
        self.processes.clear();
    }

    fn process(&self, at: &Place, number: usize) -> Result<Service> {
        let mut command = Command::new(&self.binary);
        // As in Lambda: what is not in the settings is not there. The two exceptions are for who looks for a fault.
        command
            .env_clear()
            .envs(["RUST_LOG", "RUST_BACKTRACE"].iter().filter_map(|name| Some((name, env::var_os(name)?))));
        command.envs(at.settings.read()?).current_dir(&at.workspace.root).envs([
            ("AWS_LAMBDA_FUNCTION_NAME", self.name.as_str()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_RUNTIME_API", &format!("{}/{}", at.runtime, self.name)),
        ]);
        Service::with_shown_log(&format!("{}.{number}", self.name), &self.name, &mut command, at.home)
    }

    fn replace_ended(&mut self, at: &Place) -> Result<()> {
        let mut ended = None;
        for number in 0..self.processes.len() {
            let process = &mut self.processes[number];
            let Some(status) = process.exit_status()? else { continue };
            if process.age() < STABLE {
                ended = Some((status, end_of_log(&process.log)));
                break;
            }
            say(format_args!("{} ended by itself ({status}) and is started again", process.name));
            self.processes[number] = self.process(at, number)?;
            self.running.send_replace(true);
        }
        if let Some((status, words)) = ended {
            print_error(format_args!(
                "{} ends as soon as it starts ({status}), and stays stopped until its code or its settings change. {words}",
                self.name
            ));
            self.stop();
        }
        Ok(())
    }
}

/// The code and the settings of the build as they are now: one number that changes with them.
fn sources(workspace: &Workspace) -> u64 {
    let mut hasher = DefaultHasher::new();
    for name in ["functions", "shared", "migrations", "Cargo.toml", "Cargo.lock"] {
        hash_times(&workspace.root.join(name), &mut hasher);
    }
    hasher.finish()
}

/// Waits until an editor has written everything it wants to.
fn settled_sources(workspace: &Workspace) -> Result<u64> {
    let mut before = sources(workspace);
    loop {
        interrupt::sleep(Duration::from_millis(200))?;
        let now = sources(workspace);
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

fn hash_times(path: &Path, hasher: &mut DefaultHasher) {
    if let Ok(entries) = fs::read_dir(path) {
        let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for entry in &entries {
            hash_times(entry, hasher);
        }
    } else {
        (path, changed(path)).hash(hasher);
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
