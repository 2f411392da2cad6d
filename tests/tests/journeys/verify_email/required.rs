//! `REQUIRE_VERIFIED_EMAIL`: what a user with an unverified address may do.

use std::collections::BTreeMap;

use reqwest::Method;
use rstest::rstest;
use serde_json::json;
use tests::{
    Stack,
    Store::{self, DynamoDb, PostgreSql},
    Tokens, documents,
};

use super::new_user;
use crate::support::{assert_gateway_answer, get_example};

async fn stack_in(store: Store) -> Stack {
    Stack::builder().state_in(store).with_verification().with("REQUIRE_VERIFIED_EMAIL", "on").start().await
}

/// The functions that an unverified account may use with its tokens (contract).
const ALLOWED: [&str; 6] = ["verify-email", "account", "reauthenticate", "sessions", "logout", "refresh"];

/// Every route, also of later functions. A function that is not in [`ALLOWED`] and needs a session must refuse.
// Requirement 59.
#[rstest]
#[tokio::test]
async fn an_unverified_account_reaches_nothing_but_its_own_management(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let mut refused = BTreeMap::new();
    for route in documents::routes() {
        // Some routes end the session or delete the account.
        let ada = stack.user("Ada").await;
        let tokens = ada.signs_in().await;
        let token = if route.function == "refresh" { &tokens.refresh } else { &tokens.access };
        let path =
            route.path.replace("{token}", &"A".repeat(43)).replace("{id}", "7d8c1c3e-0d0a-4c1f-9d35-4c0c1f1f5a11");
        let body = json!({
            "code": "12345678", "password": ada.password, "name": "Ada", "email": "new@example.com",
            "current_password": ada.password, "new_password": "another password",
        });
        let method: Method = route.method.parse().unwrap();
        let fill_in = |request: reqwest::RequestBuilder| match method {
            Method::GET => request.bearer_auth(token),
            _ => request.bearer_auth(token).json(&body),
        };
        let reply = stack.send(method.clone(), &path, fill_in).await;
        if reply.status == 403 {
            if route.authorizer.is_some() {
                assert_gateway_answer(&reply, 403, "Forbidden");
            } else {
                reply.assert_refused(403, "email_not_verified", "Verify your email address first");
            }
            refused.insert(route.function.clone(), route.path.clone());
        }
        assert!(reply.status < 500, "{} {}: {}", route.method, route.path, reply.text);
    }
    let expected = ["change-password", "dashboard", "example", "passkeys", "recovery-codes", "totp"];
    assert_eq!(refused.keys().collect::<Vec<_>>(), expected, "{refused:?}");
    assert!(expected.iter().all(|function| !ALLOWED.contains(function)));
}

// Requirement 59.
#[rstest]
#[tokio::test]
async fn after_the_verification_everything_is_allowed_at_once(
    #[values(PostgreSql, DynamoDb)] store: Store,
    #[values(false, true)] by_link: bool,
) {
    let stack = stack_in(store).await;
    let (ada, mail) = new_user(&stack, "Ada").await;
    let (tokens, other) = (ada.signs_in().await, ada.signs_in().await);
    for tokens in [&tokens, &other] {
        let reply = ada.dashboard(&tokens.access).await;
        reply.assert_refused(403, "email_not_verified", "Verify your email address first");
        assert_eq!(get_example(&stack, &tokens.access).await.status, 403);
    }
    // The refusal counts no attempt.
    for _ in 0..6 {
        let reply = ada.with_password("wrong").changes_password(&tokens.access, "another password").await;
        assert_eq!(reply.status, 403, "{}", reply.text);
    }
    let verified = if by_link {
        ada.verifies_by_link(&mail.token()).await
    } else {
        ada.verifies_by_code(&tokens.access, &mail.code()).await
    };
    assert_eq!(verified.status, 200, "{}", verified.text);
    // The access tokens from before the verification work too, because the store decides.
    for tokens in [&tokens, &other] {
        assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
        assert_eq!(get_example(&stack, &tokens.access).await.status, 200);
    }
    let changed = Tokens::from(&ada.changes_password(&tokens.access, "another password").await);
    assert_eq!(ada.dashboard(&changed.access).await.status, 200);
}

// Requirement 59.
#[rstest]
#[tokio::test]
async fn a_reset_also_verifies(#[values(PostgreSql, DynamoDb)] store: Store) {
    let stack = stack_in(store).await;
    let (ada, _) = new_user(&stack, "Ada").await;
    let reset = ada.receives_reset_mail(2).await.token();
    assert_eq!(ada.resets_password(&reset, "another password").await.status, 200);
    let tokens = ada.with_password("another password").signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
}
