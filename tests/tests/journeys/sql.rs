//! SQL injection, and the privileges of the functions' role.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Stack, documents};
use tokio_postgres::{Client, NoTls, error::SqlState};

/// A connection with the functions' role.
async fn connect_as_function(stack: &Stack) -> Client {
    let (client, connection) = tokio_postgres::connect(&stack.database.functions_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

// Requirement 43.
#[tokio::test]
async fn the_role_of_the_functions_has_no_privilege_it_does_not_need() {
    let stack = Stack::start().await;
    stack.user("Ada").await.signs_in().await;
    let role = connect_as_function(&stack).await;
    for forbidden in [
        "CREATE TABLE mine (id integer)",
        "CREATE TABLE mine AS SELECT * FROM users",
        "CREATE VIEW mine AS SELECT * FROM users",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "CREATE EXTENSION dblink",
        "CREATE INDEX ON users (name)",
        "CREATE RULE mine AS ON INSERT TO users DO INSTEAD NOTHING",
        "ALTER TABLE users ADD COLUMN mine integer",
        "ALTER TABLE sessions DISABLE TRIGGER ALL",
        "ALTER TABLE throttle OWNER TO current_user",
        "ALTER ROLE current_user SUPERUSER",
        "DROP TABLE throttle",
        "DROP INDEX users_email_ascii_key",
        "TRUNCATE throttle",
        "TRUNCATE users CASCADE",
        "UPDATE users SET id = 7",
        "INSERT INTO users (id, name, email, password) VALUES (7, 'Mine', 'mine@example.com', '-')",
        "SELECT setval('users_id_seq', 7)",
        "SELECT * FROM refinery_schema_history",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "SELECT * FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "COPY users TO '/tmp/mine'",
        "COPY users TO PROGRAM 'cat'",
        "COPY users FROM '/etc/passwd'",
        "SET log_statement = 'all'",
    ] {
        let refusal = role.batch_execute(forbidden).await.expect_err(forbidden);
        assert_eq!(refusal.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}: {refusal:?}");
    }
    // PostgreSQL only warns about this statement and grants nothing.
    role.batch_execute("GRANT ALL ON users TO PUBLIC").await.unwrap();
    let granted =
        "SELECT count(*) FROM information_schema.table_privileges WHERE grantee = 'PUBLIC' AND table_name = 'users'";
    assert_eq!(stack.sql_number(granted).await, 0);
}

// Requirement 43.
#[tokio::test]
async fn the_functions_may_use_the_tables_of_later_migrations() {
    let stack = Stack::start().await;
    stack.sql("CREATE TABLE later (id serial, word text)").await;
    let role = connect_as_function(&stack).await;
    let uses =
        "INSERT INTO later (word) VALUES ('x'); SELECT * FROM later; UPDATE later SET word = 'y'; DELETE FROM later";
    role.batch_execute(uses).await.unwrap();
    let refusal = role.batch_execute("DROP TABLE later").await.unwrap_err();
    assert_eq!(refusal.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
}

/// Typical SQL injections (OWASP Web Security Testing Guide), also for PostgreSQL.
const INJECTIONS: [&str; 24] = [
    "'",
    "''",
    "\\'",
    "\"",
    ";",
    "--",
    "' OR '1'='1",
    "' OR 1=1 --",
    "\" OR \"\"=\"",
    "admin'--",
    "admin'/*",
    "') OR ('a'='a",
    "' UNION SELECT NULL,NULL,NULL--",
    "' UNION SELECT id,name,email,password,1 FROM users--",
    "'; DROP TABLE users; --",
    "'; UPDATE users SET password='x' WHERE 't'='t",
    "'; SELECT pg_sleep(20); --",
    "' || pg_sleep(20) || '",
    "'||(SELECT CASE WHEN 1=1 THEN pg_sleep(20) END)||'",
    "1; COPY users TO PROGRAM 'touch /tmp/injected'",
    "$$; DROP TABLE sessions; $$",
    "$1",
    "E'\\x27 OR 1=1'",
    "%27%20OR%201=1--",
];

/// Every row of accounts, sessions and reset links, without the counters of attempts.
const SNAPSHOT: &str = "SELECT concat_ws(' ',
    (SELECT string_agg(u::text, E'\\n' ORDER BY id) FROM users u),
    (SELECT string_agg(s::text, E'\\n' ORDER BY id) FROM sessions s),
    (SELECT string_agg(r::text, E'\\n' ORDER BY user_id) FROM password_resets r),
    (SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'))";

// Requirement 43.
#[tokio::test]
async fn client_input_is_never_executed_as_sql() {
    let stack = Stack::builder().with("FORGOT_PASSWORD_FLOOR_MS", "0").start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ada.receives_reset_mail(1).await;
    let before = stack.sql_text(SNAPSHOT).await;
    for (n, injection) in INJECTIONS.into_iter().enumerate() {
        let eve = ada.from_source(&format!("192.0.2.{n}"));
        let refused = [
            (eve.with_email(injection).tries_to_sign_in().await, 401),
            (eve.with_email(&format!("{}{injection}", ada.email)).tries_to_sign_in().await, 401),
            (eve.with_password(injection).tries_to_sign_in().await, 401),
            (eve.with_email(injection).forgets_password().await, 200),
            (eve.resets_password(&percent_encoded(injection), "another password").await, 400),
            (
                stack
                    .post(&format!("/api/signup?{}", percent_encoded(injection)), &json!({ injection: injection }))
                    .await,
                400,
            ),
            (stack.get(&format!("/reset-password/{}", percent_encoded(injection))).await, 200),
            (stack.get(&format!("/api/public?id={}", percent_encoded(injection))).await, 200),
        ];
        for (reply, status) in refused {
            assert_eq!(reply.status, status, "{injection}: {}", reply.text);
            assert!(reply.took < Duration::from_secs(10), "{injection} took {:?}", reply.took);
        }
        for (method, path) in
            [(Method::GET, "/api/dashboard"), (Method::POST, "/api/logout"), (Method::POST, "/api/refresh")]
        {
            for credentials in [format!("Bearer {injection}"), format!("Bearer {}{injection}", tokens.access)] {
                let reply = stack.send(method.clone(), path, |request| request.header("authorization", &credentials));
                assert_eq!(reply.await.status, 401, "{credentials}");
            }
        }
        // API Gateway percent-decodes path parameters, so this event contains the injection itself.
        let mut event: Value = serde_json::from_str(&documents::read("events/reset-password.json")).unwrap();
        event["pathParameters"]["token"] = injection.into();
        event["requestContext"]["http"]["sourceIp"] = injection.into();
        assert_eq!(stack.invoke("reset-password", &event).await.unwrap()["statusCode"], 400, "{injection}");
        let reply = stack.send(Method::GET, "/api/dashboard", |request| {
            let request = request.bearer_auth(&tokens.access).header("cookie", injection);
            request.header("user-agent", injection).header("x-forwarded-for", injection)
        });
        assert_eq!(reply.await.status, 200, "{injection}");
    }
    assert!(before == stack.sql_text(SNAPSHOT).await, "nothing has changed");
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 200);
}

// Requirement 43.
#[tokio::test]
async fn a_name_that_contains_sql_is_stored_unchanged() {
    let stack = Stack::start().await;
    for injection in INJECTIONS {
        let mut eve = stack.stranger("Eve").with_password(&format!("password {injection}"));
        injection.clone_into(&mut eve.name);
        eve.signs_up().await.assert_created();
        let dashboard = eve.dashboard(&eve.signs_in().await.access).await;
        assert_eq!(dashboard.json()["user"], json!({ "name": injection, "email": eve.email }));
    }
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, i64::try_from(INJECTIONS.len()).unwrap());
}

/// Percent-encodes every byte.
fn percent_encoded(text: &str) -> String {
    hex::encode(text).as_bytes().chunks(2).flat_map(|byte| [b'%', byte[0], byte[1]]).map(char::from).collect()
}
