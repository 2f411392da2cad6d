//! The requests of a typical user, for tests that need requests to most routes.

use serde_json::json;

use crate::{Stack, Tokens};

/// A new user signs up, signs in, refreshes, resets the password, signs in again and logs out.
pub async fn walk_through(stack: &Stack) {
    stack.get("/").await.assert_ok(&json!({ "message": "Welcome to JWT Auth API", "status": "online" }));
    stack.get("/api/public").await.assert_ok(&json!({ "message": "This is a public endpoint" }));

    let ada = stack.stranger("Ada Lovelace");
    ada.signs_up().await.assert_created();

    let reply = ada.tries_to_sign_in().await;
    let first = Tokens::from(&reply);
    assert_eq!(reply.text_at("message"), "Sign-in successful");
    assert_eq!(reply.json()["token_type"], "Bearer");
    assert_eq!(reply.json()["expires_in"], 3600);
    assert_eq!(reply.json()["user"], json!({ "name": "Ada Lovelace", "email": ada.email }));

    let greeting =
        json!({ "message": "Welcome Ada Lovelace!", "user": { "name": "Ada Lovelace", "email": ada.email } });
    ada.dashboard(&first.access).await.assert_ok(&greeting);

    let reply = ada.refreshes(&first.refresh).await;
    let second = Tokens::from(&reply);
    assert_eq!(reply.text_at("message"), "Token refreshed successfully");
    assert_ne!(second.refresh, first.refresh);
    ada.dashboard(&second.access).await.assert_ok(&greeting);

    let mail = ada.receives_reset_mail(1).await;
    let reset = ada.resets_password(&mail.token(), "another password").await;
    reset.assert_ok(&json!({ "message": "Password reset successful" }));
    for token in [&first.access, &second.access] {
        ada.dashboard(token).await.assert_refused(401, "token_revoked", "Token has been revoked");
    }
    ada.refreshes(&second.refresh).await.assert_refused(
        401,
        "invalid_refresh_token",
        "Invalid or expired refresh token",
    );
    ada.tries_to_sign_in().await.assert_refused(401, "invalid_credentials", "Invalid credentials");

    let ada = ada.with_password("another password");
    let third = ada.signs_in().await;
    ada.logs_out(&third.access).await.assert_ok(&json!({ "message": "Logout successful. Tokens revoked." }));
    ada.dashboard(&third.access).await.assert_refused(401, "token_revoked", "Token has been revoked");
}
