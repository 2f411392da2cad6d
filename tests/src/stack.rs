//! The whole service, for one test.

use std::{collections::BTreeMap, time::Instant};

use nix::sys::signal::Signal;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::net::TcpListener;
use toolkit::lambda::Outcome;
use uuid::Uuid;

use crate::{
    Person, Reply,
    database::TestDatabase,
    documents,
    functions::TestFunctions,
    optional, server,
    state_table::{StateTable, Store},
};

/// The secret every stack signs with.
pub const SECRET: &str = "a-secret-of-the-tests-0123456789abcdef";

/// The service, running.
pub struct Stack {
    /// Where the API is.
    pub base_url: String,
    /// Its database.
    pub database: TestDatabase,
    /// Its table, where it has one.
    pub state_table: Option<StateTable>,
    functions: TestFunctions,
    client: Client,
}

/// What a stack is to be like, where it differs from the ordinary.
pub struct StackBuilder {
    environment: BTreeMap<String, String>,
    /// What single functions have in theirs.
    own_environment: BTreeMap<String, Vec<(String, String)>>,
    max_processes: usize,
    database: Option<TestDatabase>,
    /// Whether the database is to be migrated, and granted.
    prepared: bool,
    /// The port by which functions get to the database, where it is not its own.
    database_port: Option<u16>,
    /// The isolation level of the functions' transactions, where it is not the server's default.
    isolation: Option<String>,
    store: Store,
}

impl Stack {
    /// A stack on a database of its own, migrated.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// The same, with attempts counted there.
    pub async fn with_state_in(store: Store) -> Self {
        Self::builder().state_in(store).start().await
    }

    /// A stack that differs from the ordinary one.
    #[must_use]
    pub fn builder() -> StackBuilder {
        let variables = [
            ("JWT_SECRET_KEY", SECRET),
            ("MAIL_FROM", "no-reply@example.com"),
            ("PASSWORD_MIN_LENGTH", "8"),
            ("PASSWORD_BLOCKLIST", "off"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
        ];
        let environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        StackBuilder {
            environment,
            own_environment: BTreeMap::new(),
            max_processes: 2,
            database: None,
            prepared: true,
            database_port: None,
            isolation: optional("TEST_ISOLATION"),
            store: Store::PostgreSql,
        }
    }

    /// Somebody new, whose address nobody else has.
    #[must_use]
    pub fn stranger(&self, name: &str) -> Person<'_> {
        // A local part has 64 characters at most.
        let unique = &Uuid::new_v4().simple().to_string()[..16];
        Person::new(self, name, &format!("{}-{unique}@example.com", name.to_lowercase().replace(' ', ".")))
    }

    /// Somebody who has signed up.
    pub async fn user(&self, name: &str) -> Person<'_> {
        let person = self.stranger(name);
        person.signs_up().await.assert_created();
        person
    }

    /// Sends a request; its answer is held against `openapi.yaml`, its headers against what every answer carries.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        fill_in: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Reply {
        let request = fill_in(self.client.request(method.clone(), format!("{}{path}", self.base_url)));
        let asked = Instant::now();
        let response = request.send().await.expect("the gateway answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body of text");
        let reply = Reply { status, headers, text, took: asked.elapsed() };
        let route = documents::routes().into_iter().find(|route| route.matches(method.as_str(), path).is_some());
        // A process was killed over it: the function has said nothing.
        if let Some(route) = route.filter(|_| reply.status != 502) {
            reply.assert_documented(&route);
            // What an authorizer does not let through, the gateway answers by itself.
            if route.authorizer.is_none() || reply.status == 200 {
                reply.assert_guarded(&route);
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

    /// Invokes a function directly, as `aws lambda invoke` does. `Err` is the error the function reported.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Value, Value> {
        match self.functions.invoke(function, event.clone()).await {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Error(error) => Err(error),
            Outcome::Killed => Err(Value::Null),
        }
    }

    /// Kills a function's processes, as Lambda does with one that takes too long.
    pub async fn kill(&self, function: &str) {
        self.functions.get(function).kill().await;
    }

    /// Freezes a function's processes, as Lambda does between requests.
    pub fn freeze(&self, function: &str) {
        self.functions.signal(function, Signal::SIGSTOP);
    }

    /// Lets them go on.
    pub fn thaw(&self, function: &str) {
        self.functions.signal(function, Signal::SIGCONT);
    }

    /// Kills one of a function's processes, if it has any: whoever waits for it gets a 502 of the gateway's, and another takes its place.
    pub fn kill_one(&self, function: &str, which: usize) {
        self.functions.get(function).kill_one(which).expect("the function's binary starts");
    }

    /// The system's ids of a function's processes.
    #[must_use]
    pub fn processes(&self, function: &str) -> Vec<u32> {
        self.functions.get(function).process_ids()
    }

    /// Lets the time pass after which the mails that are owed are due.
    pub async fn mails_become_due(&self) {
        self.sql("UPDATE outbox SET due_at = now()").await;
    }

    /// Sweeps, as the schedule does, and gives the report.
    pub async fn sweep(&self) -> Value {
        self.invoke("sweep", &serde_json::json!({})).await.expect("there is nothing in the way of sweeping")
    }

    /// Everything a function has logged so far.
    #[must_use]
    pub fn log_of(&self, function: &str) -> String {
        self.functions.log(function)
    }

    /// Everything all functions have logged so far.
    #[must_use]
    pub fn logs(&self) -> String {
        self.functions.all_logs()
    }

    /// Ends every function, and gives everything each of them has logged, by its name.
    pub async fn ended_logs(&self) -> BTreeMap<&str, String> {
        self.functions.end().await
    }

    /// Runs a statement on the stack's database, such as one that shifts a row's time.
    pub async fn sql(&self, statement: &str) {
        self.database.connect().await.batch_execute(statement).await.expect("the statement runs");
    }

    /// The single text a query yields.
    pub async fn sql_text(&self, query: &str) -> String {
        self.database.connect().await.query_one(query, &[]).await.expect("the query yields a row").get(0)
    }

    /// The single number a query yields.
    pub async fn sql_number(&self, query: &str) -> i64 {
        self.database.connect().await.query_one(query, &[]).await.expect("the query yields a row").get(0)
    }
}

impl StackBuilder {
    /// Sets a variable of the functions' environment; an empty value unsets it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable of one function's environment alone.
    #[must_use]
    pub fn with_for(mut self, function: &str, name: &str, value: &str) -> Self {
        self.own_environment.entry(function.to_owned()).or_default().push((name.to_owned(), value.to_owned()));
        self
    }

    /// How many processes a function may have at once.
    #[must_use]
    pub fn processes(mut self, max: usize) -> Self {
        self.max_processes = max;
        self
    }

    /// Where attempts are counted; in the database unless told otherwise.
    #[must_use]
    pub fn state_in(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// The database to run on, instead of a new one. It is left as it is: not migrated, and nothing granted.
    #[must_use]
    pub fn on(mut self, database: TestDatabase) -> Self {
        self.database = Some(database);
        self.prepared = false;
        self
    }

    /// The new database to run on: it is migrated, and the functions may use it.
    #[must_use]
    pub fn on_new(mut self, database: TestDatabase) -> Self {
        self.database = Some(database);
        self
    }

    /// The isolation level of the functions' transactions. Without it, what `TEST_ISOLATION` says, or PostgreSQL's own default.
    #[must_use]
    pub fn isolation(mut self, level: &str) -> Self {
        self.isolation = Some(level.to_owned());
        self
    }

    /// The port of 127.0.0.1 by which all functions but `migrate` get to the database.
    #[must_use]
    pub fn through(mut self, port: u16) -> Self {
        self.database_port = Some(port);
        self
    }

    /// Starts the stack.
    pub async fn start(mut self) -> Stack {
        let database = match self.database.take() {
            Some(database) => database,
            None => TestDatabase::empty().await,
        };
        if let Some(level) = &self.isolation {
            database.isolate(level).await;
        }
        let state_table = match self.store {
            Store::PostgreSql => None,
            Store::DynamoDb => Some(StateTable::new().await),
        };
        if let Some(table) = &state_table {
            self = self.with("STATE_TABLE", &table.name).with("AWS_ENDPOINT_URL_DYNAMODB", &table.endpoint);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let owner = self.environment.get("DATABASE_URL").cloned().unwrap_or_else(|| database.url());
        let by_proxy = self.database_port.map(|port| database.functions_url_by(port));
        let defaults = [
            ("DATABASE_URL", by_proxy.unwrap_or_else(|| database.functions_url())),
            ("AWS_ENDPOINT_URL_SES", server("TEST_SES_URL")),
            ("RESET_PASSWORD_URL", format!("{base_url}/reset-password")),
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
        let stack = Stack { base_url, database, state_table, functions, client: Client::new() };
        if self.prepared {
            stack.invoke("migrate", &serde_json::json!({})).await.expect("an empty database can be migrated");
            stack.database.grant().await;
        }
        stack
    }
}
