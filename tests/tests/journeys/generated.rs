//! The rows that `cargo xtask scale` generates to fill a database: the functions accept them, as they accept rows of their own.

use jsonwebtoken::EncodingKey;
use serde_json::json;
use shared::domain::{Email, Name, Source};
use tests::{Person, Stack, Store::PostgreSql, documents, jwt::claims, stack::SECRET};
use tokio_postgres::types::ToSql;

const USERS: i64 = 1000;
const SESSIONS: i64 = 5000;
const LIVE: i64 = 1500;
const COUNTERS: i64 = 3000;
const MAILS: i64 = 20;
/// The lifetime of a session in seconds.
const LIFETIME: f64 = 604_800.0;

/// Replaces the rows of a stack by generated ones. Each generated user has the password of this person. Returns the person with the address of the
/// first of them.
async fn filled<'a>(stack: &Stack, person: Person<'a>) -> Person<'a> {
    let hash = stack.sql_text("SELECT password::text FROM users").await;
    stack.sql("TRUNCATE users, throttle RESTART IDENTITY CASCADE").await;
    let parameters: [(&str, &[&(dyn ToSql + Sync)]); 4] = [
        ("users", &[&1_i64, &USERS, &hash]),
        ("sessions", &[&1_i64, &SESSIONS, &SESSIONS, &LIVE, &USERS, &LIFETIME]),
        ("counters", &[&1_i64, &COUNTERS, &USERS]),
        ("mails", &[&1_i64, &MAILS, &MAILS, &USERS]),
    ];
    let sql = stack.database.connect().await;
    for (rows, parameters) in parameters {
        let statement = documents::read(&format!("xtask/src/scale/generator/{rows}.sql"));
        sql.execute(&statement, parameters).await.unwrap();
    }
    let email = stack.sql_text("SELECT email::text FROM users WHERE id = 1").await;
    person.with_email(&email)
}

#[tokio::test]
async fn generated_users_sessions_and_mails_are_accepted() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let first = filled(&stack, stack.user("Ada").await).await;
    for (table, rows) in [("users", USERS), ("sessions", SESSIONS), ("throttle", COUNTERS), ("outbox", MAILS)] {
        assert_eq!(stack.sql_number(&format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
    }
    let live = stack.sessions().live_by_user().await;
    assert_eq!(live.values().map(Vec::len).sum::<usize>(), usize::try_from(LIVE).unwrap());

    let tokens = first.signs_in().await;
    let last = stack.sql_text(&format!("SELECT email::text FROM users WHERE id = {USERS}")).await;
    first.with_email(&last).signs_in().await;

    // A token of a real sign-in, changed to name a generated session.
    let header = jsonwebtoken::decode_header(&tokens.access).unwrap();
    for (user, sessions) in live.iter().take(5) {
        let mut claims = claims(&tokens.access);
        (claims["sub"], claims["sid"]) = (json!(user.to_string()), json!(sessions[0]));
        let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        assert_eq!(first.dashboard(&token).await.status, 200);
    }

    let report = stack.sweep().await;
    for (number, expected) in
        [("mails_sent", 0), ("mails_owed", MAILS), ("sessions_deleted", 0), ("counters_deleted", 0)]
    {
        assert_eq!(report[number], expected, "{number}");
    }
    stack.make_mails_due().await;
    let report = stack.sweep().await;
    assert_eq!(
        (&report["mails_sent"], &report["mails_void"]),
        (&json!(MAILS), &json!(0)),
        "each reset mail has a row in `password_resets`, so none is void"
    );
}

#[tokio::test]
async fn generated_values_are_in_canonical_form() {
    let stack = Stack::with_state_in(PostgreSql).await;
    filled(&stack, stack.user("Ada").await).await;
    let sql = stack.database.connect().await;
    for user in sql.query("SELECT name, email FROM users", &[]).await.unwrap() {
        let (name, email): (&str, &str) = (user.get("name"), user.get("email"));
        assert_eq!(Name::parse(name).unwrap().as_str(), name);
        assert_eq!(Email::parse(email).unwrap().as_str(), email);
    }
    for session in sql.query("SELECT source FROM sessions", &[]).await.unwrap() {
        let source: &str = session.get("source");
        assert_eq!(Source::of(Some(source.trim_end_matches("/64"))).as_str(), source);
    }
}
