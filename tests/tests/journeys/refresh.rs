//! `POST /api/refresh`: rotation, reuse detection and the end of a session.

use futures_util::future::join_all;
use tests::{Stack, Store::PostgreSql, Tokens};

use crate::support::{assert_refresh_refused, assert_session_ended};

// Requirement 3.
#[tokio::test]
async fn each_refresh_returns_a_new_refresh_token() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let mut tokens = ada.signs_in().await;
    for _ in 0..5 {
        let next = Tokens::from(&ada.refreshes(&tokens.refresh).await);
        assert_ne!(next.refresh, tokens.refresh);
        assert_eq!(ada.dashboard(&next.access).await.status, 200);
        tokens = next;
    }
}

#[tokio::test]
async fn a_client_that_lost_the_answer_may_repeat_a_refresh_within_the_grace_period() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let parent = ada.signs_in().await;
    let first = Tokens::from(&ada.refreshes(&parent.refresh).await);
    let again = Tokens::from(&ada.refreshes(&parent.refresh).await);
    assert_eq!(again.refresh, first.refresh, "the same refresh token");
    assert_ne!(again.access, first.access, "a new access token");
    assert_eq!(ada.refreshes(&first.refresh).await.status, 200, "the successor works");
}

// Requirement 4.
#[tokio::test]
async fn reusing_a_refresh_token_after_its_successor_was_used_ends_the_session() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    let third = Tokens::from(&ada.refreshes(&second.refresh).await);
    assert_refresh_refused(&ada.refreshes(&first.refresh).await);
    for tokens in [first, second, third] {
        assert_session_ended(&stack, &tokens).await;
    }
}

// Requirement 4.
#[tokio::test]
async fn reusing_a_refresh_token_after_the_grace_period_ends_the_session() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    stack.sessions().move_refresh_back(9).await;
    assert_eq!(ada.refreshes(&first.refresh).await.status, 200, "within the grace period");
    stack.sessions().move_refresh_back(2).await;
    assert_refresh_refused(&ada.refreshes(&first.refresh).await);
    assert_session_ended(&stack, &second).await;
}

// Fault 10.
#[tokio::test]
async fn fifty_concurrent_refreshes_get_the_same_successor() {
    let stack = Stack::builder().processes(6).start().await;
    let ada = stack.user("Ada").await;
    let parent = ada.signs_in().await;
    let replies = join_all((0..50).map(|_| ada.refreshes(&parent.refresh))).await;
    let successors: Vec<_> = replies.iter().map(|reply| Tokens::from(reply).refresh).collect();
    assert!(successors.iter().all(|successor| *successor == successors[0]), "one successor");
    assert_eq!(ada.refreshes(&successors[0]).await.status, 200, "the successor works");
}

// Requirement 34.
#[tokio::test]
async fn a_refresh_does_not_extend_the_session() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack.sessions().end_in(600).await;
    let reply = ada.refreshes(&tokens.refresh).await;
    let lifetime = reply.json()["expires_in"].as_i64().unwrap();
    assert!((580..=600).contains(&lifetime), "the access token expires with its session: {lifetime} s");
    stack.sessions().end_in(-1).await;
    assert_session_ended(&stack, &Tokens::from(&reply)).await;
}

#[tokio::test]
async fn a_refresh_that_timed_out_waiting_for_a_lock_has_no_effect() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let mut rival = stack.database.connect().await;
    let lock = rival.transaction().await.unwrap();
    lock.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    let reply = ada.refreshes(&tokens.refresh).await;
    reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
    lock.rollback().await.unwrap();
    assert_eq!(ada.refreshes(&tokens.refresh).await.status, 200, "the failed request did not use the token");
    assert_eq!(stack.sql_number("SELECT count(*) FROM sessions WHERE previous_refresh_id IS NOT NULL").await, 1);
}
