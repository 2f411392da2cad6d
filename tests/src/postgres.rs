//! A PostgreSQL server for one test, which may fail without affecting other tests; and `PgBouncer` in front of a server.

use std::{
    fs,
    io::Write as _,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::{net::TcpListener, sync::Mutex as AsyncMutex, time::sleep};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::server;

/// How a server is stopped (<https://www.postgresql.org/docs/current/server-shutdown.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// The server closes every connection and writes everything to disk.
    Fast,
    /// The server stops at once, as in a crash, and recovers at its next start.
    Immediate,
}

/// A server with a data directory of its own. Dropping this value stops the server and removes the directory.
pub struct Postgres {
    /// The port where the server listens.
    pub port: u16,
    version: u32,
    host: &'static str,
    folder: PathBuf,
    settings: Vec<String>,
    postmaster: Mutex<Option<Child>>,
    frozen: Mutex<Vec<Pid>>,
}

/// The superuser's password on all servers of this process.
static PASSWORD: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().simple().to_string());

impl Postgres {
    /// Starts a new server with these settings (`name=value`), of the same version as the server that all tests share.
    pub async fn start(settings: &[&str]) -> Self {
        Self::of_version(server("TEST_POSTGRES_VERSION").parse().expect("a number"), settings).await
    }

    /// Starts a new server of this major version.
    pub async fn of_version(version: u32, settings: &[&str]) -> Self {
        let template = template(version).await;
        let server = Self::copied_from(&template, version, "127.0.0.1", unused_port().await, settings);
        server.start_again().await;
        server
    }

    /// Starts a standby of this server on the same port of another address. It replicates this server's data and is read-only until it is
    /// promoted. This server is stopped for a moment to copy its data directory.
    pub async fn standby(&self, host: &'static str) -> Self {
        self.stop(Shutdown::Fast).await;
        let standby = Self::copied_from(&self.folder, self.version, host, self.port, &[]);
        self.start_again().await;
        let primary = format!("host={} port={} user=postgres password={}", self.host, self.port, *PASSWORD);
        fs::write(standby.folder.join("postgresql.auto.conf"), format!("primary_conninfo = '{primary}'\n"))
            .expect("the data directory is writable");
        fs::write(standby.folder.join("standby.signal"), "").expect("the data directory is writable");
        standby.start_again().await;
        standby
    }

    fn copied_from(source: &Path, version: u32, host: &'static str, port: u16, settings: &[&str]) -> Self {
        let copy = folder().join(Uuid::new_v4().simple().to_string());
        let copied = unprivileged("cp").arg("-R").arg(source).arg(&copy).status().expect("cp runs");
        assert!(copied.success(), "{} cannot be copied", source.display());
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self { port, version, host, folder: copy, settings, postmaster: Mutex::default(), frozen: Mutex::default() }
    }

    /// The superuser's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres:{}@{}:{}/postgres", *PASSWORD, self.host, self.port)
    }

    /// A new connection of the superuser.
    pub async fn connect(&self) -> Client {
        self.try_to_connect().await.expect("the server answers")
    }

    async fn try_to_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Writes a file into the data directory. Only the server may read the file.
    pub fn write_file(&self, name: &str, content: &str) {
        let mut shell = unprivileged("sh");
        shell.args(["-c", "umask 077; cat > \"$0\""]).arg(self.folder.join(name)).stdin(Stdio::piped());
        let mut shell = shell.spawn().expect("a shell runs");
        shell.stdin.take().expect("piped").write_all(content.as_bytes()).expect("the shell reads its input");
        assert!(shell.wait().expect("a child").success(), "{name} cannot be written");
    }

    /// Changes a setting, and waits until it is in force for new connections.
    pub async fn set(&self, setting: &str) {
        let change = format!("ALTER SYSTEM SET {setting}");
        self.connect().await.batch_execute(&change).await.expect("the server accepts the setting");
        self.reload().await;
    }

    /// Lets the server read its settings and `pg_hba.conf` again, and waits until they are in force for new connections.
    pub async fn reload(&self) {
        const LOADED: &str = "SELECT pg_conf_load_time()::text";
        let superuser = self.connect().await;
        let loaded = async || superuser.query_one(LOADED, &[]).await.expect("the server answers").get::<_, String>(0);
        let before = loaded().await;
        superuser.execute("SELECT pg_reload_conf()", &[]).await.expect("the server reloads its settings");
        while loaded().await == before {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the server again on the same port and data, and waits until it accepts connections.
    pub async fn start_again(&self) {
        self.launch(&[]);
        self.wait_until_ready().await;
    }

    /// Starts the server so that it answers "starting up" for more than a second.
    pub fn start_slowly(&self) {
        fs::write(self.folder.join("recovery.signal"), "").expect("the data directory is writable");
        // The server tries to restore a few files that do not exist, which takes 0.4 seconds each.
        self.launch(&["restore_command=sleep 0.4; false", "hot_standby=off"]);
    }

    /// Waits until the server accepts connections.
    pub async fn wait_until_ready(&self) {
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
        let mut command = unprivileged(&program("postgres", self.version));
        let port = format!("port={}", self.port);
        let host = format!("listen_addresses={}", self.host);
        let own = [&*host, &port, "unix_socket_directories=", "fsync=off", "full_page_writes=off"];
        let settings = self.settings.iter().map(String::as_str);
        command.arg("-D").arg(&self.folder);
        command.args(own.into_iter().chain(settings).chain(more.iter().copied()).flat_map(|setting| ["-c", setting]));
        let log = fs::File::options().create(true).append(true).open(self.folder.with_extension("log"));
        command.stdout(Stdio::null()).stderr(log.expect("the folder is writable"));
        *self.postmaster.lock().expect("no panic") = Some(command.spawn().expect("postgres starts"));
    }

    /// Stops the server, and waits until its process has ended.
    pub async fn stop(&self, shutdown: Shutdown) {
        let mut postmaster = self.postmaster.lock().expect("no panic").take().expect("the server runs");
        let signal = if shutdown == Shutdown::Fast { Signal::SIGINT } else { Signal::SIGQUIT };
        signal::kill(id(&postmaster), signal).expect("the server can be signalled");
        while postmaster.try_wait().expect("a child").is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Freezes every process of the server. The kernel still accepts connections and data, but nothing answers.
    pub async fn freeze(&self) {
        let observer = self.connect().await;
        let postmaster = id(self.postmaster.lock().expect("no panic").as_ref().expect("the server runs"));
        // The postmaster is frozen first, because it could start more processes.
        signal::kill(postmaster, Signal::SIGSTOP).expect("the server can be signalled");
        let others = observer.query("SELECT pid FROM pg_stat_activity", &[]).await.expect("the server answers");
        let others = others.iter().map(|row| Pid::from_raw(row.get(0)));
        let mut frozen = self.frozen.lock().expect("no panic");
        *frozen = others.chain([postmaster]).collect();
        for process in &*frozen {
            signal::kill(*process, Signal::SIGSTOP).expect("the server can be signalled");
        }
    }

    /// Lets the frozen processes continue.
    pub fn thaw(&self) {
        for process in self.frozen.lock().expect("no panic").drain(..) {
            // A process that received another signal meanwhile may have ended.
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
            eprintln!("the log of PostgreSQL {} on port {}:\n{log}", self.version, self.port);
        }
        let _ = fs::remove_file(self.folder.with_extension("log"));
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `PgBouncer` in transaction mode in front of a server: each transaction may use another connection. Dropping this value stops it.
pub struct PgBouncer {
    /// The port of 127.0.0.1 where it listens.
    pub port: u16,
    process: Child,
    folder: PathBuf,
}

impl PgBouncer {
    /// Starts one in front of the server on this port, with `pool_size` connections to it.
    pub async fn start(port_of_server: u16, pool_size: usize, role: &str) -> Self {
        let port = unused_port().await;
        let folder = folder().join(Uuid::new_v4().simple().to_string());
        assert!(unprivileged("mkdir").arg(&folder).status().expect("mkdir runs").success());
        let users = folder.join("users.txt");
        fs::write(&users, format!("\"{role}\" \"{role}\"\n")).expect("the folder is writable");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={port_of_server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\npool_mode = transaction\ndefault_pool_size = {pool_size}\n\
             auth_type = plain\nauth_file = {}\nserver_login_retry = 1\n",
            users.display()
        );
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, settings).expect("the folder is writable");
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

/// A free port below the range from which systems choose the ports of outgoing connections. So no outgoing connection takes the port while
/// the server is down.
pub async fn unused_port() -> u16 {
    loop {
        let port = 15_000 + Uuid::new_v4().as_fields().1 % 15_000;
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
}

/// The data directory that every server of this version copies. The first call creates it.
async fn template(version: u32) -> PathBuf {
    static CREATING: AsyncMutex<()> = AsyncMutex::const_new(());
    let _creating = CREATING.lock().await;
    // The template contains the password, and each process of `cargo xtask test` has a password of its own.
    let template = folder().join(format!("template-{version}-{}", std::process::id()));
    if !template.exists() {
        let file = folder().join("own-password");
        fs::write(&file, &*PASSWORD).expect("the folder is writable");
        let mut initdb = unprivileged(&program("initdb", version));
        initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]);
        initdb.arg(format!("--pwfile={}", file.display())).arg("-D").arg(&template);
        let output = initdb.output().expect("initdb runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    template
}

fn folder() -> PathBuf {
    server("TEST_POSTGRES_FOLDER").into()
}

fn program(name: &str, version: u32) -> String {
    format!("{}/{name}", server(&format!("TEST_POSTGRES_{version}")))
}

/// A program that runs as the user of `TEST_POSTGRES_USER`, because PostgreSQL refuses to run as root.
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
