//! A database for each test.

use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::{Postgres, documents, server};

/// A database of its own, and a role of the same name for the functions; both are dropped with this value.
pub struct TestDatabase {
    name: String,
    server: String,
    config: tokio_postgres::Config,
    shared: bool,
}

impl TestDatabase {
    /// A new database without a table.
    pub async fn empty() -> Self {
        Self::with("").await
    }

    /// The same, made with options of `CREATE DATABASE`, such as another encoding.
    pub async fn with(options: &str) -> Self {
        Self::made_on(server("TEST_DATABASE_URL"), true, options).await
    }

    /// The same on a server of the test's own, with which it goes.
    pub async fn on(server: &Postgres) -> Self {
        Self::made_on(server.url(), false, "").await
    }

    async fn made_on(server: String, shared: bool, options: &str) -> Self {
        let mut config: tokio_postgres::Config = server.parse().expect("a server's URL");
        let name = format!("test_{}", Uuid::new_v4().simple());
        let owner = connect(&config).await;
        for made in [format!("CREATE DATABASE {name} {options}"), format!("CREATE ROLE {name} LOGIN PASSWORD '{name}'")]
        {
            owner.batch_execute(&made).await.expect("the server makes a database and a role");
        }
        config.dbname(&name);
        Self { name, server, config, shared }
    }

    /// What the database is called, and the functions' role.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL that `migrate` gets: the owner's.
    #[must_use]
    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("a server's URL names a database");
        format!("{server}/{}", self.name)
    }

    /// The URL that every other function gets: that of a role which may do nothing until [`TestDatabase::grant`].
    #[must_use]
    pub fn functions_url(&self) -> String {
        let owner = self.url();
        let (_, server) = owner.rsplit_once('@').expect("a server's URL has a password");
        format!("postgres://{name}:{name}@{server}", name = self.name)
    }

    /// The same, by another port.
    pub(crate) fn functions_url_by(&self, port: u16) -> String {
        let own = format!(":{}/", self.config.get_ports()[0]);
        self.functions_url().replace(&own, &format!(":{port}/"))
    }

    /// A role that is not there, for `migrate` to make. It goes with the database.
    #[must_use]
    pub fn role_to_make(&self) -> String {
        format!("{}_made", self.name)
    }

    /// Lets the functions do what `migrations/grants.sql` says, as whoever deploys does after the first `migrate`.
    pub async fn grant(&self) {
        let grants = documents::read("migrations/grants.sql").replace("jwt_auth", &self.name);
        // One after the other, where a test migrates several times at once: PostgreSQL refuses two grants on one table in the same moment.
        let alone = format!("SELECT pg_advisory_xact_lock(1); {grants}");
        self.connect().await.batch_execute(&alone).await.expect("the tables are there");
    }

    /// Sets the isolation level of the functions' transactions.
    pub async fn isolate(&self, level: &str) {
        let setting = format!("ALTER ROLE {} SET default_transaction_isolation = '{level}'", self.name);
        self.connect().await.batch_execute(&setting).await.expect("the owner may change the role");
    }

    /// A connection of the test's own, to look at rows or to shift their times.
    pub async fn connect(&self) -> Client {
        connect(&self.config).await
    }
}

impl Drop for TestDatabase {
    /// On a thread and a runtime of its own: the test's runtime may be ending, and a panic may be under way.
    fn drop(&mut self) {
        if !self.shared {
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
                owner.batch_execute(&format!("DROP ROLE IF EXISTS {name}_made")).await
            })
        });
        let dropped = matches!(dropped.join(), Ok(Ok(())));
        assert!(dropped || std::thread::panicking(), "the database of a test could not be dropped");
    }
}

async fn connect(config: &tokio_postgres::Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("the PostgreSQL server of the tests answers");
    tokio::spawn(connection);
    client
}
