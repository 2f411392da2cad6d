//! The SQL statements of the functions, on a migrated database.

use serde_json::json;
use shared::db::statements;
use tests::{Stack, Store::PostgreSql, walk_through};

use crate::{MIGRATIONS, migrate};

/// Changes the newest schema back to that of version 4.
const BACK_TO_VERSION_4: &str = "
    ALTER TABLE users ALTER COLUMN id TYPE integer;
    ALTER TABLE sessions ALTER COLUMN user_id TYPE integer;
    ALTER TABLE password_resets ALTER COLUMN user_id TYPE integer;
    ALTER TABLE outbox ALTER COLUMN user_id TYPE integer;
    ALTER SEQUENCE users_id_seq AS integer;
    DROP TABLE session_endings, email_verifications, email_changes, email_undos, reserved_addresses, account_deletions;
    DROP TABLE totp, recovery_codes, mfa_tokens, factor_undos, factor_changes, user_handles, passkeys, used_challenges;
    ALTER TABLE outbox DROP COLUMN recipient;
    ALTER TABLE password_resets DROP COLUMN redeemed_at, DROP COLUMN email, DROP COLUMN credential_version;
    ALTER TABLE users DROP COLUMN locale, DROP COLUMN email_verified_at;
    ALTER TABLE sessions DROP COLUMN auth_time, DROP COLUMN user_agent, DROP COLUMN amr;
    CREATE INDEX sessions_user_id_idx ON sessions (user_id);
    CREATE UNIQUE INDEX users_email_lower_key ON users (lower(email));
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

/// Function processes that started before `migrate` must serve requests after it, too.
#[tokio::test]
async fn migrate_widens_the_user_ids_of_a_database_in_use() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack.sql(BACK_TO_VERSION_4).await;
    assert_eq!(migrate(&stack).await, json!(MIGRATIONS[4..]));
    prepare_all(&stack).await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200, "the session is still live");
    walk_through(&stack).await;

    stack.sql("SELECT setval('users_id_seq', 5000000000)").await;
    let linus = stack.user("Linus").await;
    let tokens = linus.signs_in().await;
    assert_eq!(linus.dashboard(&tokens.access).await.status, 200);
    assert_eq!(linus.refreshes(&tokens.refresh).await.status, 200);
    assert_eq!(stack.sql_number("SELECT max(id) FROM users").await, 5_000_000_001);
}
