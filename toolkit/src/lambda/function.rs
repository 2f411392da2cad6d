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

/// A process that ends sooner than this is not replaced, because the new process would probably end just as early.
const MIN_LIFETIME: Duration = Duration::from_secs(5);

/// How a function runs.
pub struct FunctionSettings {
    /// The function's name.
    pub name: String,
    /// The program.
    pub binary: PathBuf,
    /// The working directory of its processes.
    pub folder: PathBuf,
    /// All environment variables of its processes. They inherit none from this program.
    pub environment: Vec<(String, String)>,
    /// The function's timeout in Lambda. Its processes receive it as a deadline, but are not killed after it.
    pub timeout: Duration,
    /// The largest number of its processes.
    pub max_processes: usize,
    /// Whether a process that ended by itself is replaced.
    pub restart: bool,
}

/// The outcome of an event.
#[derive(Debug)]
pub enum Outcome {
    /// The function's answer.
    Answer(Value),
    /// The error that the function reported, or Lambda's error if [`Function::kill`] killed its processes.
    Error(Value),
    /// There is no answer, because [`Function::kill_one`] killed the process that had the event.
    Killed,
}

/// Why an event has no outcome.
#[derive(Debug)]
pub enum NoAnswer {
    /// The function is stopped: it was ended, it is being restarted, or processes ended by themselves and were not replaced.
    NotRunning,
    /// The function's program cannot be started.
    CannotStart(io::Error),
    /// The function was restarted while it had the event.
    Restarted,
    /// The process that had the event ended by itself, no process was left for the event, or [`Function::end`] was called.
    Ended,
    /// The function took longer than API Gateway waits.
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

/// An event that waits for a process.
pub(super) struct Invocation {
    pub(super) request_id: String,
    pub(super) event: Value,
}

struct RunningProcess {
    id: Option<u32>,
    started: Instant,
    /// The request id of the last event that it received.
    event: Option<String>,
    /// Ends after the process has ended and all its output was read.
    task: JoinHandle<()>,
    /// The process is killed when this is dropped.
    _kill_on_drop: oneshot::Sender<()>,
}

#[derive(Default)]
struct FunctionState {
    environment: Vec<(String, String)>,
    processes: BTreeMap<usize, RunningProcess>,
    /// The number of processes started so far. It is also the number of the next process.
    started: usize,
    /// Killed processes whose last output is still being read.
    killed: Vec<JoinHandle<()>>,
    /// Whether new events get [`NoAnswer::NotRunning`].
    stopped: bool,
    /// The callers that wait for an outcome, by request id.
    waiting: HashMap<String, oneshot::Sender<Answered>>,
}

impl FunctionState {
    /// Gives this answer to every caller that still waits.
    fn answer_all(&mut self, answer: impl Fn() -> Answered) {
        for (_, waiting) in self.waiting.drain() {
            // The caller may have stopped waiting.
            _ = waiting.send(answer());
        }
    }

    fn kill_all(&mut self) {
        let killed = mem::take(&mut self.processes).into_values().map(|process| process.task);
        self.killed.extend(killed);
    }
}

/// A function of the service.
pub struct Function {
    settings: FunctionSettings,
    /// The start of the runtime interface's address, which is the same for all its processes.
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

    /// Whether it accepts events.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.state().stopped
    }

    /// The operating system's ids of its processes.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        self.state().processes.values().filter_map(|process| process.id).collect()
    }

    /// Starts all its processes, so that the first event does not wait for a start.
    pub fn start(&self) -> io::Result<()> {
        self.start_missing_processes(&mut self.state())
    }

    /// Kills its processes and starts new ones. `environment` replaces the environment variables, if given. Unanswered events end
    /// with [`NoAnswer::Restarted`].
    pub async fn restart(&self, environment: Option<Vec<(String, String)>>) -> io::Result<()> {
        self.kill_all(true, || Err(NoAnswer::Restarted)).await;
        let mut state = self.state();
        state.stopped = false;
        if let Some(environment) = environment {
            state.environment = environment;
        }
        self.start_missing_processes(&mut state)
    }

    /// Sends an event to the function and waits for the outcome. A process handles one event at a time. If all processes are busy
    /// and there are fewer than `max_processes`, another process starts.
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

    /// Waits for the next event for one of its processes.
    pub(super) async fn next_event(&self, process: usize) -> Invocation {
        loop {
            let Some(invocation) = self.events.lock().await.recv().await else { return std::future::pending().await };
            let mut state = self.state();
            // If nobody waits for the outcome any more, the function was killed or restarted in the meantime. The event is skipped.
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
        // This process was killed while it waited. The event is in the queue again, for another process.
        std::future::pending().await
    }

    /// Passes the outcome of an event from a process to the caller.
    pub(super) fn deliver(&self, request_id: &str, outcome: Outcome) {
        if let Some(waiting) = self.state().waiting.remove(request_id) {
            // The caller may have stopped waiting.
            _ = waiting.send(Ok(outcome));
        }
    }

    /// Kills one of its processes, and starts another. The event of the killed process is lost.
    ///
    /// `which` selects the process, modulo the number of processes.
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

    /// Kills its processes, as Lambda kills a process that takes too long. Every unanswered event gets Lambda's error.
    pub async fn kill(&self) {
        self.kill_all(false, || Ok(Outcome::Error(json!({ "errorType": "Runtime.ExitError" })))).await;
    }

    /// Kills its processes and starts no new ones. Waits until they have ended and the observer has received all their output.
    pub async fn end(&self) {
        self.kill_all(true, || Err(NoAnswer::Ended)).await;
    }

    async fn kill_all(&self, stopped: bool, answer: impl Fn() -> Answered) {
        let killed = {
            let mut state = self.state();
            state.stopped = stopped;
            state.answer_all(answer);
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

    fn start_missing_processes(&self, state: &mut FunctionState) -> io::Result<()> {
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
            // Ctrl-C in the terminal must reach only the program that runs the functions. That program ends them.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        state.started += 1;
        let id = child.id();
        let lines =
            [child.stdout.take().map(|from| self.observe(from)), child.stderr.take().map(|from| self.observe(from))];
        let (kill_on_drop, killed) = oneshot::channel();
        let this = Weak::clone(&self.this);
        let task = tokio::spawn(async move {
            let status = wait_or_kill(&mut child, killed).await;
            for lines in lines.into_iter().flatten() {
                _ = lines.await;
            }
            if let (Some(status), Some(this)) = (status, this.upgrade()) {
                this.process_ended(number, status);
            }
        });
        state.processes.insert(
            number,
            RunningProcess { id, started: Instant::now(), event: None, task, _kill_on_drop: kill_on_drop },
        );
        Ok(())
    }

    /// Passes the lines of a stream to the observer.
    fn observe(&self, from: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let (name, observer) = (self.settings.name.clone(), Arc::clone(&self.observer));
        tokio::spawn(async move {
            let mut lines = BufReader::new(from).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                observer.line_written(&name, String::from_utf8_lossy(&line).trim_end_matches('\r'));
            }
        })
    }

    /// Handles the end of a process that was not killed.
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
            state.answer_all(|| Err(NoAnswer::Ended));
        }
        drop(state);
        self.observer.process_ended(self.name(), status, restarted);
    }
}

/// Waits for the end of a process. Kills it when the sender of `killed` is dropped, and returns `None`. Returns the exit status
/// if it ended by itself.
async fn wait_or_kill(child: &mut Child, killed: oneshot::Receiver<()>) -> Option<ExitStatus> {
    tokio::select! {
        status = child.wait() => status.ok(),
        _ = killed => {
            _ = child.kill().await;
            None
        }
    }
}
