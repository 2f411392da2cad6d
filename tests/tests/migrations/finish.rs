//! The old service is gone for good.

use serde_json::{Value, json};
use tests::{Stack, database::TestDatabase};

use crate::{
    MIGRATIONS, assert_refused_unchanged, migrate,
    old_service::{OLD_SCHEMAS, OldSchema},
    stack_on,
};

async fn finish(stack: &Stack) -> Value {
    let report = stack.invoke("migrate", &json!({ "finish": true })).await.expect("this can be finished");
    assert_eq!((&report["schema_version"], &report["applied"]), (&json!(MIGRATIONS.len()), &json!([])));
    report["dropped"].clone()
}

#[tokio::test]
async fn finishing_drops_the_old_services_token_tables_and_nothing_else() {
    for form in OLD_SCHEMAS {
        let stack = stack_on(form.full().await).await;
        migrate(&stack).await;
        let users = "SELECT string_agg(u::text, ' ' ORDER BY id) FROM users u";
        let before = stack.sql_text(users).await;

        assert_eq!(finish(&stack).await, json!(["reset_tokens", "revoked_tokens", "refresh_tokens"]));

        let tables = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(
            stack.sql_text(tables).await,
            "outbox password_resets refinery_schema_history sessions throttle users"
        );
        assert!(stack.sql_text(users).await == before);
        assert_eq!(migrate(&stack).await, json!([]));
    }
}

#[tokio::test]
async fn finishing_again_finds_nothing_to_drop() {
    let stack = stack_on(OldSchema::Script.full().await).await;
    migrate(&stack).await;
    finish(&stack).await;
    assert_eq!(finish(&stack).await, json!([]));
}

#[tokio::test]
async fn a_database_that_was_never_the_old_services_has_nothing_to_drop() {
    let stack = Stack::start().await;
    assert_eq!(finish(&stack).await, json!([]));
}

#[tokio::test]
async fn finishing_comes_after_migrating() {
    for database in [TestDatabase::empty().await, OldSchema::Script.full().await, OldSchema::CreateAll.full().await] {
        let stack = stack_on(database).await;
        let message = assert_refused_unchanged(&stack, json!({ "finish": true }), "FinishBeforeMigrate").await;
        assert!(message.contains("run this with {} first"), "{message}");
    }
}

#[tokio::test]
async fn somebody_elses_table_is_not_dropped_and_neither_are_the_old_services() {
    for (change, difference) in [
        ("ALTER TABLE refresh_tokens ADD COLUMN device text", "the column device is not the old service's"),
        ("ALTER TABLE refresh_tokens DROP COLUMN expires_at", "the column expires_at is missing"),
        ("ALTER TABLE refresh_tokens ALTER COLUMN token TYPE text", "token is text"),
        ("DROP TABLE refresh_tokens; CREATE VIEW refresh_tokens AS SELECT 1 AS id", "it is a view"),
    ] {
        let stack = stack_on(OldSchema::CreateAll.full().await).await;
        migrate(&stack).await;
        stack.sql(change).await;
        let message = assert_refused_unchanged(&stack, json!({ "finish": true }), "NotTheOldServices").await;
        assert!(message.contains("refresh_tokens") && message.contains(difference), "{message}");
    }
}

#[tokio::test]
async fn a_view_that_somebody_built_on_an_old_table_is_theirs_to_drop() {
    let stack = stack_on(OldSchema::Script.full().await).await;
    migrate(&stack).await;
    stack.sql("CREATE VIEW devices AS SELECT user_id FROM refresh_tokens").await;
    let message = assert_refused_unchanged(&stack, json!({ "finish": true }), "Database").await;
    assert!(message.contains("view devices depends on table refresh_tokens"), "{message}");
}
