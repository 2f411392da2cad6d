//! Every statement of a request finds its rows by an index, however many rows there are.

use std::collections::BTreeSet;

use reqwest::Method;
use rstest::rstest;
use tests::{PostgresProxy, Stack, Statement, Store, mailbox, walk_through};
use tokio_postgres::{SimpleQueryMessage, types::Type};

const MANY: &str = "
    INSERT INTO users (name, email, password) SELECT 'Many', 'many-' || n || '@example.com', '-' FROM generate_series(1, 20000) n;
    INSERT INTO sessions (id, user_id, credential_version, refresh_id, expires_at, source)
        SELECT gen_random_uuid(), id, 1, gen_random_uuid(), now() + interval '1 day', '192.0.2.1' FROM users;
    INSERT INTO session_endings (user_id, minimum_version) SELECT id, 2 FROM users;
    INSERT INTO password_resets (user_id, token_hash, expires_at)
        SELECT id, sha256(id::text::bytea), now() + interval '1 hour' FROM users ON CONFLICT DO NOTHING;
    INSERT INTO email_changes (user_id, email, credential_version, token_hash, expires_at)
        SELECT id, 'new-' || email, 1, sha256(id::text::bytea), now() + interval '1 hour' FROM users;
    INSERT INTO email_verifications (user_id, email, credential_version, token_hash, code_hash, code_expires_at, expires_at)
        SELECT id, email, 1, sha256(id::text::bytea), sha256(''), now(), now() + interval '1 hour' FROM users;
    INSERT INTO email_undos (id, user_id, email, token_hash, expires_at)
        SELECT gen_random_uuid(), id, email, sha256(id::text::bytea), now() + interval '1 hour' FROM users;
    INSERT INTO reserved_addresses (address, user_id, expires_at) SELECT 'old-' || email, id, now() + interval '1 hour' FROM users;
    INSERT INTO account_deletions (user_id, token_hash, erase_at) SELECT id, sha256(id::text::bytea), now() + interval '1 hour' FROM users;
    INSERT INTO throttle (key, attempts, expires_at)
        SELECT sha256(id::text::bytea), 1, now() + interval '1 hour' FROM users;
    INSERT INTO outbox (user_id, kind, id, due_at, expires_at)
        SELECT id, 'password_changed', gen_random_uuid(), now(), now() + interval '1 hour' FROM users ON CONFLICT DO NOTHING;
    SET plan_cache_mode = force_generic_plan;";

/// Changes the address of a new account, and undoes the change.
async fn changes_and_restores_the_address(stack: &Stack) {
    let (ada, new) = (stack.user("Ada").await, stack.stranger("Ada"));
    let access = ada.signs_in().await.access;
    assert_eq!(ada.requests_email_change(&access, &new.email).await.status, 202);
    let link = new.newest_mail(mailbox::EMAIL_CHANGE).await.token();
    assert_eq!(ada.changes_email(&link).await.status, 200);
    let undo = ada.newest_mail(mailbox::EMAIL_CHANGED).await.token();
    assert_eq!(ada.undoes_email_change(&undo).await.status, 200);
}

// Faults 17, 18.
#[rstest]
#[tokio::test]
async fn no_statement_of_a_request_scans_a_whole_table(
    // The second case is the state after an upgrade of PostgreSQL, which may lose the statistics.
    #[values("ANALYZE", "DELETE FROM pg_statistic; UPDATE pg_class SET reltuples = -1, relpages = 0")] statistics: &str,
) {
    let proxy = PostgresProxy::to_the_shared_server().await;
    let stack = Stack::builder().state_in(Store::PostgreSql).database_port(proxy.port).start().await;
    walk_through(&stack).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    assert_eq!(stack.with_token(Method::GET, "/api/example", &tokens.access).await.status, 200);
    // A throttled refresh runs another statement, which reads the waiting time.
    stack.sessions().set_refresh_count(60).await;
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 429);
    let deleted = stack.user("Bob").await;
    let link = deleted.deletes_account_with_mail(&deleted.signs_in().await.access, 1).await;
    assert_eq!(deleted.keeps_account(&link).await.status, 200);
    changes_and_restores_the_address(&stack).await;
    // With sessions and counters in DynamoDB, some requests run other statements.
    let with_table = Stack::builder().state_in(Store::DynamoDb).database_port(proxy.port).start().await;
    walk_through(&with_table).await;
    changes_and_restores_the_address(&with_table).await;
    let statements: BTreeSet<_> = proxy.statements().into_iter().collect();
    assert!(statements.len() >= 13, "{statements:#?}");

    let stack = Stack::start().await;
    let client = stack.database.connect().await;
    client.batch_execute(MANY).await.unwrap();
    client.batch_execute(statistics).await.unwrap();
    for Statement { sql, types } in statements {
        let names: Vec<_> = types.iter().map(|id| Type::from_oid(*id).unwrap().name().to_owned()).collect();
        let nothing = vec!["NULL"; names.len()].join(", ");
        client.batch_execute(&format!("PREPARE asked ({}) AS {sql}", names.join(", "))).await.unwrap();
        let plan = client.simple_query(&format!("EXPLAIN EXECUTE asked ({nothing})")).await.unwrap();
        client.batch_execute("DEALLOCATE asked").await.unwrap();
        let lines = plan.iter().filter_map(|line| match line {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let plan = lines.collect::<Vec<_>>().join("\n");
        assert!(!plan.contains("Seq Scan"), "{sql}\n{plan}");
    }
}
