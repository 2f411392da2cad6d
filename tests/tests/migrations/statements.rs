//! The SQL statements of the functions, on a migrated database.

use shared::db::statements;
use tests::{Stack, walk_through};

/// Makes the schema of version 4 of the newest one.
const BACK_TO_VERSION_4: &str = "
    ALTER TABLE users ALTER COLUMN id TYPE integer;
    ALTER TABLE sessions ALTER COLUMN user_id TYPE integer;
    ALTER TABLE password_resets ALTER COLUMN user_id TYPE integer;
    ALTER TABLE outbox ALTER COLUMN user_id TYPE integer;
    ALTER SEQUENCE users_id_seq AS integer;
    DELETE FROM refinery_schema_history WHERE version > 4";

async fn prepare_all(stack: &Stack) {
    let client = stack.database.connect().await;
    for statement in statements() {
        let prepared = client.prepare_typed(statement.sql(), statement.types()).await;
        let prepared = prepared.unwrap_or_else(|problem| panic!("{problem:?}\n{}", statement.sql()));
        assert_eq!(prepared.params(), statement.types(), "{}", statement.sql());
    }
}

#[tokio::test]
async fn postgresql_accepts_every_statement_with_its_parameter_types() {
    let stack = Stack::start().await;
    prepare_all(&stack).await;
}

/// The code is deployed before the migration that widens user ids, so it must work on both schemas.
#[tokio::test]
async fn the_functions_work_before_and_after_user_ids_have_64_bits() {
    let stack = Stack::start().await;
    stack.sql(BACK_TO_VERSION_4).await;
    prepare_all(&stack).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    walk_through(&stack).await;

    stack.invoke("migrate", &serde_json::json!({})).await.expect("version 5 can be applied");
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200, "the session lives on");
    stack.sql("SELECT setval('users_id_seq', 5000000000)").await;
    let linus = stack.user("Linus").await;
    let tokens = linus.signs_in().await;
    assert_eq!(linus.dashboard(&tokens.access).await.status, 200);
    linus.refreshes(&tokens.refresh).await;
    assert_eq!(stack.sql_number("SELECT max(id) FROM users").await, 5_000_000_001);
}
