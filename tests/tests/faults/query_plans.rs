//! Every statement of a request finds its rows by an index, however many rows there are.

use rstest::rstest;
use shared::db;
use tests::Stack;
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
    INSERT INTO totp (user_id, factor_id, secret, key_id, session_id, confirmed_at, expires_at)
        SELECT id, gen_random_uuid(), sha256(id::text::bytea), 'key', gen_random_uuid(), now(), 'infinity' FROM users;
    INSERT INTO recovery_codes (user_id, number, code_hash) SELECT id, number, sha256(id::text::bytea) FROM users, generate_series(1, 10) AS number;
    INSERT INTO mfa_tokens (token_hash, user_id, credential_version, expires_at)
        SELECT sha256(id::text::bytea), id, 1, now() + interval '1 hour' FROM users;
    INSERT INTO factor_undos (factor_id, user_id, token_hash, expires_at)
        SELECT gen_random_uuid(), id, sha256(id::text::bytea), now() + interval '1 hour' FROM users;
    INSERT INTO factor_changes (id, user_id, expires_at) SELECT gen_random_uuid(), id, now() + interval '1 hour' FROM users;
    INSERT INTO user_handles (user_id, handle) SELECT id, sha256(id::text::bytea) FROM users;
    INSERT INTO passkeys (factor_id, user_id, name, credential_id, public_key, rp_id, sign_count, backup_eligible, backed_up, transports)
        SELECT gen_random_uuid(), id, '', sha256(id::text::bytea), '', 'example.com', 0, false, false, '{}' FROM users;
    INSERT INTO used_challenges (challenge, expires_at) SELECT sha256(id::text::bytea), now() + interval '1 hour' FROM users;
    INSERT INTO throttle (key, attempts, expires_at)
        SELECT sha256(id::text::bytea), 1, now() + interval '1 hour' FROM users;
    INSERT INTO outbox (user_id, kind, id, due_at, expires_at)
        SELECT id, 'password_changed', gen_random_uuid(), now(), now() + interval '1 hour' FROM users ON CONFLICT DO NOTHING;
    SET plan_cache_mode = force_generic_plan;";

// Faults 17, 18.
#[rstest]
#[tokio::test]
async fn no_statement_of_a_request_scans_a_whole_table(
    // The second case is the state after an upgrade of PostgreSQL, which may lose the statistics.
    #[values("ANALYZE", "DELETE FROM pg_statistic; UPDATE pg_class SET reltuples = -1, relpages = 0")] statistics: &str,
) {
    let stack = Stack::start().await;
    let client = stack.database.connect().await;
    client.batch_execute(MANY).await.unwrap();
    client.batch_execute(statistics).await.unwrap();
    for statement in db::statements() {
        let sql = statement.sql();
        // `sweep` counts rows, and reads batches of a limited size.
        let words: Vec<_> = sql.split_whitespace().collect();
        if statement.types().is_empty() || words.windows(2).any(|pair| pair == ["LIMIT", "$1"]) {
            continue;
        }
        let types: Vec<_> = statement.types().iter().map(Type::name).collect();
        client.batch_execute(&format!("PREPARE asked ({}) AS {sql}", types.join(", "))).await.unwrap();
        let nothing = vec!["NULL"; types.len()].join(", ");
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
