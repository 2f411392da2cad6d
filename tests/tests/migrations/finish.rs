//! `migrate` with `finish` drops the token tables of the old service.

use serde_json::{Value, json};
use tests::{Stack, database::TestDatabase};

use crate::{
    MIGRATIONS, TABLES, assert_refused_unchanged, migrate,
    old_service::{OLD_SCHEMAS, OldSchema},
    stack_on,
};

async fn finish(stack: &Stack) -> Value {
    let report = stack.invoke("migrate", &json!({ "finish": true })).await.expect("the migration can be finished");
    assert_eq!((&report["schema_version"], &report["applied"]), (&json!(MIGRATIONS.len()), &json!([])));
    report["dropped"].clone()
}

#[tokio::test]
async fn finishing_drops_the_old_services_token_tables_and_nothing_else() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        migrate(&stack).await;
        let users = "SELECT string_agg(u::text, ' ' ORDER BY id) FROM users u";
        let before = stack.sql_text(users).await;

        assert_eq!(finish(&stack).await, json!(["reset_tokens", "revoked_tokens", "refresh_tokens"]));

        let tables = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(stack.sql_text(tables).await, TABLES);
        assert!(stack.sql_text(users).await == before);
        assert_eq!(migrate(&stack).await, json!([]));
    }
}

#[tokio::test]
async fn finishing_again_finds_nothing_to_drop() {
    let stack = stack_on(OldSchema::Script.filled_database().await).await;
    migrate(&stack).await;
    finish(&stack).await;
    assert_eq!(finish(&stack).await, json!([]));
}

#[tokio::test]
async fn a_database_without_old_tables_has_nothing_to_drop() {
    let stack = Stack::start().await;
    assert_eq!(finish(&stack).await, json!([]));
}

#[tokio::test]
async fn finishing_before_migrating_is_refused() {
    for database in [
        TestDatabase::empty().await,
        OldSchema::Script.filled_database().await,
        OldSchema::CreateAll.filled_database().await,
    ] {
        let stack = stack_on(database).await;
        let message = assert_refused_unchanged(&stack, json!({ "finish": true }), "FinishBeforeMigrate").await;
        assert!(message.contains("run migrate with the payload {} first"), "{message}");
    }
}

#[tokio::test]
async fn if_one_token_table_differs_none_is_dropped() {
    for (change, difference) in [
        ("ALTER TABLE refresh_tokens ADD COLUMN device text", "the column device is not the old service's"),
        ("ALTER TABLE refresh_tokens DROP COLUMN expires_at", "the column expires_at is missing"),
        ("ALTER TABLE refresh_tokens ALTER COLUMN token TYPE text", "token is text"),
        ("DROP TABLE refresh_tokens; CREATE VIEW refresh_tokens AS SELECT 1 AS id", "it is a view"),
    ] {
        let stack = stack_on(OldSchema::CreateAll.filled_database().await).await;
        migrate(&stack).await;
        stack.sql(change).await;
        let message = assert_refused_unchanged(&stack, json!({ "finish": true }), "NotTheOldServices").await;
        assert!(message.contains("refresh_tokens") && message.contains(difference), "{message}");
    }
}

#[tokio::test]
async fn a_view_on_an_old_table_prevents_finishing() {
    let stack = stack_on(OldSchema::Script.filled_database().await).await;
    migrate(&stack).await;
    stack.sql("CREATE VIEW devices AS SELECT user_id FROM refresh_tokens").await;
    let message = assert_refused_unchanged(&stack, json!({ "finish": true }), "Database").await;
    assert!(message.contains("view devices depends on table refresh_tokens"), "{message}");
}
