//! PostgreSQL. If `DATABASE_URL` is set, the stack uses that server. Otherwise this module starts a server, from downloaded programs
//! of a pinned version. So the tests run on the same versions everywhere.
//!
//! The started server listens on 127.0.0.1 only, without a Unix socket, and requires a password, because the machine may have
//! other users. It never runs as root, because PostgreSQL refuses to do so.

use std::{
    env,
    fs::{self, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::builder::RangedI64ValueParser;
use nix::{
    sys::signal::Signal,
    unistd::{Uid, User},
};
use postgres::{Client, Config, NoTls, error::SqlState};
use toolkit::{
    console::{say, step},
    ports,
    postgres::{NEWEST, OLDEST, VERSIONS},
    process::output,
    run_folder::RunFolder,
    service::Service,
    workspace::Workspace,
};

use super::settings;
use crate::tools;

/// What a server is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The developer's data. It must survive a power cut. The version is the one that wrote the data, or the newest if there is no data.
    Keep,
    /// Tests, on this major version. Their data may be lost in a power cut, so it is in memory, if there is room.
    Test(u32),
    /// Measurements, on this major version. The data is on the disk, as in a deployment, but the server does not wait for the disk.
    Measure(u32),
}

/// Parses the major version of a command-line option.
pub fn versions() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(OLDEST)..=i64::from(NEWEST))
}

/// The URL in `DATABASE_URL`, after a test connection. `None` if the variable is not set.
pub fn given_url() -> Result<Option<String>> {
    let Some(url) = env::var_os("DATABASE_URL").filter(|url| !url.is_empty()) else { return Ok(None) };
    let url = url.into_string().ok().context("DATABASE_URL is not text")?;
    if let Err(problem) = check_url(&url) {
        bail!("DATABASE_URL cannot be used: {problem:#}. Correct it, or unset it. Then this command starts a server");
    }
    say(format_args!("Using the database from DATABASE_URL: {}", without_password(&url)));
    Ok(Some(url))
}

/// Returns an error that says what is wrong with the URL or its server. The error never contains the password.
fn check_url(url: &str) -> Result<()> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        bail!("it must begin with postgres:// or postgresql://");
    }
    let mut config: Config = url.parse()?;
    match config.connect_timeout(Duration::from_secs(5)).connect(NoTls) {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_DATABASE) => {
            let name = config.get_dbname().unwrap_or_default();
            bail!("the server answers, but it has no database `{name}`. Create it: CREATE DATABASE \"{name}\"")
        }
        Err(error) => Err(error).with_context(|| without_password(url)),
    }
}

/// A database URL for display. The password is replaced by `…`.
pub fn without_password(url: &str) -> String {
    let Ok(mut url) = url::Url::parse(url) else { return "(not an address)".into() };
    if url.password().is_some() {
        _ = url.set_password(Some("…"));
    }
    url.to_string().replace("%E2%80%A6", "…")
}

/// A running server. Dropping this value stops it.
pub struct Server {
    service: Service,
    port: u16,
    password: String,
    user: Option<User>,
    data: PathBuf,
}

impl Server {
    pub fn start(workspace: &Workspace, run_folder: &RunFolder, port: Option<u16>, purpose: Purpose) -> Result<Self> {
        Self::start_with(workspace, run_folder, port, purpose, &[])
    }

    /// Starts a server with further settings, such as `work_mem=8MB`.
    pub fn start_with(
        workspace: &Workspace,
        run_folder: &RunFolder,
        port: Option<u16>,
        purpose: Purpose,
        further_settings: &[&str],
    ) -> Result<Self> {
        let port = match port {
            Some(port) => {
                ports::claim(port, "the database", "--database-port")?;
                port
            }
            None => ports::free()?,
        };
        let user = unprivileged_user()?;
        let name = match purpose {
            Purpose::Keep => "postgres".to_owned(),
            Purpose::Test(version) | Purpose::Measure(version) => format!("postgres-{version}"),
        };
        let (data, is_in_memory) = data_folder(run_folder, purpose, &name, user.as_ref())?;
        let cluster = data.join("cluster");
        let version = version(purpose, &cluster)?;
        let programs = programs(workspace, version)?;
        let password = create_cluster(&programs, &data, user.as_ref())?;

        step(format_args!("Starting PostgreSQL {version} on 127.0.0.1:{port}, data in {}", cluster.display()));
        let mut command = command(&programs.join("postgres"), user.as_ref());
        command.current_dir(&data).arg("-D").arg(&cluster);
        let port_setting = format!("port={port}");
        let mut settings =
            vec!["listen_addresses=127.0.0.1", &port_setting, "unix_socket_directories=", "max_connections=300"];
        if purpose != Purpose::Keep {
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
        }
        // These settings need less memory than the default ones.
        if is_in_memory {
            settings.extend(["max_wal_size=256MB", "shared_buffers=32MB"]);
        }
        command.args(settings.iter().chain(further_settings).flat_map(|setting| ["-c", setting]));
        // SIGINT stops the server at once. After SIGTERM, it would wait until every client has disconnected.
        let service = Service::with_log_file(&name, &mut command, run_folder)?.stopped_by(Signal::SIGINT);

        let mut server = Self { service, port, password, user, data };
        let url = server.url("postgres");
        // The timeout is long because recovery after a power cut takes long.
        server.service.await_ready(Duration::from_secs(90), || Client::connect(&url, NoTls).is_ok())?;
        Ok(server)
    }

    /// The URL of a database, with the superuser's name and password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The path of the log file.
    pub fn log(&self) -> &Path {
        &self.service.log
    }

    /// What the tests need to start another server: the user and group that run it (`uid:gid`, empty for the current user), and a
    /// folder for data.
    pub fn user_and_folder(&self) -> (String, &Path) {
        let user = self.user.as_ref().map(|user| format!("{}:{}", user.uid, user.gid));
        (user.unwrap_or_default(), &self.data)
    }

    /// Creates a database if it does not exist, and returns its URL.
    pub fn ensure_database(&self, name: &str) -> Result<String> {
        let mut client = Client::connect(&self.url("postgres"), NoTls)?;
        if client.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])?.is_none() {
            client.batch_execute(&format!("CREATE DATABASE \"{name}\""))?;
        }
        Ok(self.url(name))
    }

    pub fn check(&mut self) -> Result<()> {
        self.service.check()
    }
}

/// The major version for this purpose.
fn version(purpose: Purpose, cluster: &Path) -> Result<u32> {
    if let Purpose::Test(version) | Purpose::Measure(version) = purpose {
        return Ok(version);
    }
    let Ok(written_by) = fs::read_to_string(cluster.join("PG_VERSION")) else { return Ok(NEWEST) };
    let supported = written_by.trim().parse().ok().filter(|version| VERSIONS.contains(version));
    supported.with_context(|| {
        format!(
            "the data in {} was written by PostgreSQL {}, but only {OLDEST} to {NEWEST} are supported. Start a server of that \
             version yourself and set DATABASE_URL, or delete the folder to begin with an empty database",
            cluster.display(),
            written_by.trim()
        )
    })
}

/// The folder of PostgreSQL's programs in this major version. The user that runs the server can read it.
pub fn programs(workspace: &Workspace, version: u32) -> Result<PathBuf> {
    let tools = workspace.tools();
    let reachable = reachable(&tools, unprivileged_user()?.as_ref());
    let tools = if reachable { tools } else { workspace.outside().join("tools") };
    tools::postgres(workspace, &tools, version)
        .context("cannot install PostgreSQL. `cargo xtask up` also works with a server of your own: set DATABASE_URL (compose.yaml)")
}

/// The user that runs PostgreSQL. `None` means the current user. If the current user is root, it is another user.
fn unprivileged_user() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` here. Run this as another user")
}

/// The folder for data, and whether it is in memory. It belongs to the user that runs the server. The data of tests is in memory, if there is room. Other
/// data is in the run folder, or outside the checkout if that user cannot reach the run folder, for example in a checkout below /root.
fn data_folder(run_folder: &RunFolder, purpose: Purpose, name: &str, user: Option<&User>) -> Result<(PathBuf, bool)> {
    let memory = run_folder.in_memory().filter(|_| matches!(purpose, Purpose::Test(_)));
    // On the disk, tests only take longer. So no error about the folder in memory matters.
    let memory = memory.filter(|folder| create_reachable(folder).is_ok());
    let folder = match memory {
        Some(memory) => memory,
        None if reachable(run_folder.path(), user) => run_folder.path(),
        None => {
            create_reachable(run_folder.outside_checkout())?;
            run_folder.outside_checkout()
        }
    };
    let data = folder.join(name);
    fs::create_dir_all(&data)?;
    if let Some(user) = user {
        chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    fs::set_permissions(&data, Permissions::from_mode(0o700))?;
    Ok((data, memory.is_some()))
}

/// Creates a folder and its parent, which every user may enter and only this one may change.
fn create_reachable(folder: &Path) -> Result<()> {
    for created in [folder.parent().unwrap_or(folder), folder] {
        if let Err(problem) = fs::create_dir(created)
            && problem.kind() != ErrorKind::AlreadyExists
        {
            return Err(problem).with_context(|| format!("cannot create {}", created.display()));
        }
        // Every user may write to /dev/shm and /var/tmp, so another user may have created the folder.
        let found = fs::symlink_metadata(created)?;
        if !found.is_dir() || found.uid() != Uid::effective().as_raw() {
            bail!("{} belongs to another user. Remove it, then try again", created.display());
        }
        fs::set_permissions(created, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Whether this user may enter every folder on the path.
fn reachable(folder: &Path, user: Option<&User>) -> bool {
    user.is_none()
        || folder.ancestors().filter_map(|folder| folder.metadata().ok()).all(|folder| folder.mode() & 0o001 != 0)
}

/// Creates the database cluster if it does not exist. Returns the superuser's password.
fn create_cluster(programs: &Path, data: &Path, user: Option<&User>) -> Result<String> {
    let (cluster, password_file) = (data.join("cluster"), data.join("password"));
    if cluster.join("PG_VERSION").exists() {
        return fs::read_to_string(&password_file).with_context(|| {
            format!(
                "{} does not exist. Delete {} to begin with an empty database",
                password_file.display(),
                cluster.display()
            )
        });
    }
    step(format_args!("Creating a database cluster in {}", cluster.display()));
    let password = settings::random_hex(16)?;
    _ = fs::remove_file(&password_file);
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&password_file)?;
    write!(file, "{password}")?;
    if let Some(user) = user {
        chown(&password_file, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }

    // The cluster is renamed when it is complete, so that an interrupted initdb leaves no incomplete cluster.
    let new = data.join("cluster.new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    let mut initdb = command(&programs.join("initdb"), user);
    initdb.current_dir(data).args([
        "--username=postgres",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    ]);
    initdb.arg(format!("--pwfile={}", password_file.display())).arg("-D").arg(&new);
    output("initdb", &mut initdb)?;
    fs::rename(new, cluster)?;
    Ok(password)
}

fn command(program: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new(program);
    // PGDATA, PGPORT and similar variables of the developer are for another server.
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn the_address_of_another_kind_of_database_is_refused() {
        for url in ["mysql://me:secret@127.0.0.1/auth", "127.0.0.1:5432", "host=127.0.0.1"] {
            let problem = check_url(url).expect_err(url).to_string();
            assert_eq!(problem, "it must begin with postgres:// or postgresql://");
        }
    }

    #[test]
    fn an_address_without_a_server_is_shown_without_its_password() {
        let problem =
            format!("{:#}", check_url("postgres://me:secret@127.0.0.1:1/auth").expect_err("port 1 is closed"));
        assert!(problem.starts_with("postgres://me:…@127.0.0.1:1/auth: error connecting to server"), "{problem}");
    }
}
