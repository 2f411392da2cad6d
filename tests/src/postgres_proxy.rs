//! A proxy in front of PostgreSQL that can simulate a failing network, interrupt a chosen statement, or refuse statements.
//!
//! It understands enough of the wire protocol to separate one statement from the next
//! (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex as AsyncMutex, Notify, watch},
    time::sleep,
};

/// How the network between a function and PostgreSQL behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// It forwards everything at once.
    Healthy,
    /// It delays each statement by this time.
    Slow(Duration),
    /// It accepts everything and forwards nothing.
    Silent,
}

/// The point at which a proxy interrupts a statement, or a request to DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterruptionPoint {
    /// Before the server receives it.
    BeforeExecution,
    /// After the server has committed it, and before the function receives the result.
    AfterCommit,
}

/// What the proxy does at an interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbance {
    /// It keeps the connection open and forwards nothing more.
    Hold,
    /// It closes the connection.
    Close,
}

/// A running proxy. It stops with the runtime of its test.
pub struct PostgresProxy {
    /// The port of 127.0.0.1 where the proxy listens.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    port_of_server: u16,
    network: watch::Sender<Network>,
    /// Changes when every open connection is to be dropped.
    dropped: watch::Sender<u32>,
    state: Mutex<State>,
    held: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

#[derive(Default)]
struct State {
    /// How many statements the functions have sent to be run, since the counts were last set to zero.
    statements: usize,
    /// How often they have sent the text of a statement to be parsed, since then.
    parsed: usize,
    /// How often they have sent something before the answer to an earlier statement, since then.
    pipelined: usize,
    /// How much longer it takes to prepare a statement without running it.
    delay_of_preparing: Duration,
    /// The number of the statement to interrupt, and how to interrupt it. The first statement has the number 1.
    interruption: Option<(usize, InterruptionPoint, Disturbance)>,
    /// The SQLSTATE with which the proxy answers statements instead of running them, and for how many more statements it does so.
    refusal: Option<(&'static str, usize)>,
}

impl PostgresProxy {
    /// Starts a proxy to the server on this port of 127.0.0.1.
    pub async fn to(port_of_server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (network, dropped) = (watch::Sender::new(Network::Healthy), watch::Sender::new(0));
        let shared =
            Arc::new(Shared { port_of_server, network, dropped, state: Mutex::default(), held: Notify::new() });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, Arc::clone(&accepting)));
            }
        });
        Self { port, shared }
    }

    /// Starts a proxy to the server that all tests share.
    pub async fn to_the_shared_server() -> Self {
        let server: tokio_postgres::Config = crate::server("TEST_DATABASE_URL").parse().expect("a URL");
        Self::to(server.get_ports()[0]).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Sets how the network behaves from now on.
    pub fn set_network(&self, network: Network) {
        self.shared.network.send_replace(network);
    }

    /// Drops every open connection, like a NAT gateway that has deleted its entry for the connection: packets are discarded
    /// without an acknowledgement or a reset. New connections work.
    pub fn drop_open_connections(&self) {
        self.shared.dropped.send_modify(|generation| *generation += 1);
    }

    /// How many statements the functions have sent to be run, since [`PostgresProxy::reset_counts`].
    #[must_use]
    pub fn statement_count(&self) -> usize {
        self.state().statements
    }

    /// How often the functions have sent the text of a statement to be parsed, since [`PostgresProxy::reset_counts`].
    #[must_use]
    pub fn parsed(&self) -> usize {
        self.state().parsed
    }

    /// How often a function has sent something before the answer to an earlier statement, since [`PostgresProxy::reset_counts`].
    #[must_use]
    pub fn pipelined(&self) -> usize {
        self.state().pipelined
    }

    /// Sets the counts to zero.
    pub fn reset_counts(&self) {
        let mut state = self.state();
        state.statements = 0;
        (state.parsed, state.pipelined) = (0, 0);
    }

    /// Delays requests to prepare a statement without running it.
    pub fn delay_preparing(&self, delay: Duration) {
        self.state().delay_of_preparing = delay;
    }

    /// Answers the next statements with an error of this SQLSTATE instead of running them. `times` is the number of these
    /// statements.
    pub fn refuse_statements(&self, code: &'static str, times: usize) {
        self.state().refusal = Some((code, times));
    }

    /// Holds the statement with this number. The next statement has the number 1. [`PostgresProxy::wait_until_held`] returns
    /// when the statement is held.
    pub fn hold_statement(&self, number: usize, interruption: InterruptionPoint) {
        self.interrupt(number, interruption, Disturbance::Hold);
    }

    /// Closes the connection at the statement with this number. The next statement has the number 1.
    pub fn close_connection_at(&self, number: usize, interruption: InterruptionPoint) {
        self.interrupt(number, interruption, Disturbance::Close);
    }

    fn interrupt(&self, number: usize, interruption: InterruptionPoint, disturbance: Disturbance) {
        let mut state = self.state();
        state.statements = 0;
        state.interruption = Some((number, interruption, disturbance));
    }

    /// Interrupts no further statement.
    pub fn stop_interrupting(&self) {
        self.state().interruption = None;
    }

    /// Waits until a statement is held.
    pub async fn wait_until_held(&self) {
        self.shared.held.notified().await;
    }
}

async fn relay(mut client: TcpStream, shared: Arc<Shared>) {
    let mut dropped = shared.dropped.subscribe();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", shared.port_of_server)).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let drop_packets = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let connection = Connection {
            to_client: AsyncMutex::new(to_client),
            after_commit: Mutex::default(),
            unanswered: AtomicUsize::new(0),
            shared,
        };
        tokio::select! {
            () = connection.forward_to_server(from_client, to_server) => false,
            () = connection.forward_to_client(from_server) => false,
            _ = dropped.changed() => true,
        }
    };
    if drop_packets {
        #[cfg(target_os = "linux")]
        {
            // This filter accepts zero bytes of each packet, so the kernel drops packets before TCP processes them.
            let accept_nothing = [socket2::SockFilter::new(0x06, 0, 0, 0)];
            socket2::SockRef::from(&client).attach_filter(&accept_nothing).expect("a socket accepts a filter");
        }
        std::future::pending::<()>().await;
    }
}

struct Connection<W> {
    to_client: AsyncMutex<W>,
    /// What to do when the server has run the current statement. Until then, nothing is forwarded to the client.
    after_commit: Mutex<Option<Disturbance>>,
    /// How many batches the server has not answered yet.
    unanswered: AtomicUsize,
    shared: Arc<Shared>,
}

/// What the proxy does with a statement.
enum Action {
    Forward,
    Disturb(Disturbance),
    Refuse(&'static str),
}

impl<W: AsyncWrite + Unpin> Connection<W> {
    /// Forwards messages until either side closes the connection.
    async fn forward_to_server(&self, mut client: impl AsyncRead + Unpin, mut server: impl AsyncWrite + Unpin) {
        // The first message is StartupMessage or CancelRequest, which have no type byte.
        let Some(first) = read_message(&mut client, false).await else { return };
        if self.send(&mut server, &first).await.is_none() {
            return;
        }
        let (mut batch, mut runs_statement) = (Vec::new(), false);
        while let Some(message) = read_message(&mut client, true).await {
            batch.extend_from_slice(&message);
            match message[0] {
                b'P' => self.shared.state().parsed += 1,
                b'B' | b'Q' => runs_statement = true,
                _ => {}
            }
            // After Query, Sync, password messages and Terminate a client waits for an answer, or sends nothing more.
            if !b"QSpX".contains(&message[0]) {
                continue;
            }
            let batch = std::mem::take(&mut batch);
            // The server answers Query and Sync with ReadyForQuery.
            if b"QS".contains(&message[0]) && self.unanswered.fetch_add(1, Ordering::Relaxed) > 0 {
                self.shared.state().pipelined += 1;
            }
            if batch[0] == b'P' && !runs_statement {
                let delay = self.shared.state().delay_of_preparing;
                sleep(delay).await;
            }
            let action =
                if std::mem::take(&mut runs_statement) { self.action_for_statement(&batch) } else { Action::Forward };
            match action {
                Action::Forward => {
                    if self.send(&mut server, &batch).await.is_none() {
                        return;
                    }
                }
                Action::Disturb(Disturbance::Close) => return,
                Action::Disturb(Disturbance::Hold) => {
                    self.shared.held.notify_one();
                    // Discards everything else that the client sends.
                    let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                    return;
                }
                Action::Refuse(code) => {
                    // The function expects the answers in the order of its statements.
                    while self.unanswered.load(Ordering::Relaxed) > 1 {
                        sleep(Duration::from_millis(1)).await;
                    }
                    self.unanswered.store(0, Ordering::Relaxed);
                    let refusal = format!("SERROR\0VERROR\0C{code}\0Mrefused by the proxy\0\0");
                    let length = u32::try_from(refusal.len() + 4).expect("a short text");
                    let answer = [b"E", &length.to_be_bytes()[..], refusal.as_bytes(), b"Z\0\0\0\x05I"].concat();
                    if self.to_client.lock().await.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Sends to the server over the simulated network. `None` if the connection is closed.
    async fn send(&self, server: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Option<()> {
        let network = *self.shared.network.borrow();
        match network {
            Network::Healthy => {}
            Network::Slow(delay) => sleep(delay).await,
            Network::Silent => return Some(()),
        }
        server.write_all(bytes).await.ok()
    }

    fn action_for_statement(&self, batch: &[u8]) -> Action {
        let mut state = self.shared.state();
        state.statements += 1;
        // The functions send only the begin and the end of a transaction as simple queries. PostgreSQL does not refuse them.
        if batch[0] != b'Q'
            && let Some((code, times @ 1..)) = &mut state.refusal
        {
            *times -= 1;
            return Action::Refuse(code);
        }
        let Some((number, interruption, disturbance)) = state.interruption else { return Action::Forward };
        if number != state.statements {
            return Action::Forward;
        }
        match interruption {
            InterruptionPoint::BeforeExecution => Action::Disturb(disturbance),
            InterruptionPoint::AfterCommit => {
                *self.after_commit.lock().expect("no panic") = Some(disturbance);
                Action::Forward
            }
        }
    }

    /// Forwards messages until either side closes the connection.
    async fn forward_to_client(&self, mut server: impl AsyncRead + Unpin) {
        while let Some(message) = read_message(&mut server, true).await {
            let disturbance = *self.after_commit.lock().expect("no panic");
            // ReadyForQuery: the statement has ended, and usually its transaction.
            let ready = message[0] == b'Z';
            if ready {
                let _ =
                    self.unanswered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
            }
            match disturbance {
                None if self.to_client.lock().await.write_all(&message).await.is_err() => return,
                Some(Disturbance::Hold) if ready => self.shared.held.notify_one(),
                Some(Disturbance::Close) if ready => return,
                _ => {}
            }
        }
    }
}

/// A zero-terminated string, and the bytes after it.
pub(crate) fn read_string(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).expect("a string ends with a zero byte");
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 1..])
}

/// The next whole message; `typed` if it begins with a type byte. The one-byte answer to `SSLRequest` cannot be read this
/// way, but the functions do not send that request here.
pub(crate) async fn read_message(from: &mut (impl AsyncRead + Unpin), typed: bool) -> Option<Vec<u8>> {
    let head = if typed { 5 } else { 4 };
    let mut message = vec![0; head];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[head - 4..].try_into().expect("four bytes"));
    message.resize(head - 4 + usize::try_from(length).expect("a length"), 0);
    from.read_exact(&mut message[head..]).await.ok()?;
    Some(message)
}
