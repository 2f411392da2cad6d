//! Databases that `migrate` refuses. Each refusal must leave every row, comment and table unchanged.

use serde_json::json;
use tests::{Stack, database::TestDatabase};

use crate::{
    MIGRATIONS, assert_refused_unchanged, migrate,
    old_service::{ADA, OLD_SCHEMAS, OldSchema, OldUser},
    stack_on,
};

#[tokio::test]
async fn a_users_table_that_differs_from_that_of_the_old_service() {
    for schema in OLD_SCHEMAS {
        for (change, difference) in [
            ("ALTER TABLE users DROP COLUMN password", "the column password is missing"),
            ("ALTER TABLE users RENAME COLUMN email TO mail", "the column email is missing"),
            ("ALTER TABLE users ALTER COLUMN id DROP DEFAULT", "id has no default"),
            ("ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE", "id is not the primary key"),
            ("ALTER TABLE users ALTER COLUMN id TYPE bigint", "id is bigint; expected integer"),
            ("ALTER TABLE users ALTER COLUMN name TYPE varchar(50)", "name is character varying(50)"),
            ("ALTER TABLE users ALTER COLUMN email TYPE text", "email is text"),
            ("ALTER TABLE users ALTER COLUMN email TYPE varchar(320)", "email is character varying(320)"),
            ("ALTER TABLE users ALTER COLUMN email DROP NOT NULL", "email may be NULL"),
            ("ALTER TABLE users ALTER COLUMN password TYPE varchar(170)", "password is character varying(170)"),
            ("ALTER TABLE users ALTER COLUMN created_at TYPE timestamptz", "created_at is timestamp with time zone"),
            (
                "ALTER TABLE users ADD COLUMN tenant int NOT NULL DEFAULT 1; ALTER TABLE users ALTER tenant DROP DEFAULT",
                "the column tenant is NOT NULL and has no default",
            ),
            ("ALTER TABLE users ADD COLUMN credential_version text", "credential_version already"),
        ] {
            let stack = stack_on(schema.filled_database().await).await;
            stack.sql(change).await;
            let message = assert_refused_unchanged(&stack, json!({}), "UsersNotRecognised").await;
            assert!(message.contains(difference), "{message}");
        }
    }
}

#[tokio::test]
async fn users_that_is_not_a_table() {
    for (users, kind) in [
        ("CREATE VIEW users AS SELECT 1 AS id", "a view"),
        ("CREATE MATERIALIZED VIEW users AS SELECT 1 AS id", "a materialized view"),
        ("CREATE TABLE users (id integer) PARTITION BY HASH (id)", "a partitioned table"),
        ("CREATE SEQUENCE users", "a sequence"),
    ] {
        let stack = stack_on(TestDatabase::empty().await).await;
        stack.sql(users).await;
        let message = assert_refused_unchanged(&stack, json!({}), "UsersNotRecognised").await;
        assert!(message.contains(&format!("it is {kind}")), "{message}");
    }
}

#[tokio::test]
async fn users_whose_addresses_differ_only_in_case_are_named_by_their_ids() {
    for schema in OLD_SCHEMAS {
        let database = schema.filled_database().await;
        let old_service = database.connect().await;
        for email in ["ADA@example.com", "ada@EXAMPLE.com", "Grace@Example.com"] {
            schema.sign_up(&old_service, OldUser { email, ..ADA }).await.unwrap();
        }
        let stack = stack_on(database).await;
        let message = assert_refused_unchanged(&stack, json!({}), "SharedAddresses").await;
        assert!(message.contains("ids 1 and 1013 and 1014, 1012 and 1015."), "{message}");
        assert!(!message.contains("@example") && !stack.logs().to_lowercase().contains("@example"));
    }
}

#[tokio::test]
async fn only_the_first_of_many_shared_addresses_are_named() {
    let database = OldSchema::Script.filled_database().await;
    let twins = "INSERT INTO users (name, email, password) SELECT name, upper(email), '-' FROM users WHERE id BETWEEN 100 AND 124";
    database.connect().await.batch_execute(twins).await.unwrap();
    let message = assert_refused_unchanged(&stack_on(database).await, json!({}), "SharedAddresses").await;
    assert!(
        message.contains("ids 100 and 1013, ") && message.contains("119 and 1032 and 5 more such groups."),
        "{message}"
    );
}

#[tokio::test]
async fn a_database_with_another_encoding_than_utf8() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let options = format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
        let stack = stack_on(TestDatabase::with_options(&options).await).await;
        let message = assert_refused_unchanged(&stack, json!({}), "NotUtf8").await;
        assert!(message.contains(encoding) && message.contains("ENCODING 'UTF8'"), "{message}");
    }
}

/// In a Turkish locale, `lower('INFO')` is not `info`.
const TURKISH: &str = "LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' ENCODING 'UTF8' TEMPLATE template0";

#[tokio::test]
async fn an_address_is_one_account_whatever_the_collation() {
    let stack = Stack::builder().with_database(TestDatabase::with_options(TURKISH).await).start().await;
    let info = stack.user("Info").await;
    let uppercase = info.with_email(&info.email.to_uppercase());
    uppercase.signs_up().await.assert_refused(400, "user_already_exists", "User already exists");
    uppercase.signs_in().await;
    for _ in 0..5 {
        assert_eq!(uppercase.with_password("wrong").tries_to_sign_in().await.status, 401);
    }
    assert_eq!(info.tries_to_sign_in().await.status, 429, "both spellings share one counter");
}

#[tokio::test]
async fn two_accounts_that_only_the_collation_distinguishes_are_named() {
    let stack = Stack::builder().with_database(TestDatabase::with_options(TURKISH).await).start().await;
    // Makes the migrations from V3 on pending again. V3 creates the index that compares addresses without the database's collation.
    stack
        .sql("DROP INDEX users_email_ascii_key; DELETE FROM refinery_schema_history WHERE version > 2;
            DROP INDEX sessions_user_id_source_idx;
            INSERT INTO users (name, email, password) VALUES ('a', 'INFO@example.com', '-'), ('b', 'info@example.com', '-')")
        .await;
    let message = assert_refused_unchanged(&stack, json!({}), "SharedAddresses").await;
    assert!(message.contains("ids 1 and 2."), "{message}");
}

#[tokio::test]
async fn a_schema_newer_than_the_function_knows() {
    let stack = Stack::start().await;
    let (newest, later) = (MIGRATIONS.len(), MIGRATIONS.len() + 1);
    let row = format!("INSERT INTO refinery_schema_history VALUES ({later}, 'later', '2030-01-01T00:00:00Z', '1')");
    stack.sql(&row).await;
    for payload in [json!({}), json!({ "finish": true })] {
        let message = assert_refused_unchanged(&stack, payload, "SchemaIsNewer").await;
        let expected = format!("version {later} and this function knows versions up to {newest}");
        assert!(message.contains(&expected), "{message}");
    }
}

/// A migration may drop another index that this one replaces. Without a migration to apply, the index does not matter.
#[tokio::test]
async fn an_index_that_postgresql_does_not_use() {
    let stack = Stack::start().await;
    stack
        .sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sessions_user_id_source_idx'::regclass")
        .await;
    assert_eq!(migrate(&stack).await, json!([]));
    stack.sql("DELETE FROM refinery_schema_history WHERE version = 12").await;
    let message = assert_refused_unchanged(&stack, json!({}), "InvalidIndexes").await;
    assert!(
        message.contains("sessions_user_id_source_idx") && message.contains("REINDEX INDEX CONCURRENTLY"),
        "{message}"
    );
    stack.sql("REINDEX INDEX CONCURRENTLY sessions_user_id_source_idx").await;
    assert_eq!(migrate(&stack).await, json!(["V12__indexes_of_earlier_code"]));
}

#[tokio::test]
async fn a_migration_that_was_changed_after_it_was_applied() {
    let stack = Stack::start().await;
    for (change, changed) in [
        ("checksum = '1' WHERE version = 12", "V12__indexes_of_earlier_code"),
        ("name = 'another_name' WHERE version = 3", "V3__another_name"),
        ("checksum = '1'", "V1__accounts_and_sessions"),
    ] {
        stack.sql(&format!("UPDATE refinery_schema_history SET {change}")).await;
        let message = assert_refused_unchanged(&stack, json!({}), "HistoryDiffers").await;
        assert!(message.contains(changed), "{message}");
    }
}

#[tokio::test]
async fn a_history_that_somebody_changed() {
    for change in [
        "UPDATE refinery_schema_history SET checksum = 'none'",
        "UPDATE refinery_schema_history SET checksum = NULL",
        "DELETE FROM refinery_schema_history",
        "DELETE FROM refinery_schema_history WHERE version = 5",
        "DELETE FROM refinery_schema_history WHERE version = 1",
        "INSERT INTO refinery_schema_history VALUES (0, 'earlier', '2026-01-01T00:00:00Z', '1')",
    ] {
        let stack = Stack::start().await;
        stack.sql(change).await;
        let message = assert_refused_unchanged(&stack, json!({}), "Database").await;
        assert!(message.contains("refinery_schema_history"), "{change}: {message}");
    }
}

#[tokio::test]
async fn a_database_in_which_a_needed_name_is_taken() {
    for (taken, what) in [
        ("CREATE TABLE sessions (id text, data bytea)", "a table named sessions"),
        ("CREATE TABLE session_endings (id text)", "a table named session_endings"),
        ("CREATE VIEW password_resets AS SELECT 1 AS id", "a view named password_resets"),
        ("CREATE INDEX users_email_lower_key ON users (lower(email))", "an index named users_email_lower_key"),
    ] {
        let stack = stack_on(OldSchema::CreateAll.filled_database().await).await;
        stack.sql(taken).await;
        let message = assert_refused_unchanged(&stack, json!({}), "NameTaken").await;
        assert!(message.contains(what), "{message}");
    }
}

#[tokio::test]
async fn users_in_another_schema_than_new_tables() {
    let stack = stack_on(OldSchema::Script.filled_database().await).await;
    let user = stack.sql_text("SELECT quote_ident(current_user)").await;
    stack.sql(&format!("CREATE SCHEMA {user}")).await;
    let message = assert_refused_unchanged(&stack, json!({}), "TwoSchemas").await;
    assert!(message.contains("users") && message.contains("search_path"), "{message}");
}

#[tokio::test]
async fn a_database_without_a_schema_for_new_tables() {
    let stack = stack_on(TestDatabase::empty().await).await;
    stack.sql("DROP SCHEMA public").await;
    let message = assert_refused_unchanged(&stack, json!({}), "NoSchema").await;
    assert!(message.contains("search_path"), "{message}");
}

#[tokio::test]
async fn a_view_that_prevents_widening_the_address_column() {
    let stack = stack_on(OldSchema::Script.filled_database().await).await;
    stack.sql("CREATE VIEW addresses AS SELECT email FROM users").await;
    let message = assert_refused_unchanged(&stack, json!({}), "Database").await;
    assert!(message.starts_with("V1__accounts_and_sessions.sql: "), "{message}");
    assert!(message.contains("view addresses depends on column \"email\""), "{message}");
}

#[tokio::test]
async fn an_invalid_payload() {
    let stack = stack_on(OldSchema::Script.filled_database().await).await;
    for payload in [
        json!(null),
        json!([]),
        json!([true]),
        json!("finish"),
        json!({ "finsh": true }),
        json!({ "finish": "yes" }),
        json!({ "finish": true, "verified": true }),
    ] {
        let message = assert_refused_unchanged(&stack, payload, "Payload").await;
        assert!(message.starts_with(r#"the payload must be {}, {"verified": true} or {"finish": true}"#), "{message}");
    }
}

#[tokio::test]
async fn accounts_that_were_taken_over_before_do_not_become_verified() {
    let stack = stack_on(OldSchema::Script.filled_database().await).await;
    stack.invoke("migrate", &json!({})).await.unwrap();
    assert_refused_unchanged(&stack, json!({ "verified": true }), "NothingToTakeOver").await;
    assert_eq!(stack.sql_number("SELECT count(email_verified_at) FROM users").await, 0);
}

#[tokio::test]
async fn verified_accounts_of_an_old_service_that_is_not_there() {
    let stack = stack_on(TestDatabase::empty().await).await;
    assert_refused_unchanged(&stack, json!({ "verified": true }), "NothingToTakeOver").await;
}

#[tokio::test]
async fn an_unreachable_database() {
    let nowhere = "postgres://ada:secret@127.0.0.1:1/away";
    let stack = Stack::builder()
        .with_unprepared_database(TestDatabase::empty().await)
        .with("DATABASE_URL", nowhere)
        .start()
        .await;
    let error = stack.invoke("migrate", &json!({})).await.unwrap_err();
    assert_eq!(error["errorType"], "Unreachable");
    assert!(!error.to_string().contains("secret"), "{error}");
}
