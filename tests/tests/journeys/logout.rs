//! `POST /api/logout`.

use futures_util::future::join_all;
use tests::{Stack, Tokens};

use crate::support::{assert_refresh_refused, assert_session_ended};

// Requirement 5.
#[tokio::test]
async fn logout_ends_only_its_own_session() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let (phone, laptop) = (ada.signs_in().await, ada.signs_in().await);
    assert_eq!(ada.logs_out(&phone.access).await.status, 200);
    assert_session_ended(&stack, &phone).await;
    assert_eq!(ada.dashboard(&laptop.access).await.status, 200);
    assert_eq!(ada.refreshes(&laptop.refresh).await.status, 200);
}

// Requirement 5.
#[tokio::test]
async fn logout_accepts_an_expired_access_token_of_a_live_session() {
    let stack = Stack::builder().with("JWT_ACCESS_TOKEN_EXPIRES", "1").start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    ada.dashboard(&tokens.access).await.assert_refused(401, "token_expired", "Token has expired");
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    assert_refresh_refused(&ada.refreshes(&tokens.refresh).await);
    ada.logs_out(&tokens.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
    // A refresh token and a token with a wrong signature are still refused.
    let (body, _) = tokens.access.rsplit_once('.').unwrap();
    for token in [tokens.refresh, format!("{body}.{}", "A".repeat(43))] {
        ada.logs_out(&token).await.assert_refused(401, "invalid_token", "Invalid token");
    }
}

// Fault 10.
// Requirement 5.
#[tokio::test]
async fn a_concurrent_refresh_and_logout_leave_no_live_session() {
    let stack = Stack::builder().processes(4).start().await;
    let ada = stack.user("Ada").await;
    let race = async || {
        let tokens = ada.signs_in().await;
        let (refreshed, ended) = tokio::join!(ada.refreshes(&tokens.refresh), ada.logs_out(&tokens.access));
        assert_eq!(ended.status, 200);
        assert_session_ended(&stack, &tokens).await;
        if refreshed.status == 200 {
            assert_session_ended(&stack, &Tokens::from(&refreshed)).await;
        } else {
            assert_refresh_refused(&refreshed);
        }
    };
    for _ in 0..50 {
        join_all((0..4).map(|_| race())).await;
    }
}
