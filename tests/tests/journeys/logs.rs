//! What is written down, and what never is.

use std::{
    collections::BTreeSet,
    io::{Read, Seek, SeekFrom},
    time::Duration,
};

use axum::{Router, http::StatusCode};
use serde_json::{Value, json};
use tests::{Person, Stack, Tokens, documents};
use tokio::{net::TcpListener, time::sleep};
use uuid::Uuid;

fn sample(function: &str) -> Value {
    serde_json::from_str(&documents::read(&format!("events/{function}.json"))).unwrap()
}

/// A line of its own, ends of lines, colours, and characters that turn the direction of reading.
const HOSTILE: &str = "x\r\n{\"level\":\"INFO\"}\u{1b}[31m\u{85}\u{2028}\u{202e}\u{2066}\u{200f}canary@example.com";

/// What each function may meet: the text wherever a client may put one.
fn hostile_events(function: &str) -> Vec<Value> {
    let body = json!({ "name": HOSTILE, "email": HOSTILE, "password": HOSTILE }).to_string();
    // The name alone, in a body whose other parts are good, gets further.
    let named = json!({ "name": "\u{202e}canary", "email": "\u{202e}canary@example.com", "password": "\u{202e}canary, a password" });
    [
        vec![("/body", json!(body)), ("/isBase64Encoded", json!(false))],
        vec![("/body", json!(named.to_string())), ("/isBase64Encoded", json!(false))],
        vec![("/headers/authorization", json!(format!("Bearer {HOSTILE}"))), ("/headers/x-canary", json!(HOSTILE))],
        vec![
            ("/headers/authorization", json!("Bearer \u{202e}canary")),
            ("/headers/content-type", json!("\u{202e}canary")),
        ],
        vec![
            ("/rawPath", json!(HOSTILE)),
            ("/rawQueryString", json!(HOSTILE)),
            ("/requestContext/http/path", json!(HOSTILE)),
        ],
        vec![("/pathParameters", json!({ "token": HOSTILE })), ("/queryStringParameters", json!({ HOSTILE: HOSTILE }))],
        vec![("/requestContext/http/sourceIp", json!(HOSTILE)), ("/requestContext/http/userAgent", json!(HOSTILE))],
        vec![("/requestContext/requestId", json!(HOSTILE))],
        vec![("/requestContext/requestId", json!("\u{202e}canary"))],
        vec![("/headers", json!(HOSTILE))],
    ]
    .into_iter()
    .map(|changes| {
        let mut event = sample(function);
        for (field, value) in changes {
            let (parent, name) = field.rsplit_once('/').unwrap();
            event.pointer_mut(parent).unwrap()[name] = value;
        }
        event
    })
    .collect()
}

// Requirement 45.
#[tokio::test]
async fn every_line_is_one_json_object_that_says_when_where_and_for_which_request() {
    let stack = Stack::builder()
        .with("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .with("AWS_LAMBDA_LOG_LEVEL", "TRACE")
        .with("TZ", "Asia/Tokyo")
        // A length below the recommended one is a warning at start, before any request.
        .with("PASSWORD_MIN_LENGTH", "")
        .start()
        .await;
    let utc = "SELECT to_char(now() AT TIME ZONE 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS')";
    let before = stack.sql_text(utc).await;
    for route in documents::routes() {
        for event in hostile_events(&route.function) {
            stack.invoke(&route.function, &event).await.unwrap();
        }
    }
    for event in hostile_events("authorizer") {
        // What it cannot decide, it says is an error.
        let _ = stack.invoke("authorizer", &event).await;
    }
    stack.invoke("migrate", &json!({ "finish": 1 })).await.unwrap_err();
    stack.invoke("sweep", &sample("sweep")).await.unwrap();
    stack.invoke("panics", &hostile_events("signup")[0]).await.unwrap();
    let after = stack.sql_text(utc).await + ".999999Z";

    for (function, log) in stack.ended_logs().await {
        let mut answered = BTreeSet::new();
        for line in log.lines() {
            let hostile = |c: char| c.is_control() || "\u{2028}\u{202e}\u{2066}\u{200f}".contains(c);
            assert!(!line.contains(hostile) && !line.contains("canary"), "{line}");
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{function}: no JSON: {line}"));
            let text = |pointer| {
                line.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {line}"))
            };
            let timestamp = text("/timestamp");
            assert!(timestamp.ends_with('Z'), "{line}");
            assert!(
                function == "migrate" || (before.as_str()..=after.as_str()).contains(&timestamp),
                "{before} {line}"
            );
            assert!(["ERROR", "WARN", "INFO"].contains(&text("/level")), "{line}");
            assert_eq!(text("/spans/0/function"), function, "{line}");
            let request = text("/spans/1/request_id").to_owned();
            match text("/message") {
                "answered" | "refused" | "failed" | "done" | "swept" => {
                    assert!(answered.insert(request), "twice: {line}");
                }
                message => assert!(["audit", "panicked"].contains(&message), "{line}"),
            }
        }
        let requests = match function {
            "panics" | "sweep" => 1,
            "migrate" => 2,
            _ => hostile_events(function).len(),
        };
        assert_eq!(answered.len(), requests, "an outcome for each request in\n{log}");
    }
}

// Requirement 45.
#[tokio::test]
async fn an_audit_line_names_the_source_and_the_request_as_the_access_log_does() {
    let stack = Stack::builder().with("AWS_LAMBDA_LOG_FORMAT", "JSON").start().await;
    let mut expected = BTreeSet::new();
    for (function, event, source) in [
        ("signup", "signed_up", "203.0.113.7"),
        ("signin", "signed_in", "2001:db8::7"),
        ("forgot-password", "password_reset_requested", "198.51.100.20"),
    ] {
        let mut request = sample(function);
        let id = format!("{function}-lliAEPLQ=");
        request["requestContext"]["requestId"] = json!(id);
        request["requestContext"]["http"]["sourceIp"] = json!(source);
        stack.invoke(function, &request).await.unwrap();
        expected.insert([event.to_owned(), id, source.to_owned()]);
    }
    let logs = stack.ended_logs().await;
    let lines = logs.values().flat_map(|log| log.lines()).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let audited = lines.filter(|line| line["message"] == "audit").map(|line| {
        ["/event", "/spans/1/api_request_id", "/spans/1/source"]
            .map(|pointer| line.pointer(pointer).and_then(Value::as_str).unwrap_or("missing").to_owned())
    });
    assert_eq!(audited.collect::<BTreeSet<_>>(), expected);

    let access_log = documents::template()["Resources"]["Api"]["Properties"]["AccessLogSettings"]["Format"].to_string();
    for field in [r#""requestId":"$context.requestId""#, r#""source":"$context.identity.sourceIp""#] {
        assert!(access_log.replace('\\', "").contains(field), "no {field} in {access_log}");
    }
}

/// What must not be found again. Everything secret a client sends carries the one mark, everything personal the other.
struct Marks {
    secret: String,
    personal: String,
    tokens: Vec<String>,
    hashes: Vec<String>,
}

impl Marks {
    fn new() -> Self {
        let mark = || Uuid::new_v4().simple().to_string();
        Self { secret: mark(), personal: mark(), tokens: Vec::new(), hashes: Vec::new() }
    }

    fn person<'a>(&self, stack: &'a Stack) -> Person<'a> {
        let mut person = stack.stranger(&self.personal).with_password(&format!("old {}", self.secret));
        person.name = format!("Name {}", self.personal);
        person
    }

    fn sees(&mut self, tokens: &Tokens) {
        // The parts of a JWT that differ from token to token.
        self.tokens.extend(
            [&tokens.access, &tokens.refresh].into_iter().flat_map(|token| token.split('.').skip(1)).map(str::to_owned),
        );
    }

    fn assert_no_secret(&self, what: &str, log: &str) {
        for secret in self.tokens.iter().chain([&self.secret]) {
            assert!(!log.contains(secret), "{what} has a secret: {}", around(log, secret));
        }
    }

    async fn sees_the_hashes(&mut self, stack: &Stack) {
        let hashes = stack.sql_text("SELECT string_agg(password, ' ') FROM users").await;
        self.hashes.extend(hashes.split(' ').map(str::to_owned));
    }

    fn assert_nothing_personal(&self, what: &str, log: &str) {
        for personal in self.hashes.iter().chain([&self.personal]) {
            assert!(!log.contains(personal), "{what} knows somebody: {}", around(log, personal));
        }
    }
}

fn around<'a>(log: &'a str, found: &str) -> &'a str {
    log.lines().find(|line| line.contains(found)).unwrap_or_default()
}

/// What PostgreSQL has logged from a moment on.
struct ServerLog(u64);

impl ServerLog {
    fn from_now_on() -> Self {
        Self(std::fs::metadata(tests::server("TEST_DATABASE_LOG")).unwrap().len())
    }

    /// Everything up to now, which a line of the test's own marks.
    async fn read(&self, stack: &Stack) -> String {
        let end = Uuid::new_v4();
        stack.sql(&format!("DO $$ BEGIN RAISE LOG 'end {end}'; END $$")).await;
        for _ in 0..100 {
            let mut file = std::fs::File::open(tests::server("TEST_DATABASE_LOG")).unwrap();
            file.seek(SeekFrom::Start(self.0)).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            let log = String::from_utf8_lossy(&bytes);
            if log.contains(&format!("end {end}")) {
                return log.into_owned();
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("TEST_DATABASE_LOG is not the log of the server")
    }
}

/// Somebody does everything there is to do.
async fn goes_well(stack: &Stack, marks: &mut Marks) {
    let ada = marks.person(stack);
    ada.signs_up().await.assert_created();
    assert_eq!(ada.with_email(&ada.email.to_uppercase()).signs_up().await.json()["code"], "user_already_exists");
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    assert_eq!(ada.dashboard(&second.access).await.status, 200);
    assert_eq!(ada.logs_out(&second.access).await.status, 200);
    assert_eq!(ada.dashboard(&second.access).await.status, 401);
    assert_eq!(ada.refreshes(&first.refresh).await.status, 401);
    assert_eq!(ada.with_password(&format!("wrong {}", marks.secret)).tries_to_sign_in().await.status, 401);

    let link = ada.receives_reset_mail(1).await;
    assert_eq!(stack.get(&link.link().replace(&stack.base_url, "")).await.status, 200);
    let token = link.reset_token();
    assert_eq!(ada.resets_password(&token, &"2 long ".repeat(50)).await.status, 400);
    let new = format!("new {}", marks.secret);
    for status in [200, 400] {
        assert_eq!(ada.resets_password(&token, &new).await.status, status);
    }
    let third = ada.with_password(&new).signs_in().await;
    for tokens in [&first, &second, &third] {
        marks.sees(tokens);
    }
    marks.tokens.push(token);

    // A notice that was not written down as sent.
    stack
        .sql("INSERT INTO outbox (user_id, kind, id, due_at, expires_at) SELECT id, 'password_changed', gen_random_uuid(), now(), now() + interval '1 hour' FROM users")
        .await;
    assert_eq!(stack.sweep().await["mails_sent"], 1);
}

/// Somebody sends what nobody should, wherever there is room for it.
async fn is_nonsense(stack: &Stack, marks: &Marks) {
    let Marks { secret, personal, .. } = marks;
    let object = |end: &str| {
        let (personal, secret) = (format!("{personal}{end}"), format!("{secret}{end}"));
        json!({ "name": personal, "email": personal, "password": secret, secret.as_str(): secret })
            .to_string()
            .into_bytes()
    };
    let bodies = [
        object(""),
        object("\0"),
        format!("{{\"password\":\"{secret}").into_bytes(),
        format!("\"{secret}\"").into_bytes(),
        [secret.as_bytes(), b"\xff\xfe"].concat(),
    ];
    for route in documents::routes() {
        let path = format!("{}?token={secret}&{secret}", route.path.replace("{token}", secret));
        for credentials in [format!("Bearer {secret}"), format!("Basic {secret}"), secret.clone()] {
            for body in &bodies {
                let reply = stack.send(route.method.parse().unwrap(), &path, |request| {
                    let request =
                        request.header("content-type", "application/json").header("authorization", &credentials);
                    let request = request.header("cookie", secret).header("x-odd", bodies[4].as_slice());
                    request.body(body.clone())
                });
                assert!(reply.await.status < 500);
            }
        }
    }
    stack.get(&format!("/nowhere/{secret}?{secret}")).await;
    let headers = json!({ "content-type": "application/json", "authorization": "Bearer" });
    let mut event = json!({ "headers": headers, "body": String::from_utf8_lossy(&bodies[0]), "requestContext": { "http": { "method": "POST" } } });
    stack.invoke("panics", &event).await.unwrap();
    event["headers"]["authorization"] = format!("Bearer\n{secret}").into();
    for route in documents::routes() {
        stack.invoke(&route.function, &event).await.unwrap();
    }
}

/// What ends the functions' connections to a database: the next ones find its new settings.
const HANG_UP: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'jwt-auth'";

/// The database fails in every way that is no fault of a row's.
async fn goes_wrong(stack: &Stack, marks: &mut Marks) {
    let (mut rival, operator) = (stack.database.connect().await, stack.database.connect().await);
    let database = stack.sql_text("SELECT current_database()::text").await;
    let alter = async |change: &str| {
        operator.batch_execute(&format!("ALTER DATABASE {database} {change}; {HANG_UP}")).await.unwrap();
    };
    let ada = marks.person(stack);
    ada.signs_up().await.assert_created();
    let tokens = ada.signs_in().await;
    marks.sees(&tokens);

    // A statement whose connection dies under it, and that nobody waits for in the end.
    let lock = rival.transaction().await.unwrap();
    lock.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    let dies = async {
        sleep(Duration::from_millis(300)).await;
        operator.batch_execute(HANG_UP).await.unwrap();
    };
    let (reply, ()) = tokio::join!(ada.refreshes(&tokens.refresh), dies);
    assert_eq!(reply.status, 503);
    let busy = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'jwt-auth' AND state = 'active'";
    while stack.sql_number(busy).await > 0 {
        sleep(Duration::from_millis(20)).await;
    }
    for patience in ["lock_timeout", "statement_timeout"] {
        alter(&format!("SET {patience} = '50ms'")).await;
        assert_eq!(ada.refreshes(&tokens.refresh).await.status, 503);
        assert_eq!(ada.logs_out(&tokens.access).await.status, 503);
        alter(&format!("RESET {patience}")).await;
    }
    lock.rollback().await.unwrap();

    for (refuses, serves) in [
        ("SET default_transaction_read_only = on", "RESET default_transaction_read_only"),
        ("SET search_path = pg_catalog", "RESET search_path"),
        ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1"),
    ] {
        alter(refuses).await;
        let stranger = marks.person(stack);
        for reply in [stranger.signs_up().await, ada.tries_to_sign_in().await, ada.forgets_password().await] {
            assert!(reply.status >= 500, "{}", reply.text);
        }
        assert!(ada.resets_password(&"A".repeat(43), &marks.secret).await.status >= 500);
        alter(serves).await;
    }
    marks.sees(&ada.signs_in().await);
}

/// A rule of somebody else's refuses rows of ours. In its details PostgreSQL quotes them.
async fn a_row_is_refused(stack: &Stack, marks: &mut Marks) {
    let ada = marks.person(stack);
    ada.signs_up().await.assert_created();
    let token = ada.receives_reset_mail(1).await.reset_token();
    stack.sql("ALTER TABLE users ADD CONSTRAINT elsewhere CHECK (created_at < '2000-01-01') NOT VALID").await;
    let stranger = marks.person(stack);
    for reply in [stranger.signs_up().await, ada.resets_password(&token, &marks.secret).await] {
        reply.assert_refused(500, "internal_error", "Internal server error");
    }
    assert!(stack.log_of("signup").contains("23514"), "{}", stack.log_of("signup"));
    marks.tokens.push(token);
}

async fn on_a_server_that_logs(settings: &[&str]) -> (Stack, ServerLog, Marks) {
    let stack = Stack::builder().with("AWS_LAMBDA_LOG_LEVEL", "TRACE").processes(1).start().await;
    let database = stack.sql_text("SELECT current_database()::text").await;
    for setting in settings {
        stack.sql(&format!("ALTER DATABASE {database} SET {setting}")).await;
    }
    let (log, mut marks) = (ServerLog::from_now_on(), Marks::new());
    goes_well(&stack, &mut marks).await;
    is_nonsense(&stack, &marks).await;
    goes_wrong(&stack, &mut marks).await;
    marks.sees_the_hashes(&stack).await;
    (stack, log, marks)
}

async fn assert_that_functions_keep_silent(stack: &Stack, marks: &Marks) {
    for (function, log) in stack.ended_logs().await {
        assert!(!log.is_empty(), "{function} was called");
        marks.assert_no_secret(function, &log);
        marks.assert_nothing_personal(function, &log);
        assert!(!log.contains("argon2id"), "{function} has a hash: {}", around(&log, "argon2id"));
    }
}

// Requirements 14, 33.
#[tokio::test]
async fn no_log_knows_a_secret_or_a_person() {
    let (stack, log, marks) = on_a_server_that_logs(&[]).await;
    let log = log.read(&stack).await;
    for provoked in [
        "lock timeout",
        "statement timeout",
        "due to user request",
        "administrator command",
        "read-only",
        "too many connections",
    ] {
        assert!(log.contains(provoked), "{provoked}");
    }
    marks.assert_no_secret("PostgreSQL", &log);
    marks.assert_nothing_personal("PostgreSQL", &log);
    assert_that_functions_keep_silent(&stack, &marks).await;
}

/// Set as docs/database.md asks for it, PostgreSQL keeps to the words of the statements, however much it logs.
// Requirements 14, 33.
#[tokio::test]
async fn a_server_that_logs_every_statement_knows_nobody_if_it_leaves_out_parameters_and_details() {
    let settings = [
        "log_statement = 'all'",
        "log_min_duration_statement = 0",
        "log_parameter_max_length = 0",
        "log_error_verbosity = 'terse'",
    ];
    let (stack, log, mut marks) = on_a_server_that_logs(&settings).await;
    a_row_is_refused(&stack, &mut marks).await;
    let log = log.read(&stack).await;
    for logged in ["INSERT INTO users", "violates check constraint \"elsewhere\""] {
        assert!(log.contains(logged), "{logged}");
    }
    marks.assert_no_secret("PostgreSQL", &log);
    marks.assert_nothing_personal("PostgreSQL", &log);
    assert_that_functions_keep_silent(&stack, &marks).await;
}

/// What PostgreSQL is never told, it cannot log: passwords and tokens do not leave the functions. (People do: they are rows.)
// Requirements 14, 33.
#[tokio::test]
async fn a_server_that_logs_all_it_is_told_learns_no_secret() {
    let settings = [
        "log_statement = 'all'",
        "log_min_duration_statement = 0",
        "log_parameter_max_length = -1",
        "log_parameter_max_length_on_error = -1",
        "log_error_verbosity = 'verbose'",
        "log_min_messages = 'debug2'",
    ];
    let (stack, log, mut marks) = on_a_server_that_logs(&settings).await;
    a_row_is_refused(&stack, &mut marks).await;
    let log = log.read(&stack).await;
    assert!(log.contains(&marks.personal) && log.contains(&marks.hashes[0]), "it logs what it is told");
    marks.assert_no_secret("PostgreSQL", &log);
    assert_that_functions_keep_silent(&stack, &marks).await;
}

// Requirement 14.
#[tokio::test]
async fn a_mail_that_is_not_taken_leaves_no_trace_of_its_reader() {
    let quoting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let endpoints = [url(&quoting), url(&silent), "http://127.0.0.1:9".to_owned()];
    // As SES refuses an address it has not verified, and then some.
    let refuse = async |mail: String| {
        let error = format!("<Error><Type>Sender</Type><Code>MessageRejected</Code><Message>{mail}</Message></Error>");
        (StatusCode::BAD_REQUEST, format!("<ErrorResponse>{error}</ErrorResponse>"))
    };
    tokio::spawn(async move { axum::serve(quoting, Router::new().fallback(refuse)).await });
    for endpoint in endpoints {
        let stack = Stack::builder().with("AWS_ENDPOINT_URL_SES", &endpoint).with("AWS_LAMBDA_LOG_LEVEL", "TRACE");
        let (stack, marks) = (stack.start().await, Marks::new());
        let ada = marks.person(&stack);
        ada.signs_up().await.assert_created();
        assert_eq!(ada.forgets_password().await.status, 200);
        let log = &stack.ended_logs().await["forgot-password"];
        assert!(log.contains("a mail was not sent") || log.contains("a mail was refused"), "{log}");
        marks.assert_nothing_personal("forgot-password", log);
        assert!(!log.contains("/reset-password/"), "a link in {log}");
    }
}
