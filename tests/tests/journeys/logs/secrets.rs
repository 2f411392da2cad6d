//! No log contains a password, a token, a hash or personal data.

use axum::{Router, http::StatusCode};
use tests::{
    DynamoDbHealth, Stack,
    Store::{self, DynamoDb, PostgreSql},
    database::TestDatabase,
};
use tokio::net::TcpListener;

use super::scenarios::{
    Marks, line_with, send_malformed_requests, send_requests_during_failures, send_usual_requests, violate_a_constraint,
};
use crate::support::ServerLog;

async fn stack_that_logs_everything(store: Store) -> Stack {
    let builder = Stack::builder().state_in(store).with("AWS_LAMBDA_LOG_LEVEL", "TRACE").processes(1);
    // So that `migrate` logs, too.
    builder.with_database(TestDatabase::empty().await).start().await
}

/// Sends all kinds of requests to a stack whose database logs with these settings.
async fn run_with_settings(settings: &[&str]) -> (Stack, ServerLog, Marks) {
    let stack = stack_that_logs_everything(PostgreSql).await;
    let database = stack.sql_text("SELECT current_database()::text").await;
    for setting in settings {
        stack.sql(&format!("ALTER DATABASE {database} SET {setting}")).await;
    }
    let (log, mut marks) = (ServerLog::from_now(), Marks::new());
    send_usual_requests(&stack, &mut marks).await;
    send_malformed_requests(&stack, &marks).await;
    send_requests_during_failures(&stack, &mut marks).await;
    marks.add_hashes(&stack).await;
    (stack, log, marks)
}

async fn assert_functions_log_no_secret(stack: &Stack, marks: &Marks) {
    for (function, log) in stack.final_logs().await {
        assert!(!log.is_empty(), "{function} logged nothing, so it was not called");
        marks.assert_no_secret(function, &log);
        marks.assert_no_personal_data(function, &log);
        assert!(!log.contains("argon2id"), "{function} logged a hash: {}", line_with(&log, "argon2id"));
    }
}

// Requirements 14, 33.
#[tokio::test]
async fn no_log_contains_a_secret_or_personal_data() {
    let (stack, log, marks) = run_with_settings(&[]).await;
    let log = log.read(&stack).await;
    for cause in [
        "lock timeout",
        "statement timeout",
        "due to user request",
        "administrator command",
        "read-only",
        "too many connections",
    ] {
        assert!(log.contains(cause), "PostgreSQL did not log: {cause}");
    }
    marks.assert_no_secret("PostgreSQL", &log);
    marks.assert_no_personal_data("PostgreSQL", &log);
    assert_functions_log_no_secret(&stack, &marks).await;
}

// Requirements 14, 33.
#[tokio::test]
async fn no_log_of_a_function_with_a_table_contains_a_secret_or_personal_data() {
    let (stack, mut marks) = (stack_that_logs_everything(DynamoDb).await, Marks::new());
    send_usual_requests(&stack, &mut marks).await;
    send_malformed_requests(&stack, &marks).await;
    let ada = marks.person(&stack);
    ada.signs_up().await.assert_created();
    let tokens = ada.signs_in().await;
    marks.add_tokens(&tokens);
    let table = stack.state_table.as_ref().unwrap();
    for health in [DynamoDbHealth::Throttled, DynamoDbHealth::Hanging] {
        table.set_health(health);
        for reply in [
            ada.tries_to_sign_in().await,
            ada.refreshes(&tokens.refresh).await,
            ada.dashboard(&tokens.access).await,
            ada.logs_out(&tokens.access).await,
        ] {
            assert_eq!(reply.status, 503);
        }
    }
    marks.add_hashes(&stack).await;
    assert_functions_log_no_secret(&stack, &marks).await;
}

/// docs/database.md requires the last two settings. With them, PostgreSQL logs statements without parameters, and errors without details.
// Requirements 14, 33.
#[tokio::test]
async fn postgresql_logging_statements_without_parameters_logs_no_personal_data() {
    let settings = [
        "log_statement = 'all'",
        "log_min_duration_statement = 0",
        "log_parameter_max_length = 0",
        "log_error_verbosity = 'terse'",
    ];
    let (stack, log, mut marks) = run_with_settings(&settings).await;
    violate_a_constraint(&stack, &mut marks).await;
    let log = log.read(&stack).await;
    for logged in ["INSERT INTO users", "violates check constraint \"elsewhere\""] {
        assert!(log.contains(logged), "{logged}");
    }
    marks.assert_no_secret("PostgreSQL", &log);
    marks.assert_no_personal_data("PostgreSQL", &log);
    assert_functions_log_no_secret(&stack, &marks).await;
}

/// PostgreSQL logs all parameters. They contain no secret, because the functions never send passwords or tokens to PostgreSQL. They contain names,
/// addresses and hashes.
// Requirements 14, 33.
#[tokio::test]
async fn postgresql_logging_everything_logs_no_secret() {
    let settings = [
        "log_statement = 'all'",
        "log_min_duration_statement = 0",
        "log_parameter_max_length = -1",
        "log_parameter_max_length_on_error = -1",
        "log_error_verbosity = 'verbose'",
        "log_min_messages = 'debug2'",
    ];
    let (stack, log, mut marks) = run_with_settings(&settings).await;
    violate_a_constraint(&stack, &mut marks).await;
    let log = log.read(&stack).await;
    assert!(log.contains(&marks.personal) && log.contains(&marks.hashes[0]), "PostgreSQL logs parameters");
    marks.assert_no_secret("PostgreSQL", &log);
    assert_functions_log_no_secret(&stack, &marks).await;
}

// Requirement 14.
#[tokio::test]
async fn a_failed_mail_does_not_log_its_recipient() {
    let quoting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let endpoints = [url(&quoting), url(&silent), "http://127.0.0.1:9".to_owned()];
    // Refuses the mail as SES does, and quotes all of it in the refusal.
    let refuse = async |mail: String| {
        let error = format!("<Error><Type>Sender</Type><Code>MessageRejected</Code><Message>{mail}</Message></Error>");
        (StatusCode::BAD_REQUEST, format!("<ErrorResponse>{error}</ErrorResponse>"))
    };
    tokio::spawn(async move { axum::serve(quoting, Router::new().fallback(refuse)).await });
    for endpoint in endpoints {
        let stack = Stack::builder().with("AWS_ENDPOINT_URL_SES", &endpoint).with("AWS_LAMBDA_LOG_LEVEL", "TRACE");
        let (stack, marks) = (stack.start().await, Marks::new());
        let ada = marks.person(&stack);
        ada.signs_up().await.assert_created();
        assert_eq!(ada.forgets_password().await.status, 200);
        let log = &stack.final_logs().await["forgot-password"];
        assert!(log.contains("a mail was not sent") || log.contains("a mail was refused"), "{log}");
        marks.assert_no_personal_data("forgot-password", log);
        assert!(!log.contains("/reset-password/"), "the log contains a link: {log}");
    }
}
