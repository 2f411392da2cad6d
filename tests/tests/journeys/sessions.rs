use futures_util::future::join_all;
use reqwest::Method;
use tests::{Reply, Stack, Tokens};

/// Every token of the session is refused, at every endpoint that takes one.
async fn assert_session_over(stack: &Stack, tokens: &Tokens) {
    for (method, path) in [(Method::GET, "/api/dashboard"), (Method::POST, "/api/logout")] {
        let reply = stack.with_token(method, path, &tokens.access).await;
        reply.assert_refused(401, "token_revoked", "Token has been revoked");
        assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
    }
    let reply = stack.with_token(Method::POST, "/api/refresh", &tokens.refresh).await;
    assert_refresh_refused(&reply);
}

#[track_caller]
fn assert_refresh_refused(reply: &Reply) {
    reply.assert_refused(401, "invalid_refresh_token", "Invalid or expired refresh token");
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
}

// Requirement 3.
#[tokio::test]
async fn each_refresh_token_has_one_successor() {
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
async fn a_lost_answer_can_be_asked_for_again_within_the_grace() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let parent = ada.signs_in().await;
    let first = Tokens::from(&ada.refreshes(&parent.refresh).await);
    let again = Tokens::from(&ada.refreshes(&parent.refresh).await);
    assert_eq!(again.refresh, first.refresh, "the same bytes");
    assert_ne!(again.access, first.access, "a new access token, as the first may be lost");
    assert_eq!(ada.refreshes(&first.refresh).await.status, 200, "the successor serves");
}

// Requirement 4.
#[tokio::test]
async fn a_used_refresh_token_ends_its_session_once_its_successor_was_used() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    let third = Tokens::from(&ada.refreshes(&second.refresh).await);
    assert_refresh_refused(&ada.refreshes(&first.refresh).await);
    for tokens in [first, second, third] {
        assert_session_over(&stack, &tokens).await;
    }
}

// Requirement 4.
#[tokio::test]
async fn a_used_refresh_token_ends_its_session_after_the_grace() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    stack.sql("UPDATE sessions SET refreshed_at = refreshed_at - interval '9 seconds'").await;
    assert_eq!(ada.refreshes(&first.refresh).await.status, 200, "within the grace");
    stack.sql("UPDATE sessions SET refreshed_at = refreshed_at - interval '2 seconds'").await;
    assert_refresh_refused(&ada.refreshes(&first.refresh).await);
    assert_session_over(&stack, &second).await;
}

// Fault 10.
#[tokio::test]
async fn of_fifty_refreshes_at_once_one_rotates_and_the_others_repeat_it() {
    let stack = Stack::builder().processes(6).start().await;
    let ada = stack.user("Ada").await;
    let parent = ada.signs_in().await;
    let replies = join_all((0..50).map(|_| ada.refreshes(&parent.refresh))).await;
    let successors: Vec<_> = replies.iter().map(|reply| Tokens::from(reply).refresh).collect();
    assert!(successors.iter().all(|successor| *successor == successors[0]), "one successor");
    assert_eq!(ada.refreshes(&successors[0]).await.status, 200, "and serves");
}

// Fault 10.
// Requirement 5.
#[tokio::test]
async fn a_refresh_that_races_a_logout_leaves_no_live_session() {
    let stack = Stack::builder().processes(4).start().await;
    let ada = stack.user("Ada").await;
    let race = async || {
        let tokens = ada.signs_in().await;
        let (refreshed, ended) = tokio::join!(ada.refreshes(&tokens.refresh), ada.logs_out(&tokens.access));
        assert_eq!(ended.status, 200);
        assert_session_over(&stack, &tokens).await;
        if refreshed.status == 200 {
            assert_session_over(&stack, &Tokens::from(&refreshed)).await;
        } else {
            assert_refresh_refused(&refreshed);
        }
    };
    for _ in 0..50 {
        join_all((0..4).map(|_| race())).await;
    }
}

// Requirement 5.
#[tokio::test]
async fn logout_ends_this_session_and_no_other() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let (phone, laptop) = (ada.signs_in().await, ada.signs_in().await);
    assert_eq!(ada.logs_out(&phone.access).await.status, 200);
    assert_session_over(&stack, &phone).await;
    assert_eq!(ada.dashboard(&laptop.access).await.status, 200);
    assert_eq!(ada.refreshes(&laptop.refresh).await.status, 200);
}

// Requirement 34.
#[tokio::test]
async fn a_session_does_not_slide() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack.sql("UPDATE sessions SET expires_at = date_trunc('second', now()) + interval '600 seconds'").await;
    let reply = ada.refreshes(&tokens.refresh).await;
    let lifetime = reply.json()["expires_in"].as_i64().unwrap();
    assert!((580..=600).contains(&lifetime), "an access token ends with its session: {lifetime}");
    stack.sql("UPDATE sessions SET expires_at = now() - interval '1 second'").await;
    assert_session_over(&stack, &Tokens::from(&reply)).await;
}

// Requirement 9.
#[tokio::test]
async fn tokens_past_their_time_are_told_so() {
    let stack =
        Stack::builder().with("JWT_ACCESS_TOKEN_EXPIRES", "1").with("JWT_REFRESH_TOKEN_EXPIRES", "2").start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    ada.dashboard(&tokens.access).await.assert_refused(401, "token_expired", "Token has expired");
    assert_refresh_refused(&ada.refreshes(&tokens.refresh).await);
    // An expired token of the wrong kind is the wrong kind of token first.
    ada.dashboard(&tokens.refresh).await.assert_refused(401, "invalid_token", "Invalid token");
    ada.refreshes(&tokens.access).await.assert_refused(401, "invalid_token", "Invalid token");
}

// Requirement 5.
#[tokio::test]
async fn a_logout_needs_no_young_access_token_but_a_live_session() {
    let stack = Stack::builder().with("JWT_ACCESS_TOKEN_EXPIRES", "1").start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    ada.dashboard(&tokens.access).await.assert_refused(401, "token_expired", "Token has expired");
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    assert_refresh_refused(&ada.refreshes(&tokens.refresh).await);
    ada.logs_out(&tokens.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
    // Its age is the only fault it may have.
    let (body, _) = tokens.access.rsplit_once('.').unwrap();
    for token in [tokens.refresh, format!("{body}.{}", "A".repeat(43))] {
        ada.logs_out(&token).await.assert_refused(401, "invalid_token", "Invalid token");
    }
}

#[tokio::test]
async fn an_account_has_fifty_live_sessions_and_the_next_ends_the_one_unused_longest() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let (unused, refreshed) = (ada.signs_in().await, ada.signs_in().await);
    stack.sql("UPDATE sessions SET refreshed_at = refreshed_at - interval '1 hour'").await;
    let refreshed = Tokens::from(&ada.refreshes(&refreshed.refresh).await);
    let mut others = Vec::new();
    for _ in 0..48 {
        others.push(ada.signs_in().await);
    }
    assert_eq!(ada.dashboard(&unused.access).await.status, 200, "that makes fifty");
    let newest = ada.signs_in().await;
    assert_session_over(&stack, &unused).await;
    let example = async |tokens: &Tokens| stack.with_token(Method::GET, "/api/example", &tokens.access).await.status;
    assert_eq!(example(&unused).await, 403, "at the authorizer, too");
    for lives in [&refreshed, &others[0], &others[47], &newest] {
        assert_eq!(ada.dashboard(&lives.access).await.status, 200);
        assert_eq!(example(lives).await, 200);
    }
    // A session that has ended takes nobody's place.
    assert_eq!(ada.logs_out(&others[47].access).await.status, 200);
    ada.signs_in().await;
    assert_eq!(ada.dashboard(&others[0].access).await.status, 200);
}

#[tokio::test]
async fn sign_ins_at_the_same_moment_overshoot_the_bound_and_the_next_one_keeps_it() {
    let stack = Stack::builder().processes(4).start().await;
    let ada = stack.user("Ada").await;
    stack
        .sql("INSERT INTO sessions (id, user_id, credential_version, refresh_id, expires_at)
            SELECT gen_random_uuid(), id, 1, gen_random_uuid(), now() + interval '1 day' FROM users, generate_series(1, 80)")
        .await;
    let replies = join_all((0..20).map(|_| ada.tries_to_sign_in())).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    let last = ada.signs_in().await;
    assert_eq!(stack.sql_number("SELECT count(*) FROM sessions").await, 50);
    for tokens in replies.iter().map(Tokens::from).chain([last]) {
        assert_eq!(ada.dashboard(&tokens.access).await.status, 200, "the newest live");
    }
}

// Requirement 19.
#[tokio::test]
async fn the_tokens_of_somebody_who_is_gone_die_with_them() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack.sql("DELETE FROM users").await;
    ada.dashboard(&tokens.access).await.assert_refused(404, "user_not_found", "User not found");
    ada.logs_out(&tokens.access).await.assert_refused(404, "user_not_found", "User not found");
    assert_refresh_refused(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(stack.sql_number("SELECT count(*) FROM sessions").await, 0);
}

// Requirement 12.
#[tokio::test]
async fn no_token_rests_in_the_database() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let mail = ada.receives_reset_mail(1).await;
    let rows = stack
        .sql_text("SELECT (SELECT string_agg(s::text, ' ') FROM sessions s) || (SELECT string_agg(r::text, ' ') FROM password_resets r)")
        .await;
    for token in [tokens.access, tokens.refresh, mail.reset_token()] {
        assert!(!rows.contains(&token));
    }
}
