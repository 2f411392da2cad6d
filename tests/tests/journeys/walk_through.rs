use tests::{Stack, walk_through};

#[tokio::test]
async fn a_person_signs_up_looks_around_forgets_the_password_and_returns() {
    walk_through(&Stack::start().await).await;
}
