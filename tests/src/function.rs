//! A function: its binary, as many processes of it as are busy, and the queue of what it is to answer.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::documents;

/// Longest wait for an answer: API Gateway's own.
const GATEWAY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a function made of an event.
pub(crate) enum Outcome {
    /// Its answer.
    Answer(Value),
    /// The error it reported, as Lambda would pass it on.
    Error(Value),
    /// Nothing: its process was killed over it.
    Lost,
}

/// An event on its way to a process.
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    pub(crate) event: Value,
}

/// A process, and the event it was last given.
struct Process {
    child: Child,
    serves: Option<String>,
}

pub(crate) struct Function {
    name: String,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    runtime_api: String,
    max_processes: usize,
    pub(crate) timeout: Duration,
    processes: Mutex<BTreeMap<usize, Process>>,
    started: AtomicUsize,
    logs: Arc<Mutex<Vec<String>>>,
    collectors: Mutex<Vec<JoinHandle<()>>>,
    outstanding: AtomicUsize,
    queue: mpsc::UnboundedSender<Invocation>,
    waiting: AsyncMutex<mpsc::UnboundedReceiver<Invocation>>,
    answers: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
}

/// One event more that is under way, until it is answered or its client has gone.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn with_one_more(outstanding: &'a AtomicUsize) -> (Self, usize) {
        (Self(outstanding), outstanding.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Function {
    pub(crate) fn new(name: &str, runtime_api: &str, environment: Vec<(String, String)>, max_processes: usize) -> Self {
        // target/<profile>/deps/<this test> → target/<profile>/<function>
        let test = std::env::current_exe().expect("a test has a path");
        let binary =
            test.parent().and_then(|deps| deps.parent()).expect("a test lies in target/<profile>/deps").join(name);
        assert!(binary.exists(), "{} is not built: run the tests with `cargo xtask test`", binary.display());
        let (queue, waiting) = mpsc::unbounded_channel();
        Self {
            name: name.to_owned(),
            binary,
            environment,
            runtime_api: format!("http://{runtime_api}/.rt/{name}"),
            max_processes,
            timeout: documents::timeout(name),
            processes: Mutex::default(),
            started: AtomicUsize::new(0),
            logs: Arc::default(),
            collectors: Mutex::default(),
            outstanding: AtomicUsize::new(0),
            queue,
            waiting: AsyncMutex::new(waiting),
            answers: Mutex::default(),
        }
    }

    /// Hands the function an event and waits for what it makes of it. A process serves one event at a time; another is started
    /// when all are busy, up to the stack's limit.
    pub(crate) async fn invoke(&self, event: Value, request_id: Option<String>) -> Outcome {
        let request_id = request_id.unwrap_or_else(|| Uuid::new_v4().to_string());
        let (answer, answered) = oneshot::channel();
        self.answers.lock().expect("no panic").insert(request_id.clone(), answer);
        let (_busy, busy) = Busy::with_one_more(&self.outstanding);
        self.start_one_for(busy);
        self.queue.send(Invocation { request_id, event }).expect("the queue is open");
        tokio::select! {
            outcome = answered => outcome.unwrap_or(Outcome::Lost),
            () = tokio::time::sleep(GATEWAY_TIMEOUT) => panic!("{} did not answer in time; its log:\n{}", self.name, self.log()),
            () = self.all_ended() => panic!("{} ended; its log:\n{}", self.name, self.log()),
        }
    }

    /// Returns when none of its processes is left to answer.
    async fn all_ended(&self) {
        let ended = |process: &mut Process| process.child.try_wait().is_ok_and(|status| status.is_some());
        while !self.processes.lock().expect("no panic").values_mut().all(ended) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The next event for one of the function's processes.
    pub(crate) async fn next(&self, process: usize) -> Invocation {
        let invocation = self.waiting.lock().await.recv().await.expect("the queue is open");
        if let Some(process) = self.processes.lock().expect("no panic").get_mut(&process) {
            process.serves = Some(invocation.request_id.clone());
            return invocation;
        }
        // It was killed while it waited: the event is for another.
        self.queue.send(invocation).expect("the queue is open");
        std::future::pending().await
    }

    /// Kills one of its processes, if it has any. What that was serving is lost, and another process takes its place.
    pub(crate) fn kill_one(&self, which: usize) {
        let mut processes = self.processes.lock().expect("no panic");
        let Some(number) = processes.keys().copied().nth(which % processes.len().max(1)) else { return };
        let killed = processes.remove(&number).expect("it was there");
        self.start_one(&mut processes);
        if let Some(served) = killed.serves {
            self.answers.lock().expect("no panic").remove(&served);
        }
    }

    /// The system's ids of its processes.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.processes.lock().expect("no panic").values().filter_map(|process| process.child.id()).collect()
    }

    /// Takes a process's answer.
    pub(crate) fn answer(&self, request_id: &str, outcome: Outcome) {
        if let Some(waiting) = self.answers.lock().expect("no panic").remove(request_id) {
            // Nobody waits any more where the client has gone.
            let _ = waiting.send(outcome);
        }
    }

    /// Kills its processes, as Lambda does with one that takes too long: what they were at comes to nothing.
    pub(crate) async fn kill(&self) {
        for (_, waiting) in std::mem::take(&mut *self.answers.lock().expect("no panic")) {
            let _ = waiting.send(Outcome::Error(json!({ "errorType": "Runtime.ExitError" })));
        }
        let killed = std::mem::take(&mut *self.processes.lock().expect("no panic"));
        for mut process in killed.into_values() {
            process.child.kill().await.expect("a child can be killed");
        }
    }

    /// Sends its processes a signal, such as the two that do what Lambda does between requests: freeze and thaw them.
    pub(crate) fn signal(&self, signal: Signal) {
        for id in self.process_ids() {
            signal::kill(Pid::from_raw(id.cast_signed()), signal).expect("a child can be signalled");
        }
    }

    /// Everything its processes have written so far.
    pub(crate) fn log(&self) -> String {
        self.logs.lock().expect("no panic").join("\n")
    }

    /// Ends its processes and gives everything they have written.
    pub(crate) async fn end(&self) -> String {
        self.processes.lock().expect("no panic").clear();
        let collectors = std::mem::take(&mut *self.collectors.lock().expect("no panic"));
        for collector in collectors {
            collector.await.expect("no panic");
        }
        self.log()
    }

    fn start_one_for(&self, busy: usize) {
        let mut processes = self.processes.lock().expect("no panic");
        if busy > processes.len() && processes.len() < self.max_processes {
            self.start_one(&mut processes);
        }
    }

    fn start_one(&self, processes: &mut BTreeMap<usize, Process>) {
        let number = self.started.fetch_add(1, Ordering::SeqCst);
        let mut child = Command::new(&self.binary)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .env("AWS_LAMBDA_RUNTIME_API", format!("{}/{number}", self.runtime_api))
            .env("AWS_LAMBDA_FUNCTION_NAME", &self.name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the function's binary starts");
        self.collect(child.stdout.take().expect("piped"));
        self.collect(child.stderr.take().expect("piped"));
        processes.insert(number, Process { child, serves: None });
    }

    fn collect(&self, stream: impl AsyncRead + Unpin + Send + 'static) {
        let logs = Arc::clone(&self.logs);
        let collector = tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                logs.lock().expect("no panic").push(line);
            }
        });
        self.collectors.lock().expect("no panic").push(collector);
    }
}
