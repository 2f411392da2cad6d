//! Wrong passwords for one account from many sources.

use futures_util::future::join_all;
use rstest::rstest;
use tests::{
    Person, Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
};

use super::{assert_must_wait, fail_to_sign_in, let_time_pass};

/// Asserts that the account is closed to this source for a month, and that the refusal recommends a password reset.
#[track_caller]
fn assert_closed(reply: &Reply) {
    let body = serde_json::json!({
        "message": "Too many attempts. Try again later.", "code": "too_many_attempts",
        "help": "Reset your password to sign in without waiting.",
    });
    assert_eq!((reply.status, reply.json()), (429, body));
    let wait: u64 = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((29 * 24 * 3600..=30 * 24 * 3600).contains(&wait), "{wait} s");
}

/// Sends a hundred wrong passwords for this account from twenty sources.
pub async fn attack_from_many_sources(person: &Person<'_>) {
    join_all((0..20).map(|n| {
        let robot = person.from_source(&format!("198.51.100.{n}"));
        async move { fail_to_sign_in(&robot, 5).await }
    }))
    .await;
}

// Requirements 20, 21.
#[rstest]
#[tokio::test]
async fn after_a_distributed_attack_the_owner_of_the_account_can_sign_in_only_from_a_known_source(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    let owner = ada.from_source("192.0.2.10");
    owner.signs_in().await;
    for ten in 0..10 {
        join_all((0..10).map(|n| {
            let robot = ada.from_source(&format!("198.51.{ten}.{n}"));
            async move { fail_to_sign_in(&robot, 1).await }
        }))
        .await;
    }
    // After a hundred failures, the right password is refused from a new source. From the owner's source it works and clears the failures.
    assert_closed(&ada.tries_to_sign_in().await);
    owner.signs_in().await;
    ada.signs_in().await;
}

// Requirements 20, 21.
#[rstest]
#[tokio::test]
async fn an_account_with_too_many_failures_accepts_sign_ins_again_after_a_reset_or_a_month(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let (ada, bob) = (stack.user("Ada").await, stack.user("Bob").await);
    attack_from_many_sources(&ada).await;
    assert_closed(&ada.tries_to_sign_in().await);
    let token = ada.receives_reset_mail(1).await.token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    ada.with_password("another password").signs_in().await;

    attack_from_many_sources(&bob.from_source("192.0.2.1")).await;
    let_time_pass(&stack, 29 * 24 * 3600).await;
    assert_eq!(bob.tries_to_sign_in().await.status, 429);
    let_time_pass(&stack, 24 * 3600).await;
    bob.signs_in().await;
}

/// Failures are counted for unknown addresses too, so that the answers do not reveal which addresses have accounts. A new account must not
/// inherit them.
#[rstest]
#[tokio::test]
async fn a_new_account_starts_without_the_failures_of_its_address(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.stranger("Ada");
    fail_to_sign_in(&ada, 5).await;
    assert_must_wait(&ada.tries_to_sign_in().await, 15..=31);
    ada.signs_up().await.assert_created();
    ada.signs_in().await;

    let bob = stack.stranger("Bob");
    attack_from_many_sources(&bob).await;
    assert_closed(&bob.tries_to_sign_in().await);
    bob.signs_up().await.assert_created();
    bob.signs_in().await;
}

/// An attacker must not be able to fill the counter store: counters are deleted whether or not the address has an account.
#[tokio::test]
async fn counters_of_guesses_are_deleted_within_days() {
    let stack = Stack::builder().state_in(PostgreSql).processes(4).start().await;
    let robot = "198.51.100.66";
    let (ada, nobody) = (stack.user("Ada").await.from_source(robot), stack.stranger("Nobody").from_source(robot));
    join_all((0..40).map(|_| async { fail_to_sign_in(&stack.stranger("Nobody").from_source(robot), 1).await })).await;
    for person in [&ada, &nobody] {
        fail_to_sign_in(person, 4).await;
    }
    let sweep_after = async |seconds| {
        let_time_pass(&stack, seconds).await;
        stack.sweep().await;
        stack.sql_number("SELECT count(*) FROM throttle WHERE NOT key = sha256('signup source 203.0.113.7')").await
    };
    assert_eq!(sweep_after(6 * 3600).await, 42, "one counter for each address");
    assert_eq!(sweep_after(2 * 3600).await, 2, "only the two addresses with several failures");
    for person in [&ada, &nobody] {
        fail_to_sign_in(person, 1).await;
    }
    assert_eq!(sweep_after(2 * 24 * 3600).await, 0);
}
