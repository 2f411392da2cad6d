//! `GET /api/dashboard`.

use rstest::rstest;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens,
};

use crate::support::assert_refresh_refused;

// Requirement 9.
#[tokio::test]
async fn expired_tokens_are_refused_as_expired() {
    let stack =
        Stack::builder().with("JWT_ACCESS_TOKEN_EXPIRES", "1").with("JWT_REFRESH_TOKEN_EXPIRES", "2").start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    ada.dashboard(&tokens.access).await.assert_refused(401, "token_expired", "Token has expired");
    assert_refresh_refused(&ada.refreshes(&tokens.refresh).await);
    // The kind of a token is checked before its expiry.
    ada.dashboard(&tokens.refresh).await.assert_refused(401, "invalid_token", "Invalid token");
    ada.refreshes(&tokens.access).await.assert_refused(401, "invalid_token", "Invalid token");
}

// Requirement 19.
#[rstest]
#[tokio::test]
async fn tokens_of_a_deleted_user_are_refused(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = Stack::with_state_in(store).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    stack.sql("DELETE FROM users").await;
    ada.dashboard(&tokens.access).await.assert_refused(404, "user_not_found", "User not found");
    if store == DynamoDb {
        // `refresh` and `logout` do not read the account, so they accept the tokens. The session stays live until it expires or is ended.
        let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
        assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
        assert_refresh_refused(&ada.refreshes(&tokens.refresh).await);
        return;
    }
    ada.logs_out(&tokens.access).await.assert_refused(404, "user_not_found", "User not found");
    assert_refresh_refused(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(stack.sql_number("SELECT count(*) FROM sessions").await, 0);
}
