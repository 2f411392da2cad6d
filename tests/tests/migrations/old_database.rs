//! Migration of the old service's database, while the old service still uses it.

use serde_json::json;
use tests::{Stack, documents};

use crate::{
    MIGRATIONS, migrate,
    old_service::{ADA, ADA_AND_GRACE_IDS, GRACE, LINUS, OLD_SCHEMAS, OLD_USER_COUNT, OldSchema},
    stack_on,
};

#[tokio::test]
async fn empty_tables_of_the_old_service_are_migrated() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.empty_database().await).await;
        assert_eq!(migrate(&stack).await, json!(MIGRATIONS));
        assert_eq!(migrate(&stack).await, json!([]));
    }
}

#[tokio::test]
async fn every_user_keeps_their_id_and_their_password() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        let users = "
            SELECT string_agg(concat_ws(' ', id, name, email, password, created_at), E'\\n' ORDER BY id) FROM users";
        let before = stack.sql_text(users).await;
        assert_eq!(migrate(&stack).await, json!(MIGRATIONS));
        assert!(stack.sql_text(users).await == before, "{schema:?}: the rows of users have changed");
        let at_version_1 = "SELECT count(*) FILTER (WHERE credential_version = 1) FROM users";
        assert_eq!(stack.sql_number(at_version_1).await, OLD_USER_COUNT);
    }
}

#[tokio::test]
async fn old_accounts_are_verified_only_if_the_operator_says_so() {
    for schema in OLD_SCHEMAS {
        for (payload, verified) in [(json!({}), 0), (json!({ "verified": true }), OLD_USER_COUNT)] {
            let stack = stack_on(schema.filled_database().await).await;
            stack.invoke("migrate", &payload).await.unwrap();
            assert_eq!(stack.sql_number("SELECT count(email_verified_at) FROM users").await, verified, "{payload}");
        }
    }
}

#[tokio::test]
async fn the_token_tables_of_the_old_service_are_not_changed() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        let tokens = "
            SELECT concat_ws(' ', (SELECT count(*) FROM reset_tokens), (SELECT count(*) FROM refresh_tokens),
                (SELECT count(*) FROM revoked_tokens))";
        migrate(&stack).await;
        assert_eq!(stack.sql_text(tokens).await, "1 1 1");
    }
}

#[tokio::test]
async fn taking_over_md_names_each_new_table_and_each_field_of_the_report() {
    let document = documents::read("docs/taking-over.md");
    let stack = stack_on(OLD_SCHEMAS[0].filled_database().await).await;
    let tables = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'";
    let before = stack.sql_text(tables).await;
    let report = stack.invoke("migrate", &json!({})).await.unwrap();
    let after = stack.sql_text(tables).await;
    for made in after.split(' ').filter(|table| !before.split(' ').any(|old| old == *table)) {
        assert!(document.contains(&format!("`{made}`")), "docs/taking-over.md does not name the table {made}");
    }
    for field in report.as_object().unwrap().keys() {
        assert_eq!(
            document.matches(&format!("\"{field}\":")).count(),
            2,
            "docs/taking-over.md must contain `\"{field}\":` twice: once in each of its two sample answers of `migrate`"
        );
    }
}

#[tokio::test]
async fn the_longest_allowed_address_fits() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        migrate(&stack).await;
        let address = format!("{}@{}.example.com", "a".repeat(64), "b".repeat(254 - 64 - 1 - 12));
        stack.sql(&format!("INSERT INTO users (name, email, password) VALUES ('Long', '{address}', '-')")).await;
        let stored = "SELECT octet_length(email)::bigint FROM users WHERE name = 'Long'";
        assert_eq!(stack.sql_number(stored).await, 254);
    }
}

#[tokio::test]
async fn old_users_sign_in_with_their_old_passwords() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        migrate(&stack).await;
        for (user, id) in [ADA, GRACE].into_iter().zip(ADA_AND_GRACE_IDS) {
            user.as_person(&stack).with_password("something else").tries_to_sign_in().await.assert_refused(
                401,
                "invalid_credentials",
                "Invalid credentials",
            );
            let tokens = user.as_person(&stack).with_email(&user.email.to_uppercase()).signs_in().await;
            let dashboard = user.as_person(&stack).dashboard(&tokens.access).await;
            assert_eq!(dashboard.json()["user"], json!({ "name": user.name, "email": user.email }));
            let newest_session = "SELECT user_id::bigint FROM sessions ORDER BY created_at DESC LIMIT 1";
            assert_eq!(stack.sql_number(newest_session).await, id);
            assert!(user.stored_hash(&stack).await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
            user.as_person(&stack).signs_in().await;
        }
    }
}

#[tokio::test]
async fn with_rehashing_off_the_old_service_can_still_read_every_hash() {
    for schema in OLD_SCHEMAS {
        let stack = Stack::builder()
            .with_unprepared_database(schema.filled_database().await)
            .with("PASSWORD_REHASH", "off")
            .start()
            .await;
        migrate(&stack).await;
        for user in [ADA, GRACE] {
            user.as_person(&stack).signs_in().await;
            assert_eq!(user.stored_hash(&stack).await, user.hash);
        }
    }
}

#[tokio::test]
async fn sign_ups_and_deletions_at_the_old_service_work_while_both_services_run() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        migrate(&stack).await;
        let old_service = stack.database.connect().await;

        schema.sign_up(&old_service, LINUS).await.expect("the old service's INSERT works");
        LINUS.as_person(&stack).signs_in().await;

        let ada = ADA.as_person(&stack);
        let tokens = ada.signs_in().await;
        stack.sql("INSERT INTO password_resets (user_id, token_hash, expires_at) VALUES (1, sha256('-'), now())").await;
        assert_eq!(schema.delete(&old_service, ADA).await.expect("the old service's DELETE works"), 1);
        ada.dashboard(&tokens.access).await.assert_refused(404, "user_not_found", "User not found");
        ada.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");
    }
}

#[tokio::test]
async fn both_services_draw_ids_from_the_same_sequence() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        migrate(&stack).await;
        let [_, last] = ADA_AND_GRACE_IDS;

        let margaret = stack.user("Margaret").await;
        let id_of = |email: &str| format!("SELECT id::bigint FROM users WHERE email = '{email}'");
        assert_eq!(stack.sql_number(&id_of(&margaret.email)).await, last + 1);
        assert_eq!(schema.sign_up(&stack.database.connect().await, LINUS).await.unwrap(), last + 2);
        assert_eq!(stack.sql_number("SELECT id::bigint FROM users ORDER BY id DESC LIMIT 1").await, last + 2);
    }
}

#[tokio::test]
async fn a_sequence_may_have_another_name() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        stack.sql("ALTER SEQUENCE users_id_seq RENAME TO \"People_id_seq\"").await;
        migrate(&stack).await;
        stack.user("Margaret").await;
    }
}

#[tokio::test]
async fn a_sequence_behind_the_ids_in_use_is_advanced() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        stack.sql("SELECT setval('users_id_seq', 3)").await;
        migrate(&stack).await;
        let margaret = stack.user("Margaret").await;
        let [_, last] = ADA_AND_GRACE_IDS;
        let id_of = format!("SELECT id::bigint FROM users WHERE email = '{}'", margaret.email);
        assert_eq!(stack.sql_number(&id_of).await, last + 1);
    }
}

#[tokio::test]
async fn the_address_of_an_old_user_cannot_be_taken_in_another_case() {
    for schema in OLD_SCHEMAS {
        let stack = stack_on(schema.filled_database().await).await;
        migrate(&stack).await;
        let impostor = stack.stranger("Impostor").with_email("ADA@EXAMPLE.COM");
        impostor.signs_up().await.assert_refused(400, "user_already_exists", "User already exists");

        // The old service compares addresses case-sensitively, so only the unique index refuses this address.
        let mut lower_case = ADA;
        lower_case.email = "ada@example.com";
        let refused = schema.sign_up(&stack.database.connect().await, lower_case).await.unwrap_err();
        assert_eq!(refused.as_db_error().and_then(|db| db.constraint()), Some("users_email_ascii_key"));
    }
}

/// docs/taking-over.md warns of this: the old service does not increment `credential_version`.
#[tokio::test]
async fn a_password_changed_at_the_old_service_ends_no_session_of_this_service() {
    let stack = stack_on(OldSchema::CreateAll.filled_database().await).await;
    migrate(&stack).await;
    let ada = ADA.as_person(&stack);
    let tokens = ada.signs_in().await;
    stack.sql(&format!("UPDATE users SET password = '{}' WHERE id = 1", LINUS.hash)).await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    ada.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");
    ada.with_password(LINUS.password).signs_in().await;
}

/// In the transaction of the migrations, a failure would roll them back, and all statements on a changed table would wait for the statistics.
#[tokio::test]
async fn migrations_stay_applied_if_the_statistics_of_a_table_cannot_be_collected() {
    let stack = stack_on(OldSchema::Script.filled_database().await).await;
    stack
        .sql(
            "CREATE FUNCTION refuse_statistics(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
                IF current_query() LIKE '%ANALYZE (SKIP_LOCKED)%' THEN RAISE 'no statistics today'; END IF;
                RETURN $1;
            END $$",
        )
        .await;
    stack.sql("CREATE INDEX refusing ON users (refuse_statistics(name))").await;
    assert_eq!(migrate(&stack).await, json!(MIGRATIONS));
    assert!(stack.log_of("migrate").contains("users: no statistics today"));
    // Those of the other tables are there.
    let analyzed = "SELECT count(*) FROM pg_class WHERE relname = 'sessions' AND reltuples >= 0";
    assert_eq!(stack.sql_number(analyzed).await, 1);
    assert_eq!(migrate(&stack).await, json!([]));
}
