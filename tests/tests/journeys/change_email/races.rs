//! Concurrent requests that concern one address.

use futures_util::future::join_all;
use rstest::rstest;
use tests::{
    Person, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    mailbox::{EMAIL_CHANGED, RESET},
};

use super::{addresses, assert_restored, builder, change, link_for};
use crate::support::{ServerLog, assert_link_refused, assert_session_ended, while_codes_are_replaced};

/// The replies with status 200. All others must be refused as an invalid link, or have to wait.
#[track_caller]
fn successes(replies: &[Reply]) -> usize {
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        if reply.status != 429 {
            assert_link_refused(reply);
        }
    }
    replies.iter().filter(|reply| reply.status == 200).count()
}

// Requirements 51, 53.
#[rstest]
#[tokio::test]
async fn of_fifty_uses_of_one_link_one_succeeds(
    #[values(PostgreSql, DynamoDb)] store: Store,
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    // Each use hashes a password, so more processes would only make each of them slower.
    let stack = builder(store).isolation(isolation).processes(4).start().await;
    let ada = stack.user("Ada").await;
    let renamed = ada.with_email(&stack.stranger("Ada").email);
    let tokens = ada.signs_in().await;
    let link = link_for(&ada, &tokens, &renamed).await;
    assert_eq!(successes(&join_all((0..50).map(|_| ada.changes_email(&link))).await), 1);
    assert_eq!(addresses(&renamed, &tokens).await.0, renamed.email);
    let undo = ada.newest_mail(EMAIL_CHANGED).await.token();
    let replies = join_all((0..50).map(|_| ada.undoes_email_change(&undo))).await;
    assert_eq!(successes(&replies), 1);
    assert_session_ended(&stack, &tokens).await;
    let reset = ada.newest_mail(RESET).await.token();
    assert_eq!(ada.resets_password(&reset, "another password").await.status, 200);
    assert_eq!(stack.sql_number("SELECT credential_version::bigint FROM users").await, 3);
}

// Requirement 53.
#[rstest]
#[tokio::test]
async fn of_two_accounts_that_change_to_one_address_one_gets_it(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = builder(PostgreSql).isolation(isolation).processes(10).start().await;
    let log = ServerLog::from_now();
    // Each pair has its own new address, and all changes run at the same time.
    let mut pairs = Vec::new();
    for _ in 0..25 {
        let new = stack.stranger("New");
        let mut links = Vec::new();
        for _ in 0..2 {
            let ada = stack.stranger("Ada").from_source(&format!("192.0.2.{}", pairs.len()));
            ada.signs_up().await.assert_created();
            let tokens = ada.signs_in().await;
            links.push((link_for(&ada, &tokens, &new).await, ada, tokens));
        }
        pairs.push((new, links));
    }
    let uses = pairs.iter().flat_map(|(_, links)| links).map(|(link, ada, _)| ada.changes_email(link));
    let replies = join_all(uses).await;
    for (replies, (new, links)) in replies.chunks(2).zip(&pairs) {
        assert_eq!(successes(replies), 1, "{isolation}");
        for (reply, (_, ada, tokens)) in replies.iter().zip(links) {
            let expected = if reply.status == 200 { &new.email } else { &ada.email };
            assert_eq!(addresses(ada, tokens).await.0, *expected);
        }
    }
    let log = log.read(&stack).await;
    assert!(!pairs.iter().any(|(new, _)| log.contains(&new.email)), "no statement reaches the unique index: {log}");
}

/// Strangers try to sign up with the earlier address and with the new one, while the change takes place. A sign-up waits for the change at an index,
/// and it must then see the reservation.
// Requirement 53.
#[rstest]
#[tokio::test]
async fn no_sign_up_gets_an_address_at_the_moment_of_a_change(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = builder(PostgreSql).isolation(isolation).processes(12).start().await;
    let log = ServerLog::from_now();
    for round in 0..6 {
        let ada = stack.user("Ada").await;
        let renamed = ada.with_email(&stack.stranger("Ada").email);
        let tokens = ada.signs_in().await;
        let link = link_for(&ada, &tokens, &renamed).await;
        let strangers = |email: &str| -> Vec<Person<'_>> {
            let stranger = |n| {
                let source = format!("198.51.100.{}", 10 * round + n);
                stack.stranger("Eve").from_source(&source).with_email(email).with_password(&format!("password {n}"))
            };
            (0..10).map(stranger).collect()
        };
        let (of_earlier, of_later) = (strangers(&ada.email), strangers(&renamed.email));
        let (changed, earlier, later) = tokio::join!(
            ada.changes_email(&link),
            join_all(of_earlier.iter().map(Person::signs_up)),
            join_all(of_later.iter().take(round).map(Person::signs_up)),
        );
        for reply in &earlier {
            reply.assert_refused(400, "user_already_exists", "User already exists");
        }
        let created = later.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(successes(&[changed]) + created, 1, "{isolation}: one of them gets the new address");
        if created == 0 {
            let undo = ada.newest_mail(EMAIL_CHANGED).await.token();
            assert_restored(&ada.undoes_email_change(&undo).await);
        }
        ada.signs_in().await;
        let log = log.read(&stack).await;
        for address in [&ada.email, &renamed.email] {
            assert!(!log.contains(address), "no statement reaches the unique index: {log}");
        }
    }
}

/// The change holds its locks while a sign-up with the earlier address runs, so that the sign-up waits for it.
// Requirement 53.
#[rstest]
#[tokio::test]
async fn a_sign_up_that_waits_for_a_change_sees_the_reservation(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = builder(PostgreSql).isolation(isolation).start().await;
    let ada = stack.user("Ada").await;
    let renamed = ada.with_email(&stack.stranger("Ada").email);
    let tokens = ada.signs_in().await;
    let link = link_for(&ada, &tokens, &renamed).await;
    // The change waits for this transaction after it has reserved the address.
    let mut rival = stack.database.connect().await;
    let rival = rival.transaction().await.unwrap();
    rival.execute("SELECT FROM users FOR UPDATE", &[]).await.unwrap();
    let stranger = ada.with_password("a password of Eve");
    let (changed, signed_up, ()) = tokio::join!(
        ada.changes_email(&link),
        async {
            stack.wait_for_blocked_statement().await;
            stranger.signs_up().await
        },
        async {
            stack.wait_for_blocked_statements(2).await;
            rival.commit().await.unwrap();
        }
    );
    assert_eq!(changed.status, 200, "{isolation}: {}", changed.text);
    signed_up.assert_refused(400, "user_already_exists", "User already exists");
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 1);
}

/// A thief changes the address again while the owner undoes the first change. The undo must cancel the thief's change, or prevent it.
// Requirement 53.
#[rstest]
#[tokio::test]
async fn an_undo_misses_no_change_at_the_same_time(#[values("read committed", "repeatable read")] isolation: &str) {
    let stack = builder(PostgreSql).isolation(isolation).processes(4).start().await;
    for _ in 0..10 {
        let ada = stack.user("Ada").await;
        let tokens = ada.signs_in().await;
        let (first, second) =
            (ada.with_email(&stack.stranger("Eve").email), ada.with_email(&stack.stranger("Eve").email));
        let undo = change(&ada, &tokens, &first).await;
        let link = link_for(&first, &tokens, &second).await;
        let (changed, undone) = tokio::join!(first.changes_email(&link), ada.undoes_email_change(&undo));
        assert_restored(&undone);
        if changed.status == 200 {
            let undo_of_thief = first.newest_mail(EMAIL_CHANGED).await.token();
            assert_link_refused(&first.undoes_email_change(&undo_of_thief).await);
        }
        ada.signs_in().await;
    }
}

/// A thief changes the address, and replaces the recovery codes while the owner undoes the change. The new codes must not be left.
// Requirement 53.
#[rstest]
#[tokio::test]
async fn an_undo_that_waits_for_new_recovery_codes_deletes_them(
    #[values("read committed", "repeatable read")] isolation: &str,
) {
    let stack = builder(PostgreSql).isolation(isolation).start().await;
    let ada = stack.user("Ada").await;
    ada.has_verified().await;
    let tokens = ada.adds_totp().await.tokens;
    let of_thief = ada.with_email(&stack.stranger("Eve").email);
    let undo = change(&ada, &tokens, &of_thief).await;
    let replaces = of_thief.replaces_recovery_codes(&tokens.access);
    let (replaced, undone) = while_codes_are_replaced(&stack, replaces, ada.undoes_email_change(&undo)).await;
    assert_eq!(replaced.status, 201, "{isolation}: {}", replaced.text);
    assert_restored(&undone);
    assert_eq!(stack.sql_number("SELECT count(*) FROM recovery_codes").await, 0);
}

/// The thief's session changes the account all the time. The undo takes place all the same.
// Requirement 53.
#[tokio::test]
async fn changes_of_the_account_cannot_delay_an_undo() {
    let stack = builder(PostgreSql).start().await;
    let ada = stack.user("Ada").await;
    let undo = change(&ada, &ada.signs_in().await, &ada.with_email(&stack.stranger("Eve").email)).await;
    let undone = stack.answer_despite("UPDATE users SET name = name", ada.undoes_email_change(&undo)).await;
    assert_restored(&undone);
}

/// The change has taken place after the statement of the undo began, so that the statement must run again.
// Requirement 53.
#[tokio::test]
async fn an_undo_that_waits_for_a_change_runs_again() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = stack.user("Ada").await;
    let tokens: Tokens = ada.signs_in().await;
    let first = ada.with_email(&stack.stranger("Eve").email);
    let undo = change(&ada, &tokens, &first).await;
    let changes = "INSERT INTO email_undos (id, user_id, email, token_hash, expires_at)
            SELECT gen_random_uuid(), id, email, sha256('x'), now() + interval '1 day' FROM users;
        UPDATE users SET email = 'eve@example.com'";
    let undone = stack.answer_during(changes, ada.undoes_email_change(&undo)).await;
    assert_restored(&undone);
    assert_eq!(stack.sql_number("SELECT count(*) FROM email_undos").await, 0, "the undo has seen the later change");
    ada.signs_in().await;
}
