//! Concurrent requests at the isolation levels `read committed` and `repeatable read`.

use futures_util::future::join_all;
use tests::{Person, Stack, Store::PostgreSql, Tokens};

use crate::support::assert_link_refused;

/// A change waits for a concurrent change of the same row. At `repeatable read`, it then fails with 40001 if the other one was committed. The
/// function runs it again, at `read committed`.
const ISOLATIONS: [&str; 2] = ["read committed", "repeatable read"];

// Faults 8, 10.
#[tokio::test]
async fn fifty_concurrent_refreshes_get_no_503_at_any_isolation_level() {
    for isolation in ISOLATIONS {
        let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).processes(50).start().await;
        let ada = stack.user("Ada").await;
        // Starts fifty processes, so that the requests below run concurrently.
        join_all((0..50).map(|_| ada.refreshes("x"))).await;

        let parent = ada.signs_in().await;
        let replies = join_all((0..50).map(|_| ada.refreshes(&parent.refresh))).await;
        let successors: Vec<_> = replies.iter().map(|reply| Tokens::from(reply).refresh).collect();
        assert!(successors.iter().all(|successor| *successor == successors[0]), "one successor");
        assert_conflicts(&stack, "refresh", isolation);
    }
}

// The requests of the next two tests hash passwords. So more than ten processes would only make each of them slower.

// Fault 8.
#[tokio::test]
async fn fifty_resets_with_one_link_get_no_503_at_any_isolation_level() {
    for isolation in ISOLATIONS {
        let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).processes(10).start().await;
        let ada = stack.user("Ada").await;
        let link = ada.receives_reset_mail(1).await.token();
        let replies = join_all((0..50).map(|_| ada.resets_password(&link, "another password"))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{isolation}");
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            assert_link_refused(reply);
        }
    }
}

/// All sign-ins come from one source, so each changes the row of this counter, twice.
// Fault 8.
#[tokio::test]
async fn fifty_sign_ins_from_one_source_get_no_503_at_any_isolation_level() {
    for isolation in ISOLATIONS {
        let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).processes(10).start().await;
        let crowd = join_all((0..10).map(|_| stack.user("Crowd"))).await;
        let replies = join_all(crowd.iter().cycle().take(50).map(Person::tries_to_sign_in)).await;
        for reply in &replies {
            assert!([200, 429].contains(&reply.status), "{isolation}: {}", reply.text);
        }
        assert!(replies.iter().filter(|reply| reply.status == 200).count() >= 10);
        assert_conflicts(&stack, "signin", isolation);
    }
}

/// Asserts that statements of the function conflicted if this isolation level makes conflicts errors, and only then.
fn assert_conflicts(stack: &Stack, function: &str, isolation: &str) {
    let conflicted = stack.log_of(function).contains("conflicted with another transaction");
    assert_eq!(conflicted, isolation == "repeatable read", "{isolation}");
}

/// The first run of the statement fails at `repeatable read`. Every further run at this level would fail, too.
// Fault 8.
#[tokio::test]
async fn a_statement_succeeds_although_another_transaction_changes_its_row_again_and_again() {
    let stack = Stack::builder().state_in(PostgreSql).isolation("repeatable read").start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let changes = "UPDATE sessions SET user_agent = user_agent";
    let refreshed = stack.answer_despite(changes, ada.refreshes(&tokens.refresh)).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
    assert!(stack.log_of("refresh").contains("conflicted with another transaction"));
}
