//! Databases that the old service has not used.

use serde_json::json;
use tests::{Stack, database::TestDatabase};

use crate::{MIGRATIONS, TABLES, database_snapshot, migrate, stack_on};

#[tokio::test]
async fn an_empty_database_is_brought_to_the_newest_version() {
    let stack = stack_on(TestDatabase::empty().await).await;
    assert_eq!(migrate(&stack).await, json!(MIGRATIONS));
    let tables = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(stack.sql_text(tables).await, TABLES);
}

/// Earlier releases of `migrate` refuse a history with a time in another format than that of RFC 3339.
#[tokio::test]
async fn the_history_records_when_each_migration_was_applied() {
    let stack = stack_on(TestDatabase::empty().await).await;
    stack.sql(&format!("ALTER DATABASE {} SET timezone = 'Asia/Tokyo'", stack.database.name())).await;
    migrate(&stack).await;
    let recorded = r"SELECT count(*) FROM refinery_schema_history
        WHERE applied_on ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.]\d{6}Z$' AND applied_on::timestamptz BETWEEN now() - interval '1 hour' AND now()";
    assert_eq!(usize::try_from(stack.sql_number(recorded).await), Ok(MIGRATIONS.len()));
}

#[tokio::test]
async fn a_current_database_is_not_changed() {
    let stack = Stack::start().await;
    let before = database_snapshot::take(&stack.database).await;
    assert_eq!(migrate(&stack).await, json!([]));
    assert_eq!(migrate(&stack).await, json!([]));
    assert_eq!(database_snapshot::take(&stack.database).await, before);
}

#[tokio::test]
async fn a_database_of_version_1_is_migrated_with_its_accounts_and_sessions() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack
        .sql(
            "DROP TABLE outbox, session_endings, email_verifications, email_changes, email_undos, reserved_addresses, account_deletions;
            DROP TABLE totp, recovery_codes, mfa_tokens, factor_undos, factor_changes, user_handles, passkeys, used_challenges;
            ALTER TABLE password_resets DROP COLUMN redeemed_at, DROP COLUMN email, DROP COLUMN credential_version;
            DROP INDEX password_resets_expires_at_idx;
            DROP INDEX users_email_ascii_key;
            DROP INDEX sessions_user_id_source_idx;
            CREATE INDEX sessions_user_id_idx ON sessions (user_id);
            CREATE UNIQUE INDEX users_email_lower_key ON users (lower(email));
            ALTER TABLE users DROP COLUMN locale, DROP COLUMN email_verified_at;
            ALTER TABLE sessions DROP COLUMN auth_time, DROP COLUMN user_agent, DROP COLUMN amr;
            DELETE FROM refinery_schema_history WHERE version > 1",
        )
        .await;
    assert_eq!(migrate(&stack).await, json!(MIGRATIONS[1..]));
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    let token = ada.receives_reset_mail(1).await.token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
}

#[tokio::test]
async fn sweep_does_nothing_before_the_first_migrate() {
    // First without tables, then without the functions' role as well.
    let stack = stack_on(TestDatabase::empty().await).await;
    assert_eq!(stack.sweep().await["mails_owed"], 0);
    assert!(stack.log_of("sweep").contains("invoke migrate first") && stack.log_of("sweep").contains("swept"));
    let database = TestDatabase::empty().await;
    let nobody = database.functions_url().replace("postgres://test_", "postgres://nobody_");
    let stack =
        Stack::builder().with_unprepared_database(database).with_for("sweep", "DATABASE_URL", &nobody).start().await;
    assert_eq!(stack.sweep().await["mails_owed"], 0);
    assert_eq!(migrate(&stack).await, json!(MIGRATIONS));
}

// Requirement 43.
#[tokio::test]
async fn migrate_creates_the_functions_role_with_the_privileges_it_needs_and_no_more() {
    let database = TestDatabase::empty().await;
    let role = database.role_to_create();
    let stack = Stack::builder().with_unprepared_database(database).with("FUNCTIONS_ROLE", &role).start().await;
    for applied in [json!(MIGRATIONS), json!([])] {
        let report = stack.invoke("migrate", &json!({})).await.expect("migrate can run again");
        assert_eq!((&report["applied"], &report["granted_to"]), (&applied, &json!(role)));
    }
    let may = |what: &str| format!("SELECT has_{what}::int::bigint");
    for (what, expected) in [
        (format!("table_privilege('{role}', 'sessions', 'DELETE')"), 1),
        (format!("table_privilege('{role}', 'outbox', 'INSERT')"), 1),
        (format!("table_privilege('{role}', 'users', 'SELECT')"), 1),
        (format!("table_privilege('{role}', 'users', 'DELETE')"), 1),
        (format!("column_privilege('{role}', 'users', 'id', 'UPDATE')"), 0),
        (format!("column_privilege('{role}', 'users', 'email', 'UPDATE')"), 1),
        (format!("column_privilege('{role}', 'users', 'email_verified_at', 'UPDATE')"), 1),
        (format!("column_privilege('{role}', 'users', 'name', 'UPDATE')"), 1),
        (format!("column_privilege('{role}', 'users', 'locale', 'INSERT')"), 1),
        (format!("schema_privilege('{role}', 'public', 'CREATE')"), 0),
    ] {
        assert_eq!(stack.sql_number(&may(&what)).await, expected, "{what}");
    }
    let logs_in = format!("SELECT rolcanlogin::int::bigint FROM pg_roles WHERE rolname = '{role}'");
    assert_eq!(stack.sql_number(&logs_in).await, 1);
}

/// An upgrade to another major version may lose the statistics.
#[tokio::test]
async fn migrate_collects_statistics_and_does_not_wait_for_a_locked_table() {
    let stack = Stack::start().await;
    stack.user("Ada").await;
    let mut owner = stack.database.connect().await;
    let lock = owner.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    let analyzed = "SELECT count(*) FROM pg_stats WHERE tablename = 'users'";
    for (expected, lock) in [(0, Some(lock)), (8, None)] {
        migrate(&stack).await;
        assert_eq!(stack.sql_number(analyzed).await, expected);
        drop(lock);
    }
}

#[tokio::test]
async fn created_at_is_in_utc_whatever_the_time_zone_of_the_session() {
    let stack = Stack::start().await;
    stack.sql("SET TIME ZONE 'Asia/Tokyo'; INSERT INTO users (name, email, password) VALUES ('Ada', 'ada@example.com', '-')").await;
    let age = "SELECT extract(epoch FROM (now() AT TIME ZONE 'utc') - created_at)::bigint FROM users";
    assert_eq!(stack.sql_number(age).await, 0);
}

#[tokio::test]
async fn two_accounts_cannot_have_addresses_that_differ_only_in_case() {
    let stack = Stack::start().await;
    let client = stack.database.connect().await;
    let insert = "INSERT INTO users (name, email, password) VALUES ('Ada', $1, '-')";
    client.execute(insert, &[&"Ada@Example.com"]).await.unwrap();
    let refused = client.execute(insert, &[&"aDA@eXAMPLE.COM"]).await.unwrap_err();
    assert_eq!(refused.as_db_error().and_then(|db| db.constraint()), Some("users_email_ascii_key"));
}

/// PostgreSQL can use the longer index instead, and every change of a row would write to both.
#[tokio::test]
async fn no_index_has_only_the_first_columns_of_another() {
    let stack = Stack::start().await;
    let redundant = "
        SELECT coalesce(string_agg(shorter.indexrelid::regclass::text, ' '), '')
        FROM pg_index shorter JOIN pg_index longer USING (indrelid) JOIN pg_class c ON c.oid = indrelid
        WHERE c.relnamespace = 'public'::regnamespace AND NOT shorter.indisunique AND shorter.indexprs IS NULL AND longer.indpred IS NULL
            AND shorter.indexrelid <> longer.indexrelid AND longer.indkey::text || ' ' LIKE shorter.indkey::text || ' %'";
    assert_eq!(stack.sql_text(redundant).await, "");
}

#[tokio::test]
async fn every_table_and_every_column_has_a_comment() {
    let stack = Stack::start().await;
    let uncommented = "
        SELECT coalesce(string_agg(concat_ws('.', c.relname, a.attname), ' '), '')
        FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'refinery_schema_history'
            AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL)";
    assert_eq!(stack.sql_text(uncommented).await, "");
}

/// Refreshes are the most frequent updates. They must be HOT updates, which write no index entries.
#[tokio::test]
async fn a_refresh_updates_no_index() {
    let stack = Stack::start().await;
    let mut client = stack.database.connect().await;
    let five_hundred_sessions = "
        INSERT INTO users (name, email, password) VALUES ('Ada', 'ada@example.com', '-');
        INSERT INTO sessions (id, user_id, credential_version, refresh_id, expires_at)
        SELECT gen_random_uuid(), 1, 1, gen_random_uuid(), now() + interval '7 days' FROM generate_series(1, 500)";
    client.batch_execute(five_hundred_sessions).await.unwrap();

    let transaction = client.transaction().await.unwrap();
    let refresh_one_in_ten = "
        UPDATE sessions SET previous_refresh_id = refresh_id, refresh_id = gen_random_uuid(), refreshed_at = now()
        WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER (ORDER BY ctid) AS nth FROM sessions) s WHERE nth % 10 = 0)";
    assert_eq!(transaction.execute(refresh_one_in_ten, &[]).await.unwrap(), 50);
    let updates = "SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'sessions'";
    assert_eq!(transaction.query_one(updates, &[]).await.unwrap().get::<_, i64>(0), 50);
}
