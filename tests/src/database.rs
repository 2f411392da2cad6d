//! A database for each test.

use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::{Postgres, Stack, Store, documents, server};

/// The name of the migrated database on the shared server, which is the template of the others.
const MIGRATED: &str = "migrated";

/// An option of `CREATE DATABASE`. PostgreSQL copies the files of the template, instead of logging each of their pages, which takes three times as
/// long.
const COPIED_FILES: &str = "STRATEGY FILE_COPY";

/// A database, and a role of the same name for the functions. Both are dropped with this value.
pub struct TestDatabase {
    name: String,
    server: String,
    config: tokio_postgres::Config,
    /// Whether the server outlives this test, so that the database must be dropped.
    on_shared_server: bool,
}

impl TestDatabase {
    /// Creates a database without tables on the shared server.
    pub async fn empty() -> Self {
        Self::with_options("").await
    }

    /// Creates a database that `migrate` has migrated. The first test of a run lets `migrate` do it, and each test gets a copy, which takes a
    /// quarter of the time. The functions' role has no privileges until [`TestDatabase::grant`].
    pub async fn migrated() -> Self {
        static TEMPLATE: OnceCell<()> = OnceCell::const_new();
        TEMPLATE.get_or_init(create_template).await;
        Self::with_options(&format!("TEMPLATE {MIGRATED}")).await
    }

    /// Creates one with options of `CREATE DATABASE`, such as another encoding.
    pub async fn with_options(options: &str) -> Self {
        Self::create_on(server("TEST_DATABASE_URL"), true, &format!("{options} {COPIED_FILES}")).await
    }

    /// Creates one on a server of the test's own. It is removed together with the server.
    pub async fn on(server: &Postgres) -> Self {
        Self::create_on(server.url(), false, "").await
    }

    /// Creates one on a server of the test's own, with this role as its owner.
    pub(crate) async fn owned_by(server: &Postgres, owner: &str) -> Self {
        Self::create_on(server.url(), false, &format!("OWNER {owner}")).await
    }

    async fn create_on(server: String, on_shared_server: bool, options: &str) -> Self {
        let mut config: tokio_postgres::Config = server.parse().expect("a server's URL");
        let name = format!("test_{}", Uuid::new_v4().simple());
        let owner = connect(&config).await;
        for statement in
            [format!("CREATE DATABASE {name} {options}"), format!("CREATE ROLE {name} LOGIN PASSWORD '{name}'")]
        {
            owner.batch_execute(&statement).await.expect("the server creates a database and a role");
        }
        config.dbname(&name);
        Self { name, server, config, on_shared_server }
    }

    /// The name of the database and of the functions' role.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the owner, for `migrate`.
    #[must_use]
    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("a server's URL names a database");
        format!("{server}/{}", self.name)
    }

    /// The URL of the functions' role, which has no privileges until [`TestDatabase::grant`].
    #[must_use]
    pub fn functions_url(&self) -> String {
        let owner = self.url();
        let (_, server) = owner.rsplit_once('@').expect("a server's URL has a password");
        format!("postgres://{name}:{name}@{server}", name = self.name)
    }

    /// The URL of the functions' role with another port.
    pub(crate) fn functions_url_with_port(&self, port: u16) -> String {
        let own = format!(":{}/", self.config.get_ports()[0]);
        self.functions_url().replace(&own, &format!(":{port}/"))
    }

    /// The name of a role that does not exist, for `migrate` to create. It is dropped with the database.
    #[must_use]
    pub fn role_to_create(&self) -> String {
        format!("{}_created", self.name)
    }

    /// Grants the functions' role the privileges of `migrations/grants.sql`, as an operator does after the first `migrate`.
    pub async fn grant(&self) {
        let grants = documents::read("migrations/grants.sql").replace("jwt_auth", &self.name);
        // The lock serialises the grants of tests that migrate several times at once. PostgreSQL refuses concurrent grants on one table.
        let serialised = format!("SELECT pg_advisory_xact_lock(1); {grants}");
        self.connect().await.batch_execute(&serialised).await.expect("the tables exist");
    }

    /// A copy of the database, as if it were restored from a backup of this moment. Ends the connections to the database, because PostgreSQL copies only
    /// an unused one. The functions' role of the copy has no privileges until [`TestDatabase::grant`].
    pub async fn copy(&self) -> Self {
        self.end_connections().await;
        let copy =
            Self::create_on(self.server.clone(), self.on_shared_server, &format!("TEMPLATE {}", self.name)).await;
        // The role of this database has privileges in the copy. With these, PostgreSQL would refuse to drop the role while the copy exists.
        let revoke = format!("DROP OWNED BY {}", self.name);
        copy.connect().await.batch_execute(&revoke).await.expect("the owner may revoke privileges");
        copy
    }

    async fn end_connections(&self) {
        let mut server: tokio_postgres::Config = self.server.parse().expect("a server's URL");
        server.dbname("postgres");
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", self.name);
        connect(&server).await.batch_execute(&end).await.expect("the owner of the server may end connections");
    }

    /// Sets the isolation level of the functions' transactions.
    pub async fn set_isolation(&self, level: &str) {
        let setting = format!("ALTER ROLE {} SET default_transaction_isolation = '{level}'", self.name);
        self.connect().await.batch_execute(&setting).await.expect("the owner may change the role");
    }

    /// A new connection of the owner, to read rows or to change their times.
    pub async fn connect(&self) -> Client {
        connect(&self.config).await
    }
}

/// Creates the database [`MIGRATED`] if it does not exist. Other processes that run tests wait for it.
async fn create_template() {
    let owner = connect(&server("TEST_DATABASE_URL").parse().expect("a server's URL")).await;
    // The lock ends with this connection.
    owner.batch_execute("SELECT pg_advisory_lock(1)").await.expect("the server has locks");
    let found = owner.query("SELECT FROM pg_database WHERE datname = $1", &[&MIGRATED]).await.expect("a list");
    if found.is_empty() {
        let builder = Stack::builder().state_in(Store::PostgreSql);
        let stack = builder.with_unprepared_database(TestDatabase::empty().await).start();
        let stack = Box::pin(stack).await;
        stack.migrate().await;
        stack.kill("migrate").await;
        stack.database.end_connections().await;
        let copy = format!("CREATE DATABASE {MIGRATED} TEMPLATE {} {COPIED_FILES}", stack.database.name);
        owner.batch_execute(&copy).await.expect("nothing uses the migrated database");
    }
}

impl Drop for TestDatabase {
    /// Uses a thread and a runtime of its own, because the test's runtime may be shutting down.
    fn drop(&mut self) {
        if !self.on_shared_server {
            return;
        }
        let (name, mut config) = (self.name.clone(), self.config.clone());
        config.dbname("postgres");
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let owner = connect(&config).await;
                owner.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
                owner.batch_execute(&format!("DROP ROLE {name}")).await?;
                owner.batch_execute(&format!("DROP ROLE IF EXISTS {name}_created")).await
            })
        });
        let dropped = matches!(dropped.join(), Ok(Ok(())));
        assert!(dropped || std::thread::panicking(), "the database of a test was not dropped");
    }
}

async fn connect(config: &tokio_postgres::Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("the PostgreSQL server of the tests answers");
    tokio::spawn(connection);
    client
}
