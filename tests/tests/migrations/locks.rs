//! Concurrent migrations, and locks of other transactions.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::Stack;
use tokio::time::sleep;

use crate::{
    MIGRATIONS, assert_refused_unchanged, migrate,
    old_service::{ADA, LINUS, OLD_SCHEMAS, OldSchema, OldUser},
    stack_on,
};

#[tokio::test]
async fn of_concurrent_migrations_one_migrates_and_the_others_wait() {
    for schema in OLD_SCHEMAS {
        let stack =
            Stack::builder().with_unprepared_database(schema.filled_database().await).processes(4).start().await;
        let (one, two, three, four) = tokio::join!(migrate(&stack), migrate(&stack), migrate(&stack), migrate(&stack));
        let mut applied = [one, two, three, four];
        applied.sort_by_key(|applied| applied.as_array().map(Vec::len));
        assert_eq!(applied, [json!([]), json!([]), json!([]), json!(MIGRATIONS)]);
    }
}

#[tokio::test]
async fn migrate_waits_for_an_uncommitted_sign_up_at_the_old_service() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        let old_service = stack.database.connect().await;
        old_service.batch_execute("BEGIN").await.unwrap();
        schema.sign_up(&old_service, LINUS).await.unwrap();
        let commit_later = async {
            sleep(Duration::from_secs(3)).await;
            old_service.batch_execute("COMMIT").await.unwrap();
        };

        let started = Instant::now();
        let (applied, ()) = tokio::join!(migrate(&stack), commit_later);

        assert_eq!(applied, json!(MIGRATIONS));
        assert!(started.elapsed() > Duration::from_secs(3));
        assert!(stack.log_of("migrate").contains("another transaction prevented this attempt"));
        let version = "SELECT credential_version::bigint FROM users WHERE email = 'linus@example.com'";
        assert_eq!(stack.sql_number(version).await, 1);
    }
}

/// While `migrate` waits for a lock, later statements of the old service wait behind it. So `migrate` waits at most two seconds at a time.
#[tokio::test]
async fn the_old_service_keeps_working_while_migrate_waits_for_a_lock() {
    let stack = stack_on(OldSchema::CreateAll.filled_database().await).await;
    let report = stack.database.connect().await;
    report.batch_execute("BEGIN; SELECT count(*) FROM users").await.unwrap();
    let old_service = stack.database.connect().await;
    let sign_up = async {
        sleep(Duration::from_millis(500)).await;
        let started = Instant::now();
        OldSchema::CreateAll.sign_up(&old_service, LINUS).await.unwrap();
        let waited = started.elapsed();
        report.batch_execute("COMMIT").await.unwrap();
        waited
    };
    let (applied, waited) = tokio::join!(migrate(&stack), sign_up);
    assert_eq!(applied, json!(MIGRATIONS));
    assert!(waited < Duration::from_secs(3), "{waited:?}");
}

#[tokio::test]
async fn an_address_added_during_the_migration_is_checked_too() {
    let stack = stack_on(OldSchema::Script.filled_database().await).await;
    let old_service = stack.database.connect().await;
    old_service.batch_execute("BEGIN").await.unwrap();
    OldSchema::Script.sign_up(&old_service, OldUser { email: "ADA@EXAMPLE.COM", ..ADA }).await.unwrap();
    let commit_later = async {
        sleep(Duration::from_secs(1)).await;
        old_service.batch_execute("COMMIT").await.unwrap();
    };
    let payload = json!({});
    let (outcome, ()) = tokio::join!(stack.invoke("migrate", &payload), commit_later);
    let error = outcome.unwrap_err();
    assert_eq!(error["errorType"], "SharedAddresses");
    assert!(error["errorMessage"].as_str().unwrap().contains("ids 1 and 1013."), "{error}");
    assert!(!stack.logs().to_lowercase().contains("ada@example"), "{}", stack.logs());
}

#[tokio::test]
async fn migrate_names_the_process_that_holds_a_lock() {
    let stack = stack_on(OldSchema::Script.filled_database().await).await;
    let forgotten = stack.database.connect().await;
    forgotten.batch_execute("BEGIN; SELECT count(*) FROM users").await.unwrap();
    let process: i32 = forgotten.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);

    let message = assert_refused_unchanged(&stack, json!({}), "Busy").await;

    assert!(message.contains(&format!("users is locked by process {process}")), "{message}");
    assert!(message.contains("V1__accounts_and_sessions.sql: canceling statement due to lock timeout"), "{message}");
    forgotten.batch_execute("COMMIT").await.unwrap();
    assert_eq!(migrate(&stack).await, json!(MIGRATIONS));
}
