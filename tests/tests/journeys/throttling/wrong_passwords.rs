//! Wrong passwords from one source.

use std::time::Instant;

use futures_util::future::join_all;
use rstest::rstest;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
};

use super::{assert_must_wait, fail_to_sign_in, let_time_pass};

// Requirement 20.
#[rstest]
#[tokio::test]
async fn after_five_failures_a_source_waits_and_each_further_failure_doubles_the_wait(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    fail_to_sign_in(&ada, 5).await;
    for wait in [30, 60, 120, 240, 480, 900, 900] {
        // The right password is refused too. A refused attempt does not extend the wait.
        for _ in 0..3 {
            assert_must_wait(&ada.tries_to_sign_in().await, wait - 15..=wait + 1);
        }
        let_time_pass(&stack, i64::try_from(wait).unwrap()).await;
        fail_to_sign_in(&ada, 1).await;
    }
}

// Requirement 20.
#[rstest]
#[tokio::test]
async fn guesses_at_an_unknown_account_have_to_wait_alike(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let nobody = stack.stranger("Nobody");
    fail_to_sign_in(&nobody, 5).await;
    assert_must_wait(&nobody.tries_to_sign_in().await, 15..=31);
    assert_must_wait(&nobody.with_email(&nobody.email.to_uppercase()).tries_to_sign_in().await, 15..=31);
}

// Requirement 20.
#[rstest]
#[tokio::test]
async fn of_fifty_concurrent_guesses_five_are_checked(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(6).start().await;
    let ada = stack.user("Ada").await.with_password("a guess");
    let began = Instant::now();
    let replies = join_all((0..50).map(|_| ada.tries_to_sign_in())).await;
    // The wait begins when a guess is counted. This may be some time after `began`, so the wait may end later.
    let longest = 31 + began.elapsed().as_secs();
    assert_eq!(replies.iter().filter(|reply| reply.status == 401).count(), 5);
    for reply in replies.iter().filter(|reply| reply.status != 401) {
        assert_must_wait(reply, 15..=longest);
    }
}

// Requirement 21.
#[rstest]
#[tokio::test]
async fn failures_from_one_source_do_not_lock_out_another(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    fail_to_sign_in(&ada.from_source("198.51.100.66"), 5).await;
    assert_must_wait(&ada.from_source("198.51.100.66").tries_to_sign_in().await, 15..=31);
    ada.signs_in().await;
}

// Requirement 22.
#[rstest]
#[tokio::test]
async fn no_header_changes_the_source(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    fail_to_sign_in(&ada, 5).await;
    let body = serde_json::json!({ "email": ada.email, "password": ada.password });
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip"] {
        let reply =
            stack.send(reqwest::Method::POST, "/api/signin", |request| request.header(name, "192.0.2.1").json(&body));
        assert_must_wait(&reply.await, 15..=31);
    }
}

#[rstest]
#[tokio::test]
async fn an_ipv6_64_prefix_is_one_source(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    for host in 1..=5 {
        fail_to_sign_in(&ada.from_source(&format!("2001:db8:1:2::{host}")), 1).await;
    }
    assert_must_wait(&ada.from_source("2001:db8:1:2:3:4:5:6").tries_to_sign_in().await, 15..=31);
    ada.from_source("2001:db8:1:3::1").signs_in().await;
}

// Requirement 21.
#[rstest]
#[tokio::test]
async fn a_success_or_a_reset_clears_the_failures(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    for _ in 0..3 {
        fail_to_sign_in(&ada, 4).await;
        ada.signs_in().await;
    }
    fail_to_sign_in(&ada, 5).await;
    assert_must_wait(&ada.tries_to_sign_in().await, 15..=31);
    let token = ada.receives_reset_mail(1).await.token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    ada.with_password("another password").signs_in().await;
}

// Requirement 20.
#[rstest]
#[tokio::test]
async fn a_source_with_a_hundred_failures_waits_at_every_account_despite_successes(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let (ada, robot) = (stack.user("Ada").await, "198.51.100.66");
    for _ in 0..10 {
        join_all((0..9).map(|_| async { fail_to_sign_in(&stack.stranger("Nobody").from_source(robot), 1).await }))
            .await;
        ada.from_source(robot).signs_in().await;
    }
    join_all((0..10).map(|_| async { fail_to_sign_in(&stack.stranger("Nobody").from_source(robot), 1).await })).await;
    assert_must_wait(&ada.from_source(robot).tries_to_sign_in().await, 600..=901);
    ada.signs_in().await;
    let_time_pass(&stack, 900).await;
    ada.from_source(robot).signs_in().await;
}
