//! Somebody else is in the way.

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
async fn of_several_at_once_one_migrates_and_the_others_wait_for_it() {
    for form in OLD_SCHEMAS {
        let stack = Stack::builder().with_unprepared_database(form.full().await).processes(4).start().await;
        let (one, two, three, four) = tokio::join!(migrate(&stack), migrate(&stack), migrate(&stack), migrate(&stack));
        let mut applied = [one, two, three, four];
        applied.sort_by_key(|applied| applied.as_array().map(Vec::len));
        assert_eq!(applied, [json!([]), json!([]), json!([]), json!(MIGRATIONS)]);
    }
}

#[tokio::test]
async fn a_sign_up_at_the_old_service_that_takes_its_time_is_waited_for() {
    for form in OLD_SCHEMAS {
        let stack = stack_on(form.full().await).await;
        let old_service = stack.database.connect().await;
        old_service.batch_execute("BEGIN").await.unwrap();
        form.signs_up(&old_service, LINUS).await.unwrap();
        let takes_its_time = async {
            sleep(Duration::from_secs(3)).await;
            old_service.batch_execute("COMMIT").await.unwrap();
        };

        let started = Instant::now();
        let (applied, ()) = tokio::join!(migrate(&stack), takes_its_time);

        assert_eq!(applied, json!(MIGRATIONS));
        assert!(started.elapsed() > Duration::from_secs(3));
        assert!(stack.log_of("migrate").contains("somebody else was in the way"));
        let version = "SELECT credential_version::bigint FROM users WHERE email = 'linus@example.com'";
        assert_eq!(stack.sql_number(version).await, 1);
    }
}

/// Who waits for a lock makes everybody wait who comes after; two seconds is what they bear.
#[tokio::test]
async fn the_old_service_goes_on_while_a_lock_is_waited_for() {
    let stack = stack_on(OldSchema::CreateAll.full().await).await;
    let report = stack.database.connect().await;
    report.batch_execute("BEGIN; SELECT count(*) FROM users").await.unwrap();
    let old_service = stack.database.connect().await;
    let served = async {
        sleep(Duration::from_millis(500)).await;
        let started = Instant::now();
        OldSchema::CreateAll.signs_up(&old_service, LINUS).await.unwrap();
        let waited = started.elapsed();
        report.batch_execute("COMMIT").await.unwrap();
        waited
    };
    let (applied, waited) = tokio::join!(migrate(&stack), served);
    assert_eq!(applied, json!(MIGRATIONS));
    assert!(waited < Duration::from_secs(3), "{waited:?}");
}

#[tokio::test]
async fn an_address_that_comes_in_at_the_last_moment_is_seen_after_all() {
    let stack = stack_on(OldSchema::Script.full().await).await;
    let old_service = stack.database.connect().await;
    old_service.batch_execute("BEGIN").await.unwrap();
    OldSchema::Script.signs_up(&old_service, OldUser { email: "ADA@EXAMPLE.COM", ..ADA }).await.unwrap();
    let at_the_last_moment = async {
        sleep(Duration::from_secs(1)).await;
        old_service.batch_execute("COMMIT").await.unwrap();
    };
    let payload = json!({});
    let (outcome, ()) = tokio::join!(stack.invoke("migrate", &payload), at_the_last_moment);
    let error = outcome.unwrap_err();
    assert_eq!(error["errorType"], "SharedAddresses");
    assert!(error["errorMessage"].as_str().unwrap().contains("ids 1 and 1013."), "{error}");
    assert!(!stack.logs().to_lowercase().contains("ada@example"), "{}", stack.logs());
}

#[tokio::test]
async fn whoever_never_lets_go_is_named() {
    let stack = stack_on(OldSchema::Script.full().await).await;
    let forgotten = stack.database.connect().await;
    forgotten.batch_execute("BEGIN; SELECT count(*) FROM users").await.unwrap();
    let process: i32 = forgotten.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);

    let message = assert_refused_unchanged(&stack, json!({}), "Busy").await;

    assert!(message.contains(&format!("users is locked by process {process}")), "{message}");
    forgotten.batch_execute("COMMIT").await.unwrap();
    assert_eq!(migrate(&stack).await, json!(MIGRATIONS));
}
