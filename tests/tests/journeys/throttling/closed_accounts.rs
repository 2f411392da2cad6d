//! Wrong passwords for one account from many sources.

use futures_util::future::join_all;
use rstest::rstest;
use tests::{
    CounterStore::{self, DynamoDb, PostgreSql},
    Person, Reply, Stack,
};

use super::{assert_must_wait, fails, pass};

/// The account is closed to this source for a month, less what the test took. The refusal says what helps at once.
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

/// A hundred wrong sign-ins, from twenty sources.
async fn is_guessed_at_from_everywhere(person: &Person<'_>) {
    join_all((0..20).map(|n| {
        let robot = person.from_source(&format!("198.51.100.{n}"));
        async move { fails(&robot, 5).await }
    }))
    .await;
}

// Requirements 20, 21.
#[rstest]
#[tokio::test]
async fn a_distributed_attack_closes_an_account_except_to_the_source_of_its_owner(
    #[values(PostgreSql, DynamoDb)] store: CounterStore,
) {
    let stack = Stack::builder().counters_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    let home = ada.from_source("192.0.2.10");
    home.signs_in().await;
    for ten in 0..10 {
        join_all((0..10).map(|n| {
            let robot = ada.from_source(&format!("198.51.{ten}.{n}"));
            async move { fails(&robot, 1).await }
        }))
        .await;
    }
    // A hundred in a row: the right password from a new place has to wait, from home it opens, and so clears.
    assert_closed(&ada.tries_to_sign_in().await);
    home.signs_in().await;
    ada.signs_in().await;
}

// Requirements 20, 21.
#[rstest]
#[tokio::test]
async fn a_closed_account_opens_after_a_reset_or_a_month(#[values(PostgreSql, DynamoDb)] store: CounterStore) {
    let stack = Stack::builder().counters_in(store).processes(4).start().await;
    let (ada, bob) = (stack.user("Ada").await, stack.user("Bob").await);
    is_guessed_at_from_everywhere(&ada).await;
    assert_closed(&ada.tries_to_sign_in().await);
    let token = ada.receives_reset_mail(1).await.reset_token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    ada.with_password("another password").signs_in().await;

    is_guessed_at_from_everywhere(&bob.from_source("192.0.2.1")).await;
    pass(&stack, 29 * 24 * 3600).await;
    assert_eq!(bob.tries_to_sign_in().await.status, 429);
    pass(&stack, 24 * 3600).await;
    bob.signs_in().await;
}

/// Failures are counted for an address that nobody has, so that nobody can tell. Whoever signs up with it inherits none of them.
#[rstest]
#[tokio::test]
async fn a_new_account_starts_without_the_failures_of_its_address(#[values(PostgreSql, DynamoDb)] store: CounterStore) {
    let stack = Stack::builder().counters_in(store).processes(4).start().await;
    let ada = stack.stranger("Ada");
    fails(&ada, 5).await;
    assert_must_wait(&ada.tries_to_sign_in().await, 15..=31);
    ada.signs_up().await.assert_created();
    ada.signs_in().await;

    let bob = stack.stranger("Bob");
    is_guessed_at_from_everywhere(&bob).await;
    assert_closed(&bob.tries_to_sign_in().await);
    bob.signs_up().await.assert_created();
    bob.signs_in().await;
}

/// What a stranger can make the stores keep: the counters of guesses are gone within hours, known address or not.
#[tokio::test]
async fn counters_of_guesses_are_deleted_within_days() {
    let stack = Stack::builder().processes(4).start().await;
    let robot = "198.51.100.66";
    let (ada, nobody) = (stack.user("Ada").await.from_source(robot), stack.stranger("Nobody").from_source(robot));
    join_all((0..40).map(|_| async { fails(&stack.stranger("Nobody").from_source(robot), 1).await })).await;
    for person in [&ada, &nobody] {
        fails(person, 4).await;
    }
    let sweep_after = async |seconds| {
        pass(&stack, seconds).await;
        stack.sweep().await;
        stack.sql_number("SELECT count(*) FROM throttle WHERE NOT key = sha256('signup source 203.0.113.7')").await
    };
    assert_eq!(sweep_after(6 * 3600).await, 42, "one for each address");
    assert_eq!(sweep_after(2 * 3600).await, 2, "those of the two that were guessed at more than once");
    for person in [&ada, &nobody] {
        fails(person, 1).await;
    }
    assert_eq!(sweep_after(2 * 24 * 3600).await, 0);
}
