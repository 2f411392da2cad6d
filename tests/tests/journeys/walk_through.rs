use tests::{Stack, walk_through};

#[tokio::test]
async fn a_user_signs_up_refreshes_resets_the_password_and_logs_out() {
    walk_through(&Stack::start().await).await;
}
