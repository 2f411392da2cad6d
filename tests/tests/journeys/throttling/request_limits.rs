//! Limits of sign-ups, resets, reset mails and refreshes.

use futures_util::future::join_all;
use rstest::rstest;
use tests::{
    Person, Stack,
    Store::{self, DynamoDb, PostgreSql},
};

use super::{assert_must_wait, let_time_pass};

// Requirement 35.
#[rstest]
#[tokio::test]
async fn sign_ups_and_resets_of_one_source_are_limited(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let crowd: Vec<_> = (0..61).map(|_| stack.stranger("Crowd").with_password("short")).collect();
    // A sign-up that breaks a rule is not counted.
    join_all(crowd.iter().map(Person::signs_up)).await.iter().for_each(|reply| assert_eq!(reply.status, 400));
    let crowd: Vec<_> = crowd.iter().map(|person| person.with_password("password123")).collect();
    let replies = join_all(crowd.iter().map(Person::signs_up)).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 60);
    assert_must_wait(replies.iter().find(|reply| reply.status != 201).unwrap(), 3500..=3601);
    stack.stranger("Ada").from_source("192.0.2.10").signs_up().await.assert_created();

    let token = "A".repeat(43);
    let replies = join_all(crowd.iter().map(|person| person.resets_password(&token, "another password"))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 400).count(), 60);
    assert_must_wait(replies.iter().find(|reply| reply.status != 400).unwrap(), 3500..=3601);
    let_time_pass(&stack, 3600).await;
    assert_eq!(crowd[0].resets_password(&token, "another password").await.status, 400);
}

// Requirement 35.
#[rstest]
#[tokio::test]
async fn forgot_password_requests_of_one_source_are_limited(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(8).with("FORGOT_PASSWORD_FLOOR_MS", "100").start().await;
    let crowd: Vec<_> = (0..61).map(|_| stack.stranger("Nobody")).collect();
    let replies = join_all(crowd.iter().map(Person::forgets_password)).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 60);
    assert_must_wait(replies.iter().find(|reply| reply.status != 200).unwrap(), 3500..=3601);
}

// Requirement 15.
#[tokio::test]
async fn a_source_over_the_forgot_password_limit_is_refused_at_once() {
    let stack =
        Stack::builder().state_in(PostgreSql).processes(8).with("FORGOT_PASSWORD_FLOOR_MS", "2000").start().await;
    stack
        .sql(
            "INSERT INTO throttle (key, attempts, expires_at)
            VALUES (sha256('forgot-password source 203.0.113.7'), 60, now() + interval '1 hour')",
        )
        .await;
    let reply = stack.stranger("Nobody").forgets_password().await;
    assert_must_wait(&reply, 3500..=3601);
    assert!(reply.took < std::time::Duration::from_secs(1), "{:?}", reply.took);
}

// Requirement 35.
#[tokio::test]
async fn a_session_refreshes_sixty_times_a_minute_and_reuse_still_ends_it() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let mut tokens = first.clone();
    for _ in 0..60 {
        tokens = tests::Tokens::from(&ada.refreshes(&tokens.refresh).await);
    }
    assert_must_wait(&ada.refreshes(&tokens.refresh).await, 1..=60);
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200, "the session is live");
    stack.sessions().move_refresh_count_back(60).await;
    tokens = tests::Tokens::from(&ada.refreshes(&tokens.refresh).await);

    stack.sessions().set_refresh_count(60).await;
    assert_eq!(ada.refreshes(&first.refresh).await.status, 401);
    ada.dashboard(&tokens.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
}
