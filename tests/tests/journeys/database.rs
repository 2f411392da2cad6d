//! The database is unreachable, has closed a connection, or lacks a table.

use tests::{
    Stack,
    Store::{DynamoDb, PostgreSql},
    Tokens,
    database::TestDatabase,
};

use crate::support::get_example;

// Requirement 18.
#[tokio::test]
async fn without_the_database_functions_answer_503_and_public_pages_work() {
    let stack = Stack::builder()
        .with("DATABASE_URL", "postgres://nobody:nothing@127.0.0.1:9/none")
        .with_unprepared_database(TestDatabase::empty().await);
    let stack = stack.start().await;
    let ada = stack.stranger("Ada");
    for reply in [ada.signs_up().await, ada.tries_to_sign_in().await, ada.forgets_password().await] {
        reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
        assert_eq!(reply.header("retry-after"), Some("5"));
    }
    let token = "A".repeat(43);
    assert_eq!(ada.resets_password(&token, "another password").await.status, 503);
    for path in ["/", "/api/public", "/reset-password/x"] {
        assert_eq!(stack.get(path).await.status, 200, "{path}");
    }
    assert!(
        stack.log_of("signin").contains("the database is not available")
            || stack.log_of("signin").contains("service_unavailable")
    );
}

/// These requests do not read the account. The dashboard and a sign-in read it, so they need PostgreSQL.
// Requirement 18.
#[tokio::test]
async fn with_sessions_in_dynamodb_refresh_logout_and_the_authorizer_work_without_the_database() {
    let healthy = Stack::with_state_in(DynamoDb).await;
    let (email, tokens) = {
        let ada = healthy.user("Ada").await;
        (ada.email.clone(), ada.signs_in().await)
    };
    let stack = Stack::builder()
        .state_in(DynamoDb)
        .with_table_of(&healthy)
        .with("DATABASE_URL", "postgres://nobody:nothing@127.0.0.1:9/none")
        .with_unprepared_database(TestDatabase::empty().await);
    let stack = stack.start().await;
    let ada = stack.stranger("Ada").with_email(&email);
    let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(get_example(&stack, &tokens.access).await.status, 200);
    for reply in [ada.dashboard(&tokens.access).await, ada.tries_to_sign_in().await] {
        reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
    }
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    assert_eq!(get_example(&stack, &tokens.access).await.status, 403);
}

#[tokio::test]
async fn clients_do_not_notice_a_connection_that_was_closed_between_requests() {
    let stack = Stack::builder().processes(1).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    let refreshed = ada.refreshes(&tokens.refresh).await;
    assert_eq!(refreshed.status, 200);
}

// Requirement 23.
#[tokio::test]
async fn a_defect_answers_500_and_logs_its_cause() {
    let stack = Stack::with_state_in(PostgreSql).await;
    let ada = stack.user("Ada").await;
    stack.sql("ALTER TABLE sessions RENAME TO elsewhere").await;
    let reply = ada.tries_to_sign_in().await;
    reply.assert_refused(500, "internal_error", "Internal server error");
    assert!(stack.log_of("signin").contains("does not exist"), "{}", stack.log_of("signin"));
}
