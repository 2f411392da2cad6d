//! Rotation of the secret that signs tokens.

use tests::{Stack, Tokens, jwt::header, stack::SECRET};

// Requirement 39.
#[tokio::test]
async fn rotating_the_secret_ends_no_session() {
    let next = "the-next-secret-of-the-tests-0123456789";
    let before = Stack::start().await;
    let ada = before.user("Ada").await;
    let old = ada.signs_in().await;

    let (email, password) = (ada.email.clone(), ada.password.clone());
    let after = Stack::builder().with("JWT_SECRET_KEY", next).with("JWT_ADDITIONAL_SECRET_KEYS", SECRET);
    let after = after
        .with("DATABASE_URL", &before.database.functions_url())
        .with_table_of(&before)
        .with_unprepared_database(tests::database::TestDatabase::empty().await)
        .start()
        .await;
    let ada = after.stranger("Ada").with_email(&email).with_password(&password);
    assert_eq!(ada.dashboard(&old.access).await.status, 200);
    let new = Tokens::from(&ada.refreshes(&old.refresh).await);
    assert_ne!(header(&new.access)["kid"], header(&old.access)["kid"]);
    assert_eq!(ada.dashboard(&new.access).await.status, 200);
    // A function that does not know the next secret refuses tokens signed with it.
    before.with_token(reqwest::Method::GET, "/api/dashboard", &new.access).await.assert_refused(
        401,
        "invalid_token",
        "Invalid token",
    );
}
