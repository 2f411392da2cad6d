//! A PostgreSQL server of one test's own, which may fall ill without anybody else noticing; and `PgBouncer` before one.

use std::{
    fs,
    io::Write as _,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::{net::TcpListener, sync::OnceCell, time::sleep};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::server;

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Everybody is sent away, and everything is written down.
    Fast,
    /// As if it crashed: at its next start it recovers.
    Immediate,
}

/// A server with a data directory of its own. Both go with this value.
pub struct Postgres {
    /// Where it listens.
    pub port: u16,
    host: &'static str,
    folder: PathBuf,
    settings: Vec<String>,
    postmaster: Mutex<Option<Child>>,
    frozen: Mutex<Vec<Pid>>,
}

/// The superuser's password, the same for all servers of a run: it is in the data directory that each begins with a copy of.
static PASSWORD: OnceCell<String> = OnceCell::const_new();

impl Postgres {
    /// A new server, running.
    pub async fn start(settings: &[&str]) -> Self {
        template().await;
        let server = Self::copied_from(&folder().join("template"), "127.0.0.1", unused_port().await, settings);
        server.start_again().await;
        server
    }

    /// A standby of this server on the same port of another address, running: the same data, as it changes. Read-only until it is
    /// promoted. This server is stopped for a moment, to copy what it has.
    pub async fn standby(&self, host: &'static str) -> Self {
        self.stop(Shutdown::Fast).await;
        let standby = Self::copied_from(&self.folder, host, self.port, &[]);
        self.start_again().await;
        let primary = format!("host={} port={} user=postgres password={}", self.host, self.port, password());
        fs::write(standby.folder.join("postgresql.auto.conf"), format!("primary_conninfo = '{primary}'\n"))
            .expect("the folder of a server takes a file");
        fs::write(standby.folder.join("standby.signal"), "").expect("the folder of a server takes a file");
        standby.start_again().await;
        standby
    }

    fn copied_from(source: &Path, host: &'static str, port: u16, settings: &[&str]) -> Self {
        let copy = folder().join(Uuid::new_v4().simple().to_string());
        let copied = unprivileged("cp").arg("-R").arg(source).arg(&copy).status().expect("cp runs");
        assert!(copied.success(), "{} cannot be copied", source.display());
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self { port, host, folder: copy, settings, postmaster: Mutex::default(), frozen: Mutex::default() }
    }

    /// The superuser's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres:{}@{}:{}/postgres", password(), self.host, self.port)
    }

    /// A connection of the superuser's.
    pub async fn connect(&self) -> Client {
        self.try_to_connect().await.expect("the server answers")
    }

    async fn try_to_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Puts a file that only the server may read among its own.
    pub fn takes_file(&self, name: &str, content: &str) {
        let mut shell = unprivileged("sh");
        shell.args(["-c", "umask 077; cat > \"$0\""]).arg(self.folder.join(name)).stdin(Stdio::piped());
        let mut shell = shell.spawn().expect("a shell runs");
        shell.stdin.take().expect("piped").write_all(content.as_bytes()).expect("it reads");
        assert!(shell.wait().expect("a child").success(), "{name} cannot be written");
    }

    /// Changes a setting, and waits until it holds for whoever connects.
    pub async fn set(&self, setting: &str) {
        const LOADED: &str = "SELECT pg_conf_load_time()::text";
        let superuser = self.connect().await;
        let loaded = async || superuser.query_one(LOADED, &[]).await.expect("it answers").get::<_, String>(0);
        let before = loaded().await;
        superuser.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.expect("it takes the setting");
        superuser.execute("SELECT pg_reload_conf()", &[]).await.expect("it looks again");
        while loaded().await == before {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it on the port and the data it had, and waits until it takes connections.
    pub async fn start_again(&self) {
        self.launch(&[]);
        self.takes_connections().await;
    }

    /// Starts it, busy at first: for a good second it answers that it is starting up.
    pub fn start_slowly(&self) {
        fs::write(self.folder.join("recovery.signal"), "").expect("the folder of a server takes a file");
        // It asks for a few files that nobody has, and goes on without them.
        self.launch(&["restore_command=sleep 0.4; false", "hot_standby=off"]);
    }

    /// Waits until it takes connections.
    pub async fn takes_connections(&self) {
        let began = Instant::now();
        while self.try_to_connect().await.is_err() {
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "the server does not start; see {}",
                self.folder.display()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn launch(&self, more: &[&str]) {
        let mut command = unprivileged(&program("postgres"));
        let port = format!("port={}", self.port);
        let host = format!("listen_addresses={}", self.host);
        let own = [&*host, &port, "unix_socket_directories=", "fsync=off", "full_page_writes=off"];
        let settings = self.settings.iter().map(String::as_str);
        command.arg("-D").arg(&self.folder);
        command.args(own.into_iter().chain(settings).chain(more.iter().copied()).flat_map(|setting| ["-c", setting]));
        let log = fs::File::options().create(true).append(true).open(self.folder.with_extension("log"));
        command.stdout(Stdio::null()).stderr(log.expect("the folder takes a log"));
        *self.postmaster.lock().expect("no panic") = Some(command.spawn().expect("postgres starts"));
    }

    /// Stops it, and waits until it has ended.
    pub async fn stop(&self, shutdown: Shutdown) {
        let mut postmaster = self.postmaster.lock().expect("no panic").take().expect("the server runs");
        let signal = if shutdown == Shutdown::Fast { Signal::SIGINT } else { Signal::SIGQUIT };
        signal::kill(id(&postmaster), signal).expect("the server can be signalled");
        while postmaster.try_wait().expect("a child").is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Freezes it with every process it has: its kernel still takes connections and data, and nobody answers.
    pub async fn freeze(&self) {
        let witness = self.connect().await;
        let postmaster = id(self.postmaster.lock().expect("no panic").as_ref().expect("the server runs"));
        // First the one that starts the others.
        signal::kill(postmaster, Signal::SIGSTOP).expect("the server can be signalled");
        let others = witness.query("SELECT pid FROM pg_stat_activity", &[]).await.expect("it answers");
        let others = others.iter().map(|row| Pid::from_raw(row.get(0)));
        let mut frozen = self.frozen.lock().expect("no panic");
        *frozen = others.chain([postmaster]).collect();
        for process in &*frozen {
            signal::kill(*process, Signal::SIGSTOP).expect("the server can be signalled");
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        for process in self.frozen.lock().expect("no panic").drain(..) {
            // One that was told to end meanwhile may do so at once.
            let _ = signal::kill(process, Signal::SIGCONT);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        if let Some(mut postmaster) = self.postmaster.lock().expect("no panic").take() {
            let _ = signal::kill(id(&postmaster), Signal::SIGQUIT);
            let _ = postmaster.wait();
        }
        let log = fs::read_to_string(self.folder.with_extension("log")).unwrap_or_default();
        if std::thread::panicking() {
            eprintln!("what PostgreSQL on port {} had to say:\n{log}", self.port);
        }
        let _ = fs::remove_file(self.folder.with_extension("log"));
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `PgBouncer` in transaction mode before a server: each statement may get another connection. It goes with this value.
pub struct PgBouncer {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    process: Child,
    folder: PathBuf,
}

impl PgBouncer {
    /// Before this server, with so many connections to it for everybody together.
    pub async fn before(port_of_server: u16, pool_size: usize, role: &str) -> Self {
        let port = unused_port().await;
        let folder = folder().join(Uuid::new_v4().simple().to_string());
        assert!(unprivileged("mkdir").arg(&folder).status().expect("mkdir runs").success());
        let users = folder.join("users.txt");
        fs::write(&users, format!("\"{role}\" \"{role}\"\n")).expect("the folder takes a file");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={port_of_server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\npool_mode = transaction\ndefault_pool_size = {pool_size}\n\
             auth_type = plain\nauth_file = {}\nserver_login_retry = 1\n",
            users.display()
        );
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, settings).expect("the folder takes a file");
        let mut command = unprivileged(&server("TEST_PGBOUNCER"));
        command.arg("--quiet").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let bouncer = Self { port, process: command.spawn().expect("pgbouncer starts"), folder };
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "pgbouncer does not start");
            sleep(Duration::from_millis(20)).await;
        }
        bouncer
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port that nobody has, and that no outgoing connection gets while its server is down: systems hand those out from further up.
pub async fn unused_port() -> u16 {
    loop {
        let port = 15_000 + Uuid::new_v4().as_fields().1 % 15_000;
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
}

/// Makes the data directory that every server begins with a copy of, once.
async fn template() {
    PASSWORD
        .get_or_init(|| async {
            let password = Uuid::new_v4().simple().to_string();
            let file = folder().join("own-password");
            fs::write(&file, &password).expect("the folder takes a file");
            let mut initdb = unprivileged(&program("initdb"));
            initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]);
            initdb.arg(format!("--pwfile={}", file.display())).arg("-D").arg(folder().join("template"));
            let made = initdb.output().expect("initdb runs");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            password
        })
        .await;
}

fn password() -> &'static str {
    PASSWORD.get().expect("there is a server")
}

fn folder() -> PathBuf {
    server("TEST_POSTGRES_FOLDER").into()
}

fn program(name: &str) -> String {
    format!("{}/{name}", server("TEST_POSTGRES"))
}

/// A program that runs as somebody who may run PostgreSQL, which root may not.
fn unprivileged(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder());
    if let Some((user, group)) = server("TEST_POSTGRES_USER").split_once(':') {
        command.uid(user.parse().expect("a user's id")).gid(group.parse().expect("a group's id"));
    }
    command
}

fn id(process: &Child) -> Pid {
    Pid::from_raw(process.id().cast_signed())
}
