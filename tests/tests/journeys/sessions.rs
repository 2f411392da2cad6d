//! `/api/sessions`.

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use tests::{
    Reply, Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
    jwt::claims,
};
use uuid::Uuid;

use crate::{reauthenticate::assert_reauthentication_required, support::assert_session_ended};

fn session_id(tokens: &Tokens) -> String {
    claims(&tokens.access)["sid"].as_str().unwrap().to_owned()
}

/// The ids in a list of sessions.
#[track_caller]
fn ids(list: &Reply) -> Vec<String> {
    assert_eq!(list.status, 200, "{}", list.text);
    let sessions = list.json()["sessions"].as_array().unwrap().clone();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn assert_not_found(reply: &Reply) {
    reply.assert_refused(404, "session_not_found", "Session not found");
}

// Requirement 55.
#[rstest]
#[tokio::test]
async fn a_user_sees_their_own_live_sessions_and_no_others(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, kate) = (stack.user("Ada").await, stack.user("Kate").await);
    let (laptop, phone, ended) =
        (ada.signs_in().await, ada.from_source("2001:db8:1:2::7").signs_in().await, ada.signs_in().await);
    kate.signs_in().await;
    assert_eq!(ada.logs_out(&ended.access).await.status, 200);
    stack.sessions().move_refresh_back(60).await;
    stack.sessions().move_auth_time_back(60).await;
    let laptop = Tokens::from(&ada.refreshes(&laptop.refresh).await);

    let list = ada.sessions(&phone.access).await;
    assert_eq!(ids(&list), [session_id(&laptop), session_id(&phone)], "the session that was used last comes first");
    let sessions = &list.json()["sessions"];
    for (session, ip, current) in [(&sessions[0], "203.0.113.7", false), (&sessions[1], "2001:db8:1:2::/64", true)] {
        assert_eq!((&session["ip"], &session["current"]), (&json!(ip), &json!(current)));
        assert_eq!(session["user_agent"], Value::Null, "the client of this test sends no User-Agent");
        for time in ["created_at", "last_used_at", "expires_at"] {
            let time = session[time].as_str().unwrap();
            assert!(time.len() == 20 && time.starts_with("20") && time.ends_with('Z'), "{time}");
        }
        assert!(session["created_at"].as_str() < session["expires_at"].as_str());
    }
    assert!(sessions[0]["last_used_at"].as_str() > sessions[1]["last_used_at"].as_str());
    stack.sessions().move_refresh_back(60).await;
    let phone = Tokens::from(&ada.reauthenticates(&phone.access).await);
    let list = ada.sessions(&phone.access).await;
    assert_eq!(ids(&list)[0], session_id(&phone), "to prove the password again is a use");
}

#[rstest]
#[tokio::test]
async fn a_session_shows_the_first_256_characters_of_the_user_agent(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let credentials = json!({ "email": ada.email, "password": ada.password });
    for (sent, shown) in [("Browser/1.0 (X11)", "Browser/1.0 (X11)"), (&"x".repeat(300), &"x".repeat(256))] {
        let sign_in = |request: reqwest::RequestBuilder| request.header("user-agent", sent).json(&credentials);
        let tokens = Tokens::from(&stack.send(reqwest::Method::POST, "/api/signin", sign_in).await);
        let list = ada.sessions(&tokens.access).await.json();
        assert_eq!(list["sessions"][0]["user_agent"], shown);
    }
}

// Requirement 55.
#[rstest]
#[tokio::test]
async fn a_user_ends_one_session_and_nobody_elses(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, kate) = (stack.user("Ada").await, stack.user("Kate").await);
    let (laptop, phone, of_kate) = (ada.signs_in().await, ada.signs_in().await, kate.signs_in().await);
    for id in [session_id(&of_kate), Uuid::new_v4().to_string(), "1".to_owned(), session_id(&phone).to_uppercase()] {
        assert_not_found(&ada.ends_session(&laptop.access, &id).await);
    }
    assert_eq!(kate.dashboard(&of_kate.access).await.status, 200);

    assert_eq!(ada.ends_session(&laptop.access, &session_id(&phone)).await.status, 204);
    assert_session_ended(&stack, &phone).await;
    assert_not_found(&ada.ends_session(&laptop.access, &session_id(&phone)).await);
    assert_eq!(ada.dashboard(&laptop.access).await.status, 200);
    assert_eq!(stack.logs().matches("event=\"session_ended\" user_id=1").count(), 1);
}

// Requirement 54.
#[rstest]
#[tokio::test]
async fn only_the_own_session_can_be_ended_without_a_recent_proof_of_the_password(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let (laptop, phone) = (ada.signs_in().await, ada.signs_in().await);
    stack.sessions().move_auth_time_back(601).await;
    for id in [session_id(&phone), Uuid::new_v4().to_string(), "1".to_owned()] {
        assert_reauthentication_required(&ada.ends_session(&laptop.access, &id).await);
    }
    assert_reauthentication_required(&ada.ends_other_sessions(&laptop.access).await);
    assert_eq!(ada.dashboard(&phone.access).await.status, 200);
    assert_eq!(ada.ends_session(&laptop.access, &session_id(&laptop)).await.status, 204);
    assert_session_ended(&stack, &laptop).await;
}

// Requirement 55.
#[rstest]
#[tokio::test]
async fn a_user_ends_all_other_sessions(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let (ada, kate) = (stack.user("Ada").await, stack.user("Kate").await);
    let (kept, of_kate) = (ada.signs_in().await, kate.signs_in().await);
    let others = [ada.signs_in().await, ada.signs_in().await, ada.signs_in().await];
    assert_eq!(ada.logs_out(&others[2].access).await.status, 200);
    let ended = |count: i64| json!({ "message": "Other sessions ended", "ended": count });
    ada.ends_other_sessions(&kept.access).await.assert_ok(&ended(2));
    for other in &others {
        assert_session_ended(&stack, other).await;
    }
    assert_eq!(ids(&ada.sessions(&kept.access).await), [session_id(&kept)]);
    assert_eq!(ada.refreshes(&kept.refresh).await.status, 200);
    assert_eq!(kate.dashboard(&of_kate.access).await.status, 200);
    ada.ends_other_sessions(&kept.access).await.assert_ok(&ended(0));
    assert_eq!(stack.logs().matches("event=\"other_sessions_ended\" user_id=1").count(), 2);
}

#[rstest]
#[tokio::test]
async fn the_tokens_of_an_ended_session_list_and_end_nothing(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let (ended, other) = (ada.signs_in().await, ada.signs_in().await);
    assert_eq!(ada.logs_out(&ended.access).await.status, 200);
    for reply in [
        ada.sessions(&ended.access).await,
        ada.ends_session(&ended.access, &session_id(&other)).await,
        ada.ends_session(&ended.access, &session_id(&ended)).await,
        ada.ends_other_sessions(&ended.access).await,
    ] {
        reply.assert_refused(401, "token_revoked", "Token has been revoked");
    }
    assert_eq!(ada.dashboard(&other.access).await.status, 200);
}

// Requirement 61.
#[rstest]
#[tokio::test]
async fn the_51st_session_ends_the_one_that_was_unused_for_the_longest_time(
    #[values(PostgreSql, DynamoDb)] store: Store,
) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let (first, second) = (ada.signs_in().await, ada.signs_in().await);
    stack.sessions().move_refresh_back(60).await;
    stack.sessions().move_auth_time_back(60).await;
    stack.sessions().add(48).await;
    // The first session is used again, so the second one is unused for the longest time.
    assert_eq!(ada.reauthenticates(&first.access).await.status, 200);
    let last = ada.signs_in().await;
    assert_session_ended(&stack, &second).await;
    assert_eq!(ada.dashboard(&first.access).await.status, 200);
    assert_eq!(ids(&ada.sessions(&last.access).await).len(), 50);
}

/// Two sessions that end each other at the same time: at least one request succeeds, and a session that was opened in the meantime ends or stays
/// whole.
#[rstest]
#[tokio::test]
async fn sessions_that_end_the_others_at_the_same_time_lose_no_answer(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::builder().state_in(store).processes(4).start().await;
    let ada = stack.user("Ada").await;
    for _ in 0..5 {
        let sessions = join_all((0..4).map(|_| ada.signs_in())).await;
        let (replies, opened) = tokio::join!(
            join_all(sessions.iter().map(|tokens| ada.ends_other_sessions(&tokens.access))),
            ada.signs_in(),
        );
        assert!(replies.iter().any(|reply| reply.status == 200));
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            reply.assert_refused(401, "token_revoked", "Token has been revoked");
        }
        let (access, refresh) = (ada.dashboard(&opened.access).await, ada.refreshes(&opened.refresh).await);
        assert_eq!(access.status, refresh.status, "{} {}", access.text, refresh.text);
    }
}
