//! A proxy before PostgreSQL that understands enough of its protocol to know one statement from the next, and can be an ill network,
//! a busy server, or the moment at which a function dies.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex as AsyncMutex, Notify, watch},
    time::sleep,
};

/// What the network is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// As it should be.
    Well,
    /// Each statement arrives so much later.
    Slow(Duration),
    /// What is sent is taken, and arrives nowhere.
    Silent,
}

/// When something happens to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It never gets to PostgreSQL.
    Before,
    /// It has been committed, and nobody is told.
    After,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accident {
    /// Nobody hears of it any more.
    Held,
    /// Its connection ends.
    Cut,
}

/// A statement that came by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    /// Its text.
    pub sql: String,
    /// The object ids of its parameters' types.
    pub types: Vec<u32>,
}

/// The proxy. It ends with the runtime of its test.
pub struct Proxy {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    network: watch::Sender<Network>,
    /// Rises when every connection is to vanish.
    generation: watch::Sender<u32>,
    state: Mutex<State>,
    held: Notify,
}

#[derive(Default)]
struct State {
    upstream: u16,
    /// Statements since the last [`Proxy::forget`].
    statements: Vec<Statement>,
    /// At which of them, counted from one, something happens.
    at: Option<(usize, Moment, Accident)>,
    /// With what, and how often yet, a statement is answered instead of being run.
    refusal: Option<(&'static str, usize)>,
}

impl Proxy {
    /// Before the server on this port of 127.0.0.1.
    pub async fn before(port_of_server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Mutex::new(State { upstream: port_of_server, ..State::default() });
        let (network, generation) = (watch::Sender::new(Network::Well), watch::Sender::new(0));
        let shared = Arc::new(Shared { network, generation, state, held: Notify::new() });
        let accepted = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, Arc::clone(&accepted)));
            }
        });
        Self { port, shared }
    }

    /// Before the server that all tests share.
    pub async fn before_the_shared_server() -> Self {
        let server: tokio_postgres::Config = crate::server("TEST_DATABASE_URL").parse().expect("a URL");
        Self::before(server.get_ports()[0]).await
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic")
    }

    /// Lets the network fail, or be well again.
    pub fn is(&self, network: Network) {
        self.shared.network.send_replace(network);
    }

    /// Lets every connection there is vanish without a word, as a network does that has forgotten them: what comes by them is dropped
    /// unseen, and not even acknowledged. New ones work.
    pub fn forgets_connections(&self) {
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    /// Leads new connections to another server.
    pub fn leads_to(&self, port_of_server: u16) {
        self.state().upstream = port_of_server;
    }

    /// The statements that came by since [`Proxy::forget`].
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        self.state().statements.clone()
    }

    /// Forgets the statements that came by.
    pub fn forget(&self) {
        self.state().statements.clear();
    }

    /// Answers the next statements, so many of them, with an error of this code instead of running them.
    pub fn refuses(&self, code: &'static str, times: usize) {
        self.state().refusal = Some((code, times));
    }

    /// Holds the statement of this number, counted from one and from now; whoever waits in [`Proxy::held`] learns of it.
    pub fn hold(&self, number: usize, moment: Moment) {
        self.happens(number, moment, Accident::Held);
    }

    /// Ends the connection at the statement of this number, counted in the same way.
    pub fn cut(&self, number: usize, moment: Moment) {
        self.happens(number, moment, Accident::Cut);
    }

    fn happens(&self, number: usize, moment: Moment, accident: Accident) {
        let mut state = self.state();
        state.statements.clear();
        state.at = Some((number, moment, accident));
    }

    /// Lets everything pass again.
    pub fn release(&self) {
        self.state().at = None;
    }

    /// Waits until a statement is held.
    pub async fn held(&self) {
        self.shared.held.notified().await;
    }
}

async fn relay(mut client: TcpStream, shared: Arc<Shared>) {
    let upstream = shared.state.lock().expect("no panic").upstream;
    let mut generation = shared.generation.subscribe();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let vanished = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let connection = Connection { to_client: AsyncMutex::new(to_client), after: Mutex::default(), shared };
        tokio::select! {
            () = connection.questions(from_client, to_server) => false,
            () = connection.answers(from_server) => false,
            _ = generation.changed() => true,
        }
    };
    if vanished {
        #[cfg(target_os = "linux")]
        {
            // A filter that lets nothing of any packet through: the kernel drops it before TCP sees it.
            let nothing = [socket2::SockFilter::new(0x06, 0, 0, 0)];
            socket2::SockRef::from(&client).attach_filter(&nothing).expect("a socket takes a filter");
        }
        std::future::pending::<()>().await;
    }
}

struct Connection<W> {
    to_client: AsyncMutex<W>,
    /// What happens once the server has run the statement it is at; until then, the client learns nothing of what it says.
    after: Mutex<Option<Accident>>,
    shared: Arc<Shared>,
}

/// What becomes of a statement.
enum Fate {
    Run,
    Struck(Accident),
    Refused(&'static str),
}

impl<W: AsyncWrite + Unpin> Connection<W> {
    /// From the client to the server, until either has gone.
    async fn questions(&self, mut client: impl AsyncRead + Unpin, mut server: impl AsyncWrite + Unpin) {
        // The first message has no type: who connects, or what to cancel.
        let Some(first) = message(&mut client, false).await else { return };
        if self.send(&mut server, &first).await.is_none() {
            return;
        }
        let (mut batch, mut statement) = (Vec::new(), None);
        while let Some(message) = message(&mut client, true).await {
            batch.extend_from_slice(&message);
            match message[0] {
                b'P' => statement = Some(Statement::parsed(&message)),
                b'Q' => statement = Some(Statement { sql: text(&message[5..]).0, types: Vec::new() }),
                _ => {}
            }
            // With these a client waits for an answer, or has no more to say.
            if !b"QSpX".contains(&message[0]) {
                continue;
            }
            let batch = std::mem::take(&mut batch);
            match statement.take().map_or(Fate::Run, |statement| self.fate(statement)) {
                Fate::Run => {
                    if self.send(&mut server, &batch).await.is_none() {
                        return;
                    }
                }
                Fate::Struck(Accident::Cut) => return,
                Fate::Struck(Accident::Held) => {
                    self.shared.held.notify_one();
                    // Whatever it says from here on is for nobody.
                    let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                    return;
                }
                Fate::Refused(code) => {
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

    /// To the server, as the network is.
    async fn send(&self, server: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Option<()> {
        let network = *self.shared.network.borrow();
        match network {
            Network::Well => {}
            Network::Slow(delay) => sleep(delay).await,
            Network::Silent => return Some(()),
        }
        server.write_all(bytes).await.ok()
    }

    fn fate(&self, statement: Statement) -> Fate {
        let mut state = self.shared.state.lock().expect("no panic");
        state.statements.push(statement);
        if let Some((code, times @ 1..)) = &mut state.refusal {
            *times -= 1;
            return Fate::Refused(code);
        }
        match state.at {
            Some((number, Moment::Before, accident)) if number == state.statements.len() => Fate::Struck(accident),
            Some((number, Moment::After, accident)) if number == state.statements.len() => {
                *self.after.lock().expect("no panic") = Some(accident);
                Fate::Run
            }
            _ => Fate::Run,
        }
    }

    /// From the server to the client, until either has gone.
    async fn answers(&self, mut server: impl AsyncRead + Unpin) {
        while let Some(message) = message(&mut server, true).await {
            let accident = *self.after.lock().expect("no panic");
            match accident {
                None if self.to_client.lock().await.write_all(&message).await.is_err() => return,
                // The transaction is over.
                Some(Accident::Held) if message[0] == b'Z' => self.shared.held.notify_one(),
                Some(Accident::Cut) if message[0] == b'Z' => return,
                _ => {}
            }
        }
    }
}

impl Statement {
    /// The message Parse: its type and length, the statement's name, its text, and the types.
    fn parsed(message: &[u8]) -> Self {
        let (_, rest) = text(&message[5..]);
        let (sql, rest) = text(rest);
        let types =
            rest[2..].chunks_exact(4).map(|id| u32::from_be_bytes(id.try_into().expect("four bytes"))).collect();
        Self { sql, types }
    }
}

/// A text that ends with a zero, and what comes after it.
fn text(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).expect("a text ends");
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 1..])
}

/// The next message, whole. A few are not messages: to the question whether it encrypts, a server answers one letter, but nobody asks.
async fn message(from: &mut (impl AsyncRead + Unpin), typed: bool) -> Option<Vec<u8>> {
    let head = if typed { 5 } else { 4 };
    let mut message = vec![0; head];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[head - 4..].try_into().expect("four bytes"));
    message.resize(head - 4 + usize::try_from(length).expect("a length"), 0);
    from.read_exact(&mut message[head..]).await.ok()?;
    Some(message)
}
