//! The whole service, for one test.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use nix::sys::signal::Signal;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Mutex, MutexGuard},
};
use toolkit::lambda::Outcome;
use uuid::Uuid;

use crate::{
    Person, Reply,
    database::TestDatabase,
    documents,
    functions::TestFunctions,
    optional,
    passkey::{ORIGIN, RP_ID},
    server,
    state_table::{StateTable, Store},
    stored_sessions::StoredSessions,
    wait_until,
};

/// The secret that every stack signs tokens with.
pub const SECRET: &str = "a-secret-of-the-tests-0123456789abcdef";
/// The key that encrypts secrets in the database.
pub const DATA_KEY: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";

/// The credentials and the region of every stack's AWS SDK.
pub(crate) const ACCESS_KEY: &str = "test";
pub(crate) const SECRET_KEY: &str = "test";
pub(crate) const REGION: &str = "us-east-1";

/// Stands for the origin of the stack's own pages, until its port is known.
const OWN_ORIGIN: &str = "own";

/// From this number of processes of each function on, a stack waits until no other such stack of the test program runs. Together, they would keep the
/// processors so busy that requests miss their deadlines.
const MANY_PROCESSES: usize = 8;
static STACK_OF_MANY_PROCESSES: Mutex<()> = Mutex::const_new(());

/// A running service.
pub struct Stack {
    /// The URL of the gateway.
    pub base_url: String,
    /// The stack's database.
    pub database: TestDatabase,
    /// The DynamoDB table of sessions and counters. `None` if they are in PostgreSQL.
    pub state_table: Option<Arc<StateTable>>,
    functions: TestFunctions,
    client: Client,
    /// Held until the processes have stopped.
    _only_of_many_processes: Option<MutexGuard<'static, ()>>,
}

/// The settings of a stack that differ from the defaults.
pub struct StackBuilder {
    environment: BTreeMap<String, String>,
    /// Variables of single functions.
    own_environment: BTreeMap<String, Vec<(String, String)>>,
    max_processes: usize,
    database: Option<TestDatabase>,
    /// Whether `start` migrates the database and grants the privileges.
    prepare_database: bool,
    /// The port of a proxy through which functions connect to the database.
    database_port: Option<u16>,
    /// The isolation level of the functions' transactions, if not the server's default.
    isolation: Option<String>,
    store: Store,
    /// The table of another stack, if this stack uses that one.
    shared_table: Option<Arc<StateTable>>,
}

impl Stack {
    /// Starts a stack with the default settings and a migrated database of its own.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts a stack that keeps sessions and counts attempts in this store.
    pub async fn with_state_in(store: Store) -> Self {
        Self::builder().state_in(store).start().await
    }

    /// A builder with the default settings.
    #[must_use]
    pub fn builder() -> StackBuilder {
        let variables = [
            ("JWT_SECRET_KEY", SECRET),
            ("DATA_SECRET_KEY", DATA_KEY),
            ("PASSKEY_RP_ID", RP_ID),
            ("PASSKEY_ORIGINS", ORIGIN),
            ("MAIL_FROM", "no-reply@example.com"),
            ("PASSWORD_MIN_LENGTH", "8"),
            ("PASSWORD_BLOCKLIST", "off"),
            ("DATABASE_PREPARED_STATEMENTS", "on"),
            // Most tests count the mails of a person. `with_verification` restores the default.
            ("EMAIL_VERIFICATION", "off"),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", REGION),
        ];
        let environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        StackBuilder {
            environment,
            own_environment: BTreeMap::new(),
            max_processes: 2,
            database: None,
            prepare_database: true,
            database_port: None,
            isolation: optional("TEST_ISOLATION"),
            store: if optional("TEST_STATE").as_deref() == Some("dynamodb") {
                Store::DynamoDb
            } else {
                Store::PostgreSql
            },
            shared_table: None,
        }
    }

    /// A person without an account, with a unique address.
    #[must_use]
    pub fn stranger(&self, name: &str) -> Person<'_> {
        // A local part has 64 characters at most.
        let unique = &Uuid::new_v4().simple().to_string()[..16];
        Person::new(self, name, &format!("{}-{unique}@example.com", name.to_lowercase().replace(' ', ".")))
    }

    /// A person who has signed up.
    pub async fn user(&self, name: &str) -> Person<'_> {
        let person = self.stranger(name);
        person.signs_up().await.assert_created();
        person
    }

    /// Sends a request. Asserts that `openapi.yaml` documents the answer, and that it has the security headers.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        fill_in: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Reply {
        let request = fill_in(self.client.request(method.clone(), format!("{}{path}", self.base_url)));
        let sent = Instant::now();
        let response = request.send().await.expect("the gateway answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body of text");
        let reply = Reply { status, headers, text, took: sent.elapsed() };
        let without_query = path.split('?').next().unwrap_or_default();
        let route =
            documents::routes().into_iter().find(|route| route.matches(method.as_str(), without_query).is_some());
        // The gateway answers 502 by itself if the function's process was killed.
        if let Some(route) = route.filter(|_| reply.status != 502) {
            reply.assert_documented(&route);
            // If the authorizer refuses a request, the gateway itself answers it.
            if route.authorizer.is_none() || reply.status == 200 {
                reply.assert_security_headers(&route);
            }
        }
        reply
    }

    /// Posts a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, |request| request.json(body)).await
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, |request| request).await
    }

    /// Calls a bearer endpoint with a token.
    pub async fn with_token(&self, method: Method, path: &str, token: &str) -> Reply {
        self.send(method, path, |request| request.bearer_auth(token)).await
    }

    /// Invokes a function directly, as `aws lambda invoke` does.
    ///
    /// # Errors
    /// The error that the function reported; `null` if its process was killed.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Value, Value> {
        match self.functions.invoke(function, event.clone()).await {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Error(error) => Err(error),
            Outcome::Killed => Err(Value::Null),
        }
    }

    /// Migrates the empty database.
    pub(crate) async fn migrate(&self) {
        self.invoke("migrate", &serde_json::json!({})).await.expect("an empty database can be migrated");
    }

    /// Kills all processes of a function, as Lambda does at a timeout.
    pub async fn kill(&self, function: &str) {
        self.functions.get(function).kill().await;
    }

    /// Freezes all processes of a function, as Lambda does between requests.
    pub fn freeze(&self, function: &str) {
        self.functions.signal(function, Signal::SIGSTOP);
    }

    /// Lets the frozen processes of a function continue.
    pub fn thaw(&self, function: &str) {
        self.functions.signal(function, Signal::SIGCONT);
    }

    /// Kills one process of a function, if there is one. The gateway answers its request with 502 and starts another process.
    pub fn kill_one(&self, function: &str, which: usize) {
        self.functions.get(function).kill_one(which).expect("the function's binary starts");
    }

    /// The process ids of a function.
    #[must_use]
    pub fn processes(&self, function: &str) -> Vec<u32> {
        self.functions.get(function).process_ids()
    }

    /// The sessions as they are stored.
    #[must_use]
    pub fn sessions(&self) -> StoredSessions<'_> {
        StoredSessions::of(self)
    }

    /// Makes all pending mails due, as if their waiting time had passed.
    pub async fn make_mails_due(&self) {
        self.sql("UPDATE outbox SET due_at = now()").await;
    }

    /// Sends all owed mails. On a busy machine, a request may have no time left to send its mail.
    pub async fn send_owed_mails(&self) {
        self.send_owed_mails_where("true").await;
    }

    /// Sends the owed mails for which an SQL condition on the table `outbox` holds, and no others. `sweep` may have no time left either, so it runs
    /// until they are sent.
    pub async fn send_owed_mails_where(&self, condition: &str) {
        let owed = format!("SELECT count(*) FROM outbox WHERE {condition}");
        let make_due =
            format!("UPDATE outbox SET due_at = CASE WHEN {condition} THEN now() ELSE now() + interval '1 hour' END");
        wait_until("the owed mails are sent", async || {
            if self.sql_number(&owed).await == 0 {
                return true;
            }
            self.sql(&make_due).await;
            self.sweep().await;
            false
        })
        .await;
    }

    /// Invokes `sweep` as the schedule does, and returns its report.
    pub async fn sweep(&self) -> Value {
        self.invoke("sweep", &serde_json::json!({})).await.expect("the sweep succeeds")
    }

    /// The log of a function so far.
    #[must_use]
    pub fn log_of(&self, function: &str) -> String {
        self.functions.log(function)
    }

    /// The logs of all functions so far.
    #[must_use]
    pub fn logs(&self) -> String {
        self.functions.all_logs()
    }

    /// Ends every function, and returns the complete logs by function.
    pub async fn final_logs(&self) -> BTreeMap<&str, String> {
        self.functions.end().await
    }

    /// Runs a statement on the stack's database as its owner.
    pub async fn sql(&self, statement: &str) {
        self.database.connect().await.batch_execute(statement).await.expect("the statement runs");
    }

    /// Limits the connections of the functions' role. -1 means no limit.
    pub async fn limit_connections(&self, limit: i32) {
        self.sql(&format!("ALTER ROLE {} CONNECTION LIMIT {limit}", self.database.name())).await;
    }

    /// The single text value that a query returns.
    pub async fn sql_text(&self, query: &str) -> String {
        self.database.connect().await.query_one(query, &[]).await.expect("the query returns a row").get(0)
    }

    /// The single `bigint` that a query returns.
    pub async fn sql_number(&self, query: &str) -> i64 {
        self.database.connect().await.query_one(query, &[]).await.expect("the query returns a row").get(0)
    }

    /// Makes `changes` in a transaction, sends `request`, and commits the transaction as soon as a statement of the request waits for it. Returns the
    /// answer.
    pub async fn answer_during(&self, changes: &str, request: impl Future<Output = Reply>) -> Reply {
        let mut rival = self.database.connect().await;
        let rival = rival.transaction().await.expect("a transaction");
        rival.batch_execute(changes).await.expect("the changes are possible");
        let (reply, ()) = tokio::join!(request, async {
            self.wait_for_blocked_statement().await;
            rival.commit().await.expect("the transaction can be committed");
        });
        reply
    }

    /// Makes `changes` in a transaction, and sends `request`. Whenever a statement of the request waits for the transaction, commits it, and makes the
    /// changes again a millisecond later. Returns the answer.
    ///
    /// # Panics
    /// If the changes are not possible.
    pub async fn answer_despite(&self, changes: &str, request: impl Future<Output = Reply>) -> Reply {
        let rival = self.database.connect().await;
        rival.batch_execute(&format!("BEGIN; {changes}")).await.expect("the changes are possible");
        let change_again_and_again = async {
            loop {
                self.wait_for_blocked_statement().await;
                let again = format!("COMMIT; SELECT pg_sleep(0.001); BEGIN; {changes}");
                rival.batch_execute(&again).await.expect("the changes are possible");
            }
        };
        tokio::select! {
            reply = request => reply,
            () = change_again_and_again => unreachable!("this loop does not end"),
        }
    }

    /// Waits until a statement of a function is blocked by a lock.
    pub async fn wait_for_blocked_statement(&self) {
        self.wait_for_blocked_statements(1).await;
    }

    /// Waits until this many statements of functions are blocked by locks.
    pub async fn wait_for_blocked_statements(&self, count: i64) {
        let role = self.database.name();
        let blocked =
            format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND wait_event_type = 'Lock'");
        wait_until("statements are blocked", async || self.sql_number(&blocked).await >= count).await;
    }
}

impl StackBuilder {
    /// Sets an environment variable of all functions. The functions treat an empty value as unset.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets an environment variable of one function.
    #[must_use]
    pub fn with_for(mut self, function: &str, name: &str, value: &str) -> Self {
        self.own_environment.entry(function.to_owned()).or_default().push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets sign-ups owe a verification mail, as they do by default.
    #[must_use]
    pub fn with_verification(self) -> Self {
        self.with("EMAIL_VERIFICATION", "")
    }

    /// Offers passkeys to pages that the stack itself serves below `http://localhost`, instead of to pages of [`ORIGIN`].
    #[must_use]
    pub fn with_passkeys_of_its_own_pages(self) -> Self {
        self.with("PASSKEY_RP_ID", "localhost").with("PASSKEY_ORIGINS", OWN_ORIGIN)
    }

    /// Sets how many processes each function may have at once. A test may have one stack with [`MANY_PROCESSES`] or more at a time.
    #[must_use]
    pub fn processes(mut self, max: usize) -> Self {
        self.max_processes = max;
        self
    }

    /// Sets where sessions and the counters of attempts are. The default is `TEST_STATE`, or else PostgreSQL.
    #[must_use]
    pub fn state_in(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// With sessions and counters in DynamoDB, uses the table of the other stack instead of creating one.
    #[must_use]
    pub fn with_table_of(mut self, other: &Stack) -> Self {
        self.shared_table.clone_from(&other.state_table);
        self
    }

    /// Uses this database without migrating it or granting privileges.
    #[must_use]
    pub fn with_unprepared_database(mut self, database: TestDatabase) -> Self {
        self.database = Some(database);
        self.prepare_database = false;
        self
    }

    /// Uses this empty database. `start` migrates it and grants the privileges.
    #[must_use]
    pub fn with_database(mut self, database: TestDatabase) -> Self {
        self.database = Some(database);
        self
    }

    /// Sets the isolation level of the functions' transactions. The default is `TEST_ISOLATION`, or else PostgreSQL's default.
    #[must_use]
    pub fn isolation(mut self, level: &str) -> Self {
        self.isolation = Some(level.to_owned());
        self
    }

    /// Lets all functions but `migrate` connect to the database through this port of 127.0.0.1.
    #[must_use]
    pub fn database_port(mut self, port: u16) -> Self {
        self.database_port = Some(port);
        self
    }

    /// Starts the stack.
    pub async fn start(mut self) -> Stack {
        let only_of_many_processes = match self.max_processes {
            MANY_PROCESSES.. => Some(STACK_OF_MANY_PROCESSES.lock().await),
            _ => None,
        };
        let is_given = self.database.is_some();
        let database = match self.database.take() {
            Some(database) => database,
            None => TestDatabase::migrated().await,
        };
        if let Some(level) = &self.isolation {
            database.set_isolation(level).await;
        }
        let state_table = match (self.store, self.shared_table.take()) {
            (Store::PostgreSql, _) => None,
            (Store::DynamoDb, Some(shared)) => Some(shared),
            (Store::DynamoDb, None) => Some(Arc::new(StateTable::new().await)),
        };
        if let Some(table) = &state_table {
            self = self.with("STATE_TABLE", &table.name).with("AWS_ENDPOINT_URL_DYNAMODB", &table.endpoint);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let base_url = format!("http://{address}");
        if self.environment.get("PASSKEY_ORIGINS").is_some_and(|origins| origins == OWN_ORIGIN) {
            self = self.with("PASSKEY_ORIGINS", &format!("http://localhost:{}", address.port()));
        }
        let owner = self.environment.get("DATABASE_URL").cloned().unwrap_or_else(|| database.url());
        let through_proxy = self.database_port.map(|port| database.functions_url_with_port(port));
        let defaults = [
            ("DATABASE_URL", through_proxy.unwrap_or_else(|| database.functions_url())),
            ("AWS_ENDPOINT_URL_SES", server("TEST_SES_URL")),
            ("LINKS_URL", base_url.clone()),
        ];
        for (name, value) in defaults {
            self.environment.entry(name.to_owned()).or_insert(value);
        }
        let environment = |name: &str| {
            let mut environment = self.environment.clone();
            if name == "migrate" {
                environment.insert("DATABASE_URL".to_owned(), owner.clone());
            }
            environment.extend(self.own_environment.get(name).cloned().unwrap_or_default());
            environment.into_iter().collect()
        };
        let functions = TestFunctions::open(self.max_processes, environment).await;
        functions.serve(listener);
        let stack = Stack {
            base_url,
            database,
            state_table,
            functions,
            client: Client::new(),
            _only_of_many_processes: only_of_many_processes,
        };
        if self.prepare_database {
            if is_given {
                stack.migrate().await;
            }
            stack.database.grant().await;
        }
        stack
    }
}
