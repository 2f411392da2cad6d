//! `migrate` on every kind of database: an empty one, a current one, and that of the old service with its accounts.

mod database_snapshot;
mod finish;
mod iam_login;
mod locks;
mod new_database;
mod old_database;
mod old_service;
mod refusals;
mod statements;

use serde_json::{Value, json};
use tests::{Stack, database::TestDatabase};

/// All migrations, in order.
const MIGRATIONS: [&str; 12] = [
    "V1__accounts_and_sessions",
    "V2__outbox",
    "V3__addresses_compared_by_ascii",
    "V4__sessions_by_source",
    "V5__user_ids_of_64_bits",
    "V6__session_endings",
    "V7__accounts",
    "V8__verified_addresses_changes_and_deletion",
    "V9__reset_tokens_of_one_address",
    "V10__second_factors",
    "V11__passkeys",
    "V12__indexes_of_earlier_code",
];

/// All tables of a migrated database.
const TABLES: &str = "account_deletions email_changes email_undos email_verifications factor_changes factor_undos mfa_tokens outbox passkeys \
    password_resets recovery_codes refinery_schema_history reserved_addresses session_endings sessions throttle totp used_challenges user_handles users";

/// A stack on a database that is not migrated.
async fn stack_on(database: TestDatabase) -> Stack {
    Stack::builder().with_unprepared_database(database).start().await
}

/// Invokes `migrate`, grants the functions' privileges, and returns the applied migrations.
async fn migrate(stack: &Stack) -> Value {
    let report = stack.invoke("migrate", &json!({})).await.expect("the database can be migrated");
    stack.database.grant().await;
    let migrations = MIGRATIONS.len() - report["postponed"].as_array().expect("a list").len();
    assert_eq!((&report["schema_version"], &report["dropped"]), (&json!(migrations), &json!([])));
    report["applied"].clone()
}

/// Asserts that `migrate` fails with an error of this type and leaves the database unchanged. Returns the error's message.
async fn assert_refused_unchanged(stack: &Stack, payload: Value, error_type: &str) -> String {
    let before = database_snapshot::take(&stack.database).await;
    let error = stack.invoke("migrate", &payload).await.expect_err("this is refused");
    assert_eq!(error["errorType"], error_type, "{error}");
    database_snapshot::assert_same(&before, &database_snapshot::take(&stack.database).await);
    error["errorMessage"].as_str().expect("a message").to_owned()
}
