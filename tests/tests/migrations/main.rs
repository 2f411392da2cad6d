//! `migrate`, on every kind of database it may meet: an empty one, one that is current, and the old service's, full of people.

mod database_snapshot;
mod finish;
mod locks;
mod new_database;
mod old_database;
mod old_service;
mod refusals;

use serde_json::{Value, json};
use tests::{Stack, database::TestDatabase};

/// The migrations there are.
const MIGRATIONS: [&str; 4] =
    ["V1__accounts_and_sessions", "V2__outbox", "V3__addresses_compared_by_ascii", "V4__sessions_by_source"];

/// A stack on a database that no migration has seen.
async fn stack_on(database: TestDatabase) -> Stack {
    Stack::builder().with_unprepared_database(database).start().await
}

/// Migrates, lets the functions in, and says what was applied.
async fn migrate(stack: &Stack) -> Value {
    let report = stack.invoke("migrate", &json!({})).await.expect("the database can be migrated");
    stack.database.grant().await;
    assert_eq!((&report["schema_version"], &report["dropped"]), (&json!(MIGRATIONS.len()), &json!([])));
    report["applied"].clone()
}

/// Invokes `migrate`, expects an error of that type, and that the database is as it was. Gives the message.
async fn assert_refused_unchanged(stack: &Stack, payload: Value, error_type: &str) -> String {
    let before = database_snapshot::take(&stack.database).await;
    let error = stack.invoke("migrate", &payload).await.expect_err("this is refused");
    assert_eq!(error["errorType"], error_type, "{error}");
    database_snapshot::assert_same(&before, &database_snapshot::take(&stack.database).await);
    error["errorMessage"].as_str().expect("a message").to_owned()
}
