//! `sweep`: it sends the mails that SES has not accepted yet, erases deleted accounts, and deletes expired rows.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;
use shared::security::LinkToken;
use tests::{
    Person, Ses,
    SesHealth::*,
    Stack, StackBuilder,
    Store::{self, DynamoDb, PostgreSql},
    mailbox,
};

/// A stack that sends its mails through this SES.
async fn stack_with(ses: &Ses) -> Stack {
    builder(ses).start().await
}

fn builder(ses: &Ses) -> StackBuilder {
    Stack::builder().with("AWS_ENDPOINT_URL_SES", &ses.endpoint)
}

async fn pending_mails(stack: &Stack) -> i64 {
    stack.sql_number("SELECT count(*) FROM outbox").await
}

/// Requests a link, and asserts that the answer and its duration do not reveal whether the address has an account or SES fails.
async fn assert_usual_answer(person: &Person<'_>) {
    let reply = person.forgets_password().await;
    reply.assert_ok(&json!({ "message": "Password reset email sent" }));
    let took = reply.took;
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn an_accepted_mail_leaves_the_outbox() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.token();
    assert_eq!(pending_mails(&stack).await, 0);
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    ada.mails(2).await;
    assert_eq!(pending_mails(&stack).await, 0, "the notice left the outbox too");
}

#[tokio::test]
async fn every_mail_names_the_configuration_set_if_there_is_one() {
    for set in ["jwt-auth-mails", ""] {
        let ses = Ses::new().await;
        let stack = builder(&ses).with("MAIL_CONFIGURATION_SET", set).start().await;
        let ada = stack.user("Ada").await;
        let token = ada.receives_reset_mail(1).await.token();
        ada.resets_password(&token, "another password").await;
        stack.sql("DELETE FROM throttle").await;
        ses.set_health(Throttled);
        ada.forgets_password().await;
        ses.set_health(Healthy);
        stack.make_mails_due().await;
        assert_eq!(stack.sweep().await["mails_sent"], 1);
        let requests = ses.requests();
        assert_eq!(requests.len(), 4, "a link, the notice, a refused link and its second attempt");
        for mail in requests {
            let named = mail.split('&').find_map(|field| field.strip_prefix("ConfigurationSetName="));
            assert_eq!(named.unwrap_or_default(), set, "{mail}");
        }
    }
}

#[tokio::test]
async fn the_next_sweep_sends_a_failed_reset_mail_with_a_new_token() {
    let ses = Ses::new().await;
    let stack = stack_with(&ses).await;
    let ada = stack.user("Ada").await;
    stack.stranger("Nobody").forgets_password().await; // The first request starts the process and takes longer.
    for health in [Throttled, Paused, Hanging] {
        ses.set_health(health);
        stack.sql("DELETE FROM throttle").await;
        assert_usual_answer(&ada).await;
        assert_usual_answer(&stack.stranger("Nobody")).await;
        assert_eq!(pending_mails(&stack).await, 1, "{health:?}");
        assert!(ada.mails(0).await.is_empty());
    }
    assert_eq!(stack.sweep().await["mails_sent"], 0, "not due yet");
    let first_hash = stack.sql_text("SELECT encode(token_hash, 'hex') FROM password_resets").await;

    ses.set_health(Healthy);
    stack.make_mails_due().await;
    let report = stack.sweep().await;
    assert_eq!((&report["mails_sent"], &report["mails_owed"]), (&json!(1), &json!(0)));
    let mail = ada.mails(1).await.pop().unwrap();
    assert!(mail.link().starts_with(&format!("{}/reset-password/", stack.base_url)));
    let mailed_hash = stack.sql_text("SELECT encode(token_hash, 'hex') FROM password_resets").await;
    assert_ne!(first_hash, mailed_hash, "the mail contains a new token");
    assert_eq!(ada.resets_password(&mail.token(), "another password").await.status, 200);
}

#[tokio::test]
async fn a_mail_that_ses_rejects_leaves_the_outbox() {
    let ses = Ses::new().await;
    let stack = stack_with(&ses).await;
    let ada = stack.user("Ada").await;
    ses.set_health(Rejecting);
    assert_usual_answer(&ada).await;
    assert_usual_answer(&stack.stranger("Nobody")).await;
    assert_eq!(pending_mails(&stack).await, 0, "the request itself deleted the mail");
    let log = stack.log_of("forgot-password");
    assert!(
        log.contains("MessageRejected") && log.contains("is not tried again") && !log.contains(&ada.email),
        "{log}"
    );

    ses.set_health(Throttled);
    ada.forgets_password().await;
    ses.set_health(Rejecting);
    stack.make_mails_due().await;
    let report = stack.sweep().await;
    let counted = ["mails_refused", "mails_failed", "mails_sent", "mails_owed"].map(|name| report[name].clone());
    assert_eq!(counted, [json!(1), json!(0), json!(0), json!(0)]);
    // When SES accepts mails again, the next request is served.
    ses.set_health(Healthy);
    let token = ada.receives_reset_mail(1).await.token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
}

#[tokio::test]
async fn the_next_sweep_sends_a_failed_notice() {
    let ses = Ses::new().await;
    let stack = stack_with(&ses).await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.token();
    ses.set_health(Throttled);
    let reset = ada.resets_password(&token, "another password").await;
    reset.assert_ok(&json!({ "message": "Password reset successful" }));
    assert_eq!(pending_mails(&stack).await, 1);
    ses.set_health(Healthy);
    stack.make_mails_due().await;
    stack.sweep().await;
    assert_eq!(ada.mails(2).await[1].subject, mailbox::PASSWORD_CHANGED);
    assert_eq!(pending_mails(&stack).await, 0);
}

#[tokio::test]
async fn attempts_back_off_and_stop_when_the_link_would_have_expired() {
    let ses = Ses::new().await;
    let stack = stack_with(&ses).await;
    let ada = stack.user("Ada").await;
    ses.set_health(Throttled);
    ada.forgets_password().await;
    let until_due = "SELECT ceil(extract(epoch FROM due_at - now()))::bigint FROM outbox";
    assert!((1..=30).contains(&stack.sql_number(until_due).await));
    for (attempt, wait) in [(2, 30), (3, 60), (4, 120), (5, 240), (6, 480), (7, 600), (8, 600)] {
        stack.make_mails_due().await;
        let report = stack.sweep().await;
        assert_eq!((&report["mails_failed"], &report["mails_owed"]), (&json!(1), &json!(1)));
        assert_eq!(stack.sql_number("SELECT attempts::bigint FROM outbox").await, attempt);
        let until_due = stack.sql_number(until_due).await;
        assert!((wait * 3 / 4 - 5..=wait * 5 / 4 + 1).contains(&until_due), "{attempt}: {until_due} s");
    }
    stack.sql("UPDATE outbox SET due_at = now(), expires_at = now()").await;
    ses.set_health(Healthy);
    let report = stack.sweep().await;
    assert_eq!((&report["mails_sent"], &report["mails_given_up"]), (&json!(0), &json!(1)));
    assert!(ada.mails(0).await.is_empty());
    assert!(stack.log_of("sweep").contains("mails expired before they could be sent"));
}

#[tokio::test]
async fn no_link_is_sent_after_the_password_was_reset() {
    let ses = Ses::new().await;
    let stack = stack_with(&ses).await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.token();
    // As if the function had stopped between sending the mail and deleting it from the outbox.
    stack
        .sql("INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at) SELECT id, 'password_reset', gen_random_uuid(), 'https://example.com', now(), now() + interval '1 hour' FROM users")
        .await;
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    ada.mails(2).await;
    let report = stack.sweep().await;
    assert_eq!(
        (&report["mails_owed"], &report["mails_sent"], &report["mails_void"]),
        (&json!(0), &json!(0), &json!(1))
    );
    assert_eq!(ada.mails(2).await.len(), 2);
}

#[tokio::test]
async fn a_newer_request_replaces_the_pending_mail() {
    let ses = Ses::new().await;
    let stack = stack_with(&ses).await;
    let ada = stack.user("Ada").await;
    ses.set_health(Throttled);
    ada.forgets_password().await;
    ses.set_health(Healthy);
    let token = ada.receives_reset_mail(1).await.token();
    assert_eq!(pending_mails(&stack).await, 0);
    stack.make_mails_due().await;
    stack.sweep().await;
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200, "the only link works");
}

// Fault 13.
/// A schedule may invoke a function twice, and Lambda repeats a failed invocation.
#[tokio::test]
async fn concurrent_sweeps_send_each_mail_once() {
    let ses = Ses::new().await;
    let stack = builder(&ses).processes(8).start().await;
    ses.set_health(Throttled);
    let people = join_all((0..12).map(|_| stack.user("Ada"))).await;
    join_all(people.iter().map(Person::forgets_password)).await;
    assert_eq!(pending_mails(&stack).await, 12);
    ses.set_health(Healthy);
    stack.make_mails_due().await;
    let sweeps = join_all((0..8).map(|_| stack.sweep())).await;
    let sent: i64 = sweeps.iter().map(|report| report["mails_sent"].as_i64().unwrap()).sum();
    assert_eq!(sent, 12);
    for person in &people {
        let token = person.mails(1).await[0].token();
        assert_eq!(person.resets_password(&token, "another password").await.status, 200);
    }
}

#[tokio::test]
async fn a_sweep_deletes_only_what_has_expired() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let (ada, grace) = (stack.user("Ada").await, stack.user("Grace").await);
    let (old, live) = (ada.signs_in().await, grace.signs_in().await);
    ada.receives_reset_mail(1).await;
    let token = grace.receives_reset_mail(1).await.token();
    let of_ada = "WHERE user_id = (SELECT min(id) FROM users)";
    for table in ["sessions", "password_resets"] {
        stack.sql(&format!("UPDATE {table} SET expires_at = now() {of_ada}")).await;
    }
    stack
        .sql("INSERT INTO throttle SELECT sha256(n::text::bytea), 1, NULL, now() FROM generate_series(1, 2500) n")
        .await;
    let counters = stack.sql_number("SELECT count(*) FROM throttle WHERE expires_at > now()").await;

    let report = stack.sweep().await;
    let deleted = ["sessions_deleted", "password_resets_deleted", "counters_deleted"].map(|name| report[name].clone());
    assert_eq!(deleted, [json!(1), json!(1), json!(2500)]);
    assert_eq!(stack.sql_number("SELECT count(*) FROM throttle").await, counters);
    ada.refreshes(&old.refresh).await.assert_refused(401, "invalid_refresh_token", "Invalid or expired refresh token");
    assert_eq!(grace.refreshes(&live.refresh).await.status, 200);
    assert_eq!(grace.resets_password(&token, "another password").await.status, 200);
}

#[tokio::test]
async fn a_sweep_skips_locked_rows() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = stack.user("Ada").await;
    ada.signs_in().await;
    stack.sql("UPDATE sessions SET expires_at = now()").await;
    let mut request = stack.database.connect().await;
    let held = request.transaction().await.unwrap();
    held.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    assert_eq!(stack.sweep().await["sessions_deleted"], 0, "the row is locked");
    held.rollback().await.unwrap();
    assert_eq!(stack.sweep().await["sessions_deleted"], 1);
}

/// Writes a mail of each kind that has a link, except the reset mail, and what its link needs.
const MAILS_WITH_LINKS: &str = "
    INSERT INTO email_verifications (user_id, email, credential_version, token_hash, code_hash, code_tries, code_expires_at, expires_at)
    SELECT id, email, credential_version, sha256('1'), sha256('1'), 5, now(), now() FROM users;
    INSERT INTO email_changes (user_id, email, credential_version, token_hash, expires_at)
    SELECT id, 'new.' || email, credential_version, sha256('2'), now() + interval '1 hour' FROM users;
    INSERT INTO email_undos (id, user_id, email, token_hash, expires_at)
    SELECT '00000000-0000-4000-8000-000000000001', id, 'old.' || email, sha256('3'), now() + interval '1 hour' FROM users;
    INSERT INTO account_deletions (user_id, token_hash, erase_at) SELECT id, sha256('4'), '2030-01-02 03:04:05+00' FROM users;
    INSERT INTO outbox (user_id, kind, id, page, recipient, due_at, expires_at)
    SELECT users.id, kind, gen_random_uuid(), 'https://auth.example.com/page', prefix || email, now(), now() + interval '1 hour'
    FROM users, (VALUES ('verification', NULL), ('email_change', 'new.'), ('email_changed 00000000-0000-4000-8000-000000000001', 'old.'),
        ('account_deleted', NULL)) AS mails (kind, prefix)";

#[tokio::test]
async fn each_link_of_a_mail_that_sweep_sends_is_new_and_goes_to_its_recipient() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    stack.sql(MAILS_WITH_LINKS).await;
    let notices = "
        INSERT INTO outbox (user_id, kind, id, recipient, due_at, expires_at)
        SELECT users.id, kind, gen_random_uuid(), 'notices.' || email, now(), now() + interval '1 hour'
        FROM users, unnest(ARRAY['sign_up_attempted', 'email_change_requested', 'email_restored x', 'password_changed']) AS kind";
    stack.sql(notices).await;

    let report = stack.sweep().await;
    assert_eq!((&report["mails_sent"], &report["mails_owed"]), (&json!(8), &json!(0)), "{report}");
    let tables = ["email_verifications", "email_changes", "email_undos", "account_deletions"];
    let mut stored = Vec::new();
    for table in tables {
        stored.push(stack.sql_text(&format!("SELECT encode(token_hash, 'hex') FROM {table}")).await);
    }
    let mut mailed = Vec::new();
    for (address, count) in
        [(ada.email.clone(), 2), (format!("new.{}", ada.email), 1), (format!("old.{}", ada.email), 1)]
    {
        for mail in mailbox::wait_for(&address, count).await {
            let token = LinkToken::parse(mail.link().strip_prefix("https://auth.example.com/page/").unwrap()).unwrap();
            mailed.push(hex::encode(token.hash().as_bytes()));
        }
    }
    assert_eq!(BTreeSet::from_iter(mailed), BTreeSet::from_iter(stored));
    let mails = mailbox::wait_for(&ada.email, 2).await;
    assert!(mails.iter().any(|mail| mail.text.contains("2030-01-02")), "the date of the erasure");
    let code = mails
        .iter()
        .find_map(|mail| mail.text.split_whitespace().find(|word| word.len() == 8 && word.parse::<u32>().is_ok()));
    assert!(code.is_some(), "a code");
    assert_eq!(
        stack
            .sql_number("SELECT count(*) FROM email_verifications WHERE code_tries = 0 AND code_expires_at > now()")
            .await,
        1
    );
    let subjects: BTreeSet<_> =
        mailbox::wait_for(&format!("notices.{}", ada.email), 4).await.into_iter().map(|mail| mail.subject).collect();
    assert_eq!(subjects.len(), 4);
}

#[tokio::test]
async fn a_mail_whose_link_has_become_useless_is_not_sent() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    stack.sql(MAILS_WITH_LINKS).await;
    // The links of an earlier credential version do not work. Those that undo a change or keep the account still do.
    stack.sql("UPDATE users SET credential_version = credential_version + 1; DELETE FROM account_deletions").await;
    let report = stack.sweep().await;
    let counted = ["mails_sent", "mails_void", "mails_owed"].map(|name| report[name].clone());
    assert_eq!(counted, [json!(1), json!(3), json!(0)], "{report}");
    mailbox::wait_for(&format!("old.{}", ada.email), 1).await;
    assert!(ada.mails(0).await.is_empty());
}

/// A stack in which a deleted account may be erased at once.
async fn erasing_stack(store: Store) -> Stack {
    Stack::builder().state_in(store).with("ACCOUNT_ERASE_AFTER", "0").start().await
}

/// Writes a row about the only deleted account into each table that a request may have filled.
const ROWS_OF_EVERY_TABLE: &str = "
    INSERT INTO password_resets (user_id, token_hash, expires_at) SELECT user_id, sha256('1'), now() + interval '1 hour' FROM account_deletions;
    INSERT INTO outbox (user_id, kind, id, due_at, expires_at)
        SELECT user_id, 'password_changed', gen_random_uuid(), now() + interval '1 hour', now() + interval '2 hours' FROM account_deletions;
    INSERT INTO email_verifications (user_id, email, credential_version, token_hash, code_hash, code_expires_at, expires_at)
        SELECT id, email, 1, sha256('1'), sha256('2'), now(), now() + interval '1 day' FROM users JOIN account_deletions ON user_id = id;
    INSERT INTO email_changes (user_id, email, credential_version, token_hash, expires_at)
        SELECT id, email, 1, sha256('1'), now() + interval '1 day' FROM users JOIN account_deletions ON user_id = id;
    INSERT INTO email_undos (id, user_id, email, token_hash, expires_at)
        SELECT gen_random_uuid(), id, email, sha256('1'), now() FROM users JOIN account_deletions ON user_id = id;
    INSERT INTO reserved_addresses (address, user_id, expires_at)
        SELECT lower(email), id, now() + interval '1 day' FROM users JOIN account_deletions ON user_id = id
        ON CONFLICT (address) DO UPDATE SET user_id = excluded.user_id;
    INSERT INTO sessions (id, user_id, credential_version, refresh_id, expires_at)
        SELECT gen_random_uuid(), user_id, 1, gen_random_uuid(), now() + interval '1 day' FROM account_deletions;
    INSERT INTO session_endings (user_id, minimum_version) SELECT user_id, 2 FROM account_deletions ON CONFLICT DO NOTHING;
    INSERT INTO totp (user_id, factor_id, secret, key_id, session_id, expires_at)
        SELECT user_id, gen_random_uuid(), '', '', gen_random_uuid(), 'infinity' FROM account_deletions;
    INSERT INTO recovery_codes (user_id, number, code_hash) SELECT user_id, 1, sha256('1') FROM account_deletions;
    INSERT INTO mfa_tokens (token_hash, user_id, credential_version, expires_at) SELECT sha256('1'), user_id, 1, 'infinity' FROM account_deletions;
    INSERT INTO factor_undos (factor_id, user_id, token_hash, expires_at) SELECT gen_random_uuid(), user_id, sha256('1'), 'infinity' FROM account_deletions;
    INSERT INTO factor_changes (id, user_id, expires_at) SELECT gen_random_uuid(), user_id, 'infinity' FROM account_deletions;
    INSERT INTO user_handles (user_id, handle) SELECT user_id, sha256('1') FROM account_deletions;
    INSERT INTO passkeys (factor_id, user_id, name, credential_id, public_key, rp_id, sign_count, backup_eligible, backed_up, transports)
        SELECT gen_random_uuid(), user_id, '', '1', '', '', 0, false, false, '{}' FROM account_deletions;";

// Requirements 56, 57.
#[rstest]
#[tokio::test]
async fn an_erasure_leaves_nothing_about_the_person_in_any_table(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = erasing_stack(store).await;
    let (ada, kate) = (stack.user("Ada Lovelace").await, stack.user("Kate Grace").await);
    let (tokens, of_kate) = (ada.signs_in().await, kate.signs_in().await);
    ada.signs_in().await;
    ada.deletes_account_with_mail(&tokens.access, 1).await;
    let user = stack.sql_number("SELECT user_id FROM account_deletions").await;
    stack.sql(ROWS_OF_EVERY_TABLE).await;
    let before = stack.traces_of(user, &ada).await;
    let tables: BTreeSet<_> = before.iter().filter_map(|trace| Some(trace.split_once('.')?.0)).collect();
    let of_users = stack.sql_text(crate::account::TABLES_OF_USERS).await;
    assert_eq!(
        tables.into_iter().collect::<Vec<_>>().join(" "),
        of_users,
        "the test fills every table that names users"
    );

    // `settle_session_endings` and the deletion of expired rows are also part of a sweep, so the test looks at what the erasure leaves.
    assert_eq!(stack.sweep().await["accounts_erased"], 1);
    let ended = format!("u#{user} account");
    let left: &[String] = if store == DynamoDb { &[ended] } else { &[] };
    assert_eq!(stack.traces_of(user, &ada).await, left);
    if let Some(table) = &stack.state_table {
        let items = table.items().await;
        let account = items.iter().find(|item| item["sk"]["S"] == "account" && item["pk"]["S"] == format!("u#{user}"));
        let account = account.unwrap().as_object().unwrap();
        let attributes: BTreeSet<_> = account.keys().map(String::as_str).collect();
        assert_eq!(attributes, BTreeSet::from(["expires_at", "minimum_version", "pk", "sk"]));
        assert_eq!(account["minimum_version"]["N"], "2");
    }
    assert_eq!(stack.sweep().await["accounts_erased"], 0);
    assert_eq!(stack.log_of("sweep").matches(&format!("event=\"account_erased\" user_id={user}")).count(), 1);
    assert_eq!(ada.tries_to_sign_in().await.status, 401);
    assert!([401, 404].contains(&ada.dashboard(&tokens.access).await.status));
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 401);
    assert_eq!(kate.dashboard(&of_kate.access).await.status, 200, "other accounts stay");
    ada.signs_up().await.assert_created();
    let new = ada.account(&ada.signs_in().await.access).await.json();
    assert!(new["user"]["id"].as_i64().unwrap() > user, "the id is not used again");
}

/// A later table must also be erased: each column with the id of a user refers to `users` and is deleted with it. Only `session_endings` has a
/// statement of its own.
// Requirement 57.
#[tokio::test]
async fn every_column_with_the_id_of_a_user_is_deleted_with_the_user() {
    let stack = Stack::start().await;
    let kept = "
        SELECT coalesce(string_agg(c.table_name || '.' || c.column_name, ' ' ORDER BY 1), '')
        FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.column_name LIKE '%user%id%' AND NOT EXISTS (
            SELECT FROM pg_constraint r JOIN pg_attribute a ON a.attrelid = r.conrelid AND a.attnum = ANY (r.conkey)
            WHERE r.confrelid = 'users'::regclass AND r.confdeltype = 'c'
                AND r.conrelid = format('%I', c.table_name)::regclass AND a.attname = c.column_name
        )";
    assert_eq!(stack.sql_text(kept).await, "session_endings.user_id");
    let other = "SELECT count(*) FROM pg_constraint WHERE confrelid = 'users'::regclass AND confdeltype <> 'c'";
    assert_eq!(stack.sql_number(other).await, 0);
}

#[rstest]
#[tokio::test]
async fn an_erasure_waits_for_its_time_for_an_undo_and_for_its_mail(#[values(PostgreSql, DynamoDb)] store: Store) {
    let ses = Ses::new().await;
    let stack = builder(&ses).state_in(store).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ses.set_health(Throttled);
    assert_eq!(ada.deletes_account(&tokens.access).await.status, 202);
    let erased = async || stack.sweep().await["accounts_erased"].clone();
    assert_eq!(erased().await, 0, "the user may still keep the account");
    stack.sql("UPDATE account_deletions SET erase_at = now()").await;
    assert_eq!(erased().await, 0, "the mail is owed");
    stack.sql("UPDATE account_deletions SET erase_at = now() - interval '1 day'").await;
    stack
        .sql("INSERT INTO email_undos (id, user_id, email, token_hash, expires_at) SELECT gen_random_uuid(), id, email, sha256('1'), now() + interval '1 hour' FROM users")
        .await;
    assert_eq!(erased().await, 0, "the change of the address can be undone");
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 1);
    stack.sql("UPDATE email_undos SET expires_at = now()").await;
    assert_eq!(erased().await, 1, "the mail was owed for a day");
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 0);
}

#[rstest]
#[tokio::test]
async fn a_sweep_sends_the_mail_before_it_erases_the_account(#[values(PostgreSql, DynamoDb)] store: Store) {
    let ses = Ses::new().await;
    let stack = builder(&ses).state_in(store).with("ACCOUNT_ERASE_AFTER", "0").start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    ses.set_health(Throttled);
    assert_eq!(ada.deletes_account(&tokens.access).await.status, 202);
    ses.set_health(Healthy);
    stack.make_mails_due().await;
    let report = stack.sweep().await;
    assert_eq!((&report["mails_sent"], &report["accounts_erased"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(ada.mails(1).await.pop().unwrap().subject, "Your account will be erased");
}

/// A team may add a table that refers to `users` and forget `ON DELETE CASCADE`.
#[tokio::test]
async fn accounts_that_cannot_be_erased_do_not_stop_other_erasures() {
    let stack = erasing_stack(PostgreSql).await;
    for number in 0..5 {
        let person = stack.user(&format!("Person {number}")).await;
        assert_eq!(person.deletes_account(&person.signs_in().await.access).await.status, 202);
    }
    stack.sql("CREATE TABLE invoices (user_id bigint REFERENCES users (id)); INSERT INTO invoices SELECT id FROM users ORDER BY id LIMIT 4").await;
    let failed = stack.invoke("sweep", &json!({})).await.unwrap_err();
    assert_eq!(
        stack.sql_text("SELECT string_agg(name, ' ' ORDER BY id) FROM users").await,
        "Person 0 Person 1 Person 2 Person 3"
    );
    assert!(failed["errorMessage"].is_string(), "the failure raises an alarm: {failed}");
    assert_eq!(stack.log_of("sweep").matches("an account could not be erased").count(), 4);
}

/// The erasure lets the item `account` expire first. If the account is kept after all, for example by an undo, the item must stay.
#[tokio::test]
async fn the_item_of_a_kept_account_stops_expiring_when_its_version_rises() {
    let stack = erasing_stack(DynamoDb).await;
    let ada = stack.user("Ada").await;
    ada.deletes_account_with_mail(&ada.signs_in().await.access, 1).await;
    stack
        .sql("CREATE TABLE invoices (user_id bigint REFERENCES users (id)); INSERT INTO invoices SELECT id FROM users")
        .await;
    stack.invoke("sweep", &json!({})).await.unwrap_err();
    let expires = async || {
        let items = stack.state_table.as_ref().unwrap().items().await;
        let account = items.into_iter().find(|item| item["sk"]["S"] == "account").unwrap();
        account.get("expires_at").is_some()
    };
    assert!(expires().await);
    stack.sql("DELETE FROM account_deletions").await;
    let token = ada.receives_reset_mail(2).await.token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    assert!(!expires().await);
}

#[rstest]
#[tokio::test]
async fn concurrent_sweeps_erase_every_account(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = erasing_stack(store).await;
    for number in 0..5 {
        let person = stack.user(&format!("Person {number}")).await;
        assert_eq!(person.deletes_account(&person.signs_in().await.access).await.status, 202);
    }
    stack.make_mails_due().await;
    let reports = join_all((0..4).map(|_| stack.sweep())).await;
    let erased: i64 = reports.iter().map(|report| report["accounts_erased"].as_i64().unwrap()).sum();
    assert!(erased >= 5, "{reports:?}");
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 0);
    assert_eq!(stack.sql_number("SELECT count(*) FROM session_endings").await, 0);
}
