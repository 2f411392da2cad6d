//! Concurrent requests at the isolation levels `read committed` and `repeatable read`.

use futures_util::future::join_all;
use tests::{Person, Stack, Store::PostgreSql, Tokens};

use crate::support::assert_link_refused;

/// A change waits for a concurrent change of the same row. At `repeatable read`, it then fails with 40001 if the other one was committed. The
/// function runs it again, at `read committed`.
const ISOLATIONS: [&str; 2] = ["read committed", "repeatable read"];

// Faults 8, 10.
#[tokio::test]
async fn fifty_concurrent_requests_get_no_503_at_any_isolation_level() {
    for isolation in ISOLATIONS {
        let stack = Stack::builder().state_in(PostgreSql).isolation(isolation).processes(50).start().await;
        let ada = stack.user("Ada").await;
        // Starts fifty processes of each function, so that the requests below run concurrently.
        join_all((0..50).map(|_| async {
            ada.refreshes("x").await;
            ada.resets_password("x", "").await;
        }))
        .await;

        let parent = ada.signs_in().await;
        let replies = join_all((0..50).map(|_| ada.refreshes(&parent.refresh))).await;
        let successors: Vec<_> = replies.iter().map(|reply| Tokens::from(reply).refresh).collect();
        assert!(successors.iter().all(|successor| *successor == successors[0]), "one successor");
        assert_eq!(
            stack.log_of("refresh").contains("conflicted with another transaction"),
            isolation == "repeatable read",
            "conflicts occur only at repeatable read"
        );

        let link = ada.receives_reset_mail(1).await.token();
        let replies = join_all((0..50).map(|_| ada.resets_password(&link, "another password"))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{isolation}");
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            assert_link_refused(reply);
        }
    }
}

/// All sign-ins come from one source, so each changes the row of this counter, twice. Each also hashes a password, so more processes would only make each of
/// them slower.
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
        assert_eq!(
            stack.log_of("signin").contains("conflicted with another transaction"),
            isolation == "repeatable read",
            "conflicts occur only at repeatable read"
        );
    }
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
