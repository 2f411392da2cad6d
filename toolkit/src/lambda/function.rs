//! A function: its binary, its processes, and the queue of its events.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io, mem,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
    task::JoinHandle,
};
use uuid::Uuid;

use super::Observer;

/// A process that ends sooner than this after its start would do so again, so it is not started again.
const MIN_LIFETIME: Duration = Duration::from_secs(5);

/// How a function runs.
pub struct FunctionSettings {
    /// The function's name.
    pub name: String,
    /// The program.
    pub binary: PathBuf,
    /// The working directory of its processes.
    pub folder: PathBuf,
    /// All variables of its processes. They inherit no variable.
    pub environment: Vec<(String, String)>,
    /// How long Lambda would let it run. Its processes learn of it, but are not ended then.
    pub timeout: Duration,
    /// How many processes it has at most.
    pub max_processes: usize,
    /// Whether another process starts where one ended by itself.
    pub restart: bool,
}

/// What a function answered to an event.
#[derive(Debug)]
pub enum Outcome {
    /// Its answer.
    Answer(Value),
    /// The error that it reported, or that Lambda reports when all its processes are killed.
    Error(Value),
    /// Nothing, because [`Function::kill_one`] killed the process that had the event.
    Killed,
}

/// Why there is no outcome.
#[derive(Debug)]
pub enum NoAnswer {
    /// The function is stopped: a process ended as soon as it started, or the function was ended.
    NotRunning,
    /// Its program does not start.
    CannotStart(io::Error),
    /// The function was started again while it had the event.
    Restarted,
    /// The process that had the event ended by itself, or none was left to take it.
    Ended,
    /// It took longer than API Gateway waits.
    TimedOut,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("does not run"),
            Self::CannotStart(error) => write!(f, "cannot be started: {error}"),
            Self::Restarted => f.write_str("was restarted before it answered"),
            Self::Ended => f.write_str("ended before it answered"),
            Self::TimedOut => f.write_str("did not answer in time"),
        }
    }
}

type Answered = Result<Outcome, NoAnswer>;

/// An event for one of the processes.
pub(super) struct Invocation {
    pub(super) request_id: String,
    pub(super) event: Value,
}

struct RunningProcess {
    id: Option<u32>,
    started: Instant,
    /// The request id of the last event it took.
    event: Option<String>,
    /// Ends when the process has ended and all its lines are read.
    task: JoinHandle<()>,
    /// Kills the process when it is dropped.
    _alive: oneshot::Sender<()>,
}

#[derive(Default)]
struct FunctionState {
    environment: Vec<(String, String)>,
    processes: BTreeMap<usize, RunningProcess>,
    /// How many processes have been started so far: the number of the next one.
    started: usize,
    /// Killed processes whose last lines are still being read.
    killed: Vec<JoinHandle<()>>,
    /// Whether no process is to start: one ended as soon as it started, or the function was ended.
    stopped: bool,
    /// Who waits for the answer to which event.
    waiting: HashMap<String, oneshot::Sender<Answered>>,
}

impl FunctionState {
    /// Ends the waiting for every event that was not answered.
    fn give_up(&mut self, answer: impl Fn() -> Answered) {
        for (_, waiting) in self.waiting.drain() {
            // The client may have gone.
            _ = waiting.send(answer());
        }
    }

    /// Kills all processes.
    fn kill_all(&mut self) {
        let killed = mem::take(&mut self.processes).into_values().map(|process| process.task);
        self.killed.extend(killed);
    }
}

/// A function of the service.
pub struct Function {
    settings: FunctionSettings,
    /// The part of the runtime interface's address that all its processes share.
    runtime_api: String,
    observer: Arc<dyn Observer>,
    state: Mutex<FunctionState>,
    queue: mpsc::UnboundedSender<Invocation>,
    events: AsyncMutex<mpsc::UnboundedReceiver<Invocation>>,
    this: Weak<Self>,
}

impl Function {
    pub(super) fn new(
        mut settings: FunctionSettings,
        runtime_api: SocketAddr,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        let (queue, events) = mpsc::unbounded_channel();
        let state = FunctionState { environment: mem::take(&mut settings.environment), ..FunctionState::default() };
        Arc::new_cyclic(|this| Self {
            runtime_api: format!("http://{runtime_api}/{}", settings.name),
            settings,
            observer,
            state: Mutex::new(state),
            queue,
            events: AsyncMutex::new(events),
            this: Weak::clone(this),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Its program.
    #[must_use]
    pub fn binary(&self) -> &PathBuf {
        &self.settings.binary
    }

    pub(super) fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Whether it would take an event.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.state().stopped
    }

    /// The system's ids of its processes.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        self.state().processes.values().filter_map(|process| process.id).collect()
    }

    /// Starts all its processes, so that the first event need not wait for one.
    pub fn start(&self) -> io::Result<()> {
        self.fill(&mut self.state())
    }

    /// Kills its processes, and starts new ones, with other variables if there are any. Events that are not answered get no answer.
    pub async fn restart(&self, environment: Option<Vec<(String, String)>>) -> io::Result<()> {
        self.kill_all(true, || Err(NoAnswer::Restarted)).await;
        let mut state = self.state();
        state.stopped = false;
        if let Some(environment) = environment {
            state.environment = environment;
        }
        self.fill(&mut state)
    }

    /// Gives the function an event, and waits for what comes of it. A process has one event at a time. Another process starts when all
    /// are busy, up to the limit.
    pub async fn invoke(&self, event: Value, request_id: Option<String>) -> Answered {
        let request_id = request_id.unwrap_or_else(|| Uuid::new_v4().to_string());
        let answered = {
            let mut state = self.state();
            if state.stopped {
                return Err(NoAnswer::NotRunning);
            }
            let (waiting, answered) = oneshot::channel();
            state.waiting.insert(request_id.clone(), waiting);
            let processes = state.processes.len();
            if processes < state.waiting.len().min(self.settings.max_processes)
                && let Err(error) = self.start_process(&mut state)
            {
                state.waiting.remove(&request_id);
                return Err(NoAnswer::CannotStart(error));
            }
            answered
        };
        _ = self.queue.send(Invocation { request_id, event });
        answered.await.unwrap_or(Err(NoAnswer::Ended))
    }

    /// The next event for one of its processes.
    pub(super) async fn next_event(&self, process: usize) -> Invocation {
        loop {
            let Some(invocation) = self.events.lock().await.recv().await else { return std::future::pending().await };
            let mut state = self.state();
            // Nobody waits for it any more: the function was killed or restarted meanwhile.
            if !state.waiting.contains_key(&invocation.request_id) {
                continue;
            }
            if let Some(process) = state.processes.get_mut(&process) {
                process.event = Some(invocation.request_id.clone());
                return invocation;
            }
            drop(state);
            _ = self.queue.send(invocation);
            break;
        }
        // The process was killed while it waited: the event is for another one.
        std::future::pending().await
    }

    /// Takes the outcome of an event from a process.
    pub(super) fn answered(&self, request_id: &str, outcome: Outcome) {
        if let Some(waiting) = self.state().waiting.remove(request_id) {
            // The client may have gone.
            _ = waiting.send(Ok(outcome));
        }
    }

    /// Kills one of its processes, and starts another. The event that it had is lost.
    ///
    /// `which` is taken modulo the number of processes.
    pub fn kill_one(&self, which: usize) -> io::Result<()> {
        let mut state = self.state();
        let processes = state.processes.len();
        let number = state.processes.keys().copied().nth(which % processes.max(1));
        let Some(killed) = number.and_then(|number| state.processes.remove(&number)) else { return Ok(()) };
        if let Some(waiting) = killed.event.and_then(|event| state.waiting.remove(&event)) {
            _ = waiting.send(Ok(Outcome::Killed));
        }
        state.killed.push(killed.task);
        self.start_process(&mut state)
    }

    /// Kills its processes, as Lambda does with a process that takes too long. Every event that they have is answered with Lambda's error.
    pub async fn kill(&self) {
        self.kill_all(false, || Ok(Outcome::Error(json!({ "errorType": "Runtime.ExitError" })))).await;
    }

    /// Kills its processes for good, and waits until they have ended and everything they wrote was given to the observer.
    pub async fn end(&self) {
        self.kill_all(true, || Err(NoAnswer::Ended)).await;
    }

    async fn kill_all(&self, stopped: bool, answer: impl Fn() -> Answered) {
        let killed = {
            let mut state = self.state();
            state.stopped = stopped;
            state.give_up(answer);
            state.kill_all();
            mem::take(&mut state.killed)
        };
        for task in killed {
            _ = task.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, FunctionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, state: &mut FunctionState) -> io::Result<()> {
        (state.processes.len()..self.settings.max_processes).try_for_each(|_| self.start_process(state))
    }

    fn start_process(&self, state: &mut FunctionState) -> io::Result<()> {
        let number = state.started;
        let mut child = Command::new(&self.settings.binary)
            .current_dir(&self.settings.folder)
            .env_clear()
            .envs(state.environment.iter().map(|(name, value)| (name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", format!("{}/{number}", self.runtime_api))
            .env("AWS_LAMBDA_FUNCTION_NAME", &self.settings.name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal is for the program that runs the functions. It ends them.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        state.started += 1;
        let id = child.id();
        let lines =
            [child.stdout.take().map(|from| self.pass_on(from)), child.stderr.take().map(|from| self.pass_on(from))];
        let (alive, killed) = oneshot::channel();
        let this = Weak::clone(&self.this);
        let task = tokio::spawn(async move {
            let status = end_of(&mut child, killed).await;
            for lines in lines.into_iter().flatten() {
                _ = lines.await;
            }
            if let (Some(status), Some(this)) = (status, this.upgrade()) {
                this.process_ended(number, status);
            }
        });
        state
            .processes
            .insert(number, RunningProcess { id, started: Instant::now(), event: None, task, _alive: alive });
        Ok(())
    }

    /// Gives the lines of a stream to the observer.
    fn pass_on(&self, from: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let (name, observer) = (self.settings.name.clone(), Arc::clone(&self.observer));
        tokio::spawn(async move {
            let mut lines = BufReader::new(from).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                observer.line_written(&name, String::from_utf8_lossy(&line).trim_end_matches('\r'));
            }
        })
    }

    /// A process ended by itself.
    fn process_ended(&self, number: usize, status: ExitStatus) {
        let mut state = self.state();
        let Some(process) = state.processes.remove(&number) else { return };
        if let Some(waiting) = process.event.and_then(|event| state.waiting.remove(&event)) {
            _ = waiting.send(Err(NoAnswer::Ended));
        }
        let restarted = self.settings.restart
            && process.started.elapsed() >= MIN_LIFETIME
            && self.start_process(&mut state).is_ok();
        if !restarted && (self.settings.restart || state.processes.is_empty()) {
            state.stopped = true;
            state.kill_all();
            state.give_up(|| Err(NoAnswer::Ended));
        }
        drop(state);
        self.observer.process_ended(self.name(), status, restarted);
    }
}

/// The status of a process that ended by itself; `None` if it was killed, which happens when the other end of `killed` is dropped.
async fn end_of(child: &mut Child, killed: oneshot::Receiver<()>) -> Option<ExitStatus> {
    tokio::select! {
        status = child.wait() => status.ok(),
        _ = killed => {
            _ = child.kill().await;
            None
        }
    }
}
