//! `sweep`: it sends the mails that SES has not accepted yet, and deletes expired rows.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tests::{Person, Ses, SesHealth::*, Stack, StackBuilder, Store::PostgreSql};

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
    let token = ada.receives_reset_mail(1).await.reset_token();
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
        let token = ada.receives_reset_mail(1).await.reset_token();
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
    assert_eq!(ada.resets_password(&mail.reset_token(), "another password").await.status, 200);
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
    let token = ada.receives_reset_mail(1).await.reset_token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
}

#[tokio::test]
async fn the_next_sweep_sends_a_failed_notice() {
    let ses = Ses::new().await;
    let stack = stack_with(&ses).await;
    let ada = stack.user("Ada").await;
    let token = ada.receives_reset_mail(1).await.reset_token();
    ses.set_health(Throttled);
    let reset = ada.resets_password(&token, "another password").await;
    reset.assert_ok(&json!({ "message": "Password reset successful" }));
    assert_eq!(pending_mails(&stack).await, 1);
    ses.set_health(Healthy);
    stack.make_mails_due().await;
    stack.sweep().await;
    assert_eq!(ada.mails(2).await[1].subject, "Your password was changed");
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
    let token = ada.receives_reset_mail(1).await.reset_token();
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
    let token = ada.receives_reset_mail(1).await.reset_token();
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
        let token = person.mails(1).await[0].reset_token();
        assert_eq!(person.resets_password(&token, "another password").await.status, 200);
    }
}

#[tokio::test]
async fn a_sweep_deletes_only_what_has_expired() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let (ada, grace) = (stack.user("Ada").await, stack.user("Grace").await);
    let (old, live) = (ada.signs_in().await, grace.signs_in().await);
    ada.receives_reset_mail(1).await;
    let token = grace.receives_reset_mail(1).await.reset_token();
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
