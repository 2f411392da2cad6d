//! No log contains a password, a token, a hash or personal data.

use axum::{Router, http::StatusCode};
use tests::Stack;
use tokio::net::TcpListener;

use super::scenarios::{Marks, ServerLog, a_row_is_refused, around, goes_well, goes_wrong, is_nonsense};

async fn on_a_server_that_logs(settings: &[&str]) -> (Stack, ServerLog, Marks) {
    let stack = Stack::builder().with("AWS_LAMBDA_LOG_LEVEL", "TRACE").processes(1).start().await;
    let database = stack.sql_text("SELECT current_database()::text").await;
    for setting in settings {
        stack.sql(&format!("ALTER DATABASE {database} SET {setting}")).await;
    }
    let (log, mut marks) = (ServerLog::from_now_on(), Marks::new());
    goes_well(&stack, &mut marks).await;
    is_nonsense(&stack, &marks).await;
    goes_wrong(&stack, &mut marks).await;
    marks.sees_the_hashes(&stack).await;
    (stack, log, marks)
}

async fn assert_that_functions_keep_silent(stack: &Stack, marks: &Marks) {
    for (function, log) in stack.final_logs().await {
        assert!(!log.is_empty(), "{function} was called");
        marks.assert_no_secret(function, &log);
        marks.assert_nothing_personal(function, &log);
        assert!(!log.contains("argon2id"), "{function} has a hash: {}", around(&log, "argon2id"));
    }
}

// Requirements 14, 33.
#[tokio::test]
async fn no_log_contains_a_secret_or_personal_data() {
    let (stack, log, marks) = on_a_server_that_logs(&[]).await;
    let log = log.read(&stack).await;
    for provoked in [
        "lock timeout",
        "statement timeout",
        "due to user request",
        "administrator command",
        "read-only",
        "too many connections",
    ] {
        assert!(log.contains(provoked), "{provoked}");
    }
    marks.assert_no_secret("PostgreSQL", &log);
    marks.assert_nothing_personal("PostgreSQL", &log);
    assert_that_functions_keep_silent(&stack, &marks).await;
}

/// Set as docs/database.md asks for it, PostgreSQL keeps to the words of the statements, however much it logs.
// Requirements 14, 33.
#[tokio::test]
async fn postgresql_logging_statements_without_parameters_logs_no_personal_data() {
    let settings = [
        "log_statement = 'all'",
        "log_min_duration_statement = 0",
        "log_parameter_max_length = 0",
        "log_error_verbosity = 'terse'",
    ];
    let (stack, log, mut marks) = on_a_server_that_logs(&settings).await;
    a_row_is_refused(&stack, &mut marks).await;
    let log = log.read(&stack).await;
    for logged in ["INSERT INTO users", "violates check constraint \"elsewhere\""] {
        assert!(log.contains(logged), "{logged}");
    }
    marks.assert_no_secret("PostgreSQL", &log);
    marks.assert_nothing_personal("PostgreSQL", &log);
    assert_that_functions_keep_silent(&stack, &marks).await;
}

/// What PostgreSQL is never told, it cannot log: passwords and tokens do not leave the functions. (People do: they are rows.)
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
    let (stack, log, mut marks) = on_a_server_that_logs(&settings).await;
    a_row_is_refused(&stack, &mut marks).await;
    let log = log.read(&stack).await;
    assert!(log.contains(&marks.personal) && log.contains(&marks.hashes[0]), "it logs what it is told");
    marks.assert_no_secret("PostgreSQL", &log);
    assert_that_functions_keep_silent(&stack, &marks).await;
}

// Requirement 14.
#[tokio::test]
async fn a_failed_mail_does_not_log_its_recipient() {
    let quoting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let endpoints = [url(&quoting), url(&silent), "http://127.0.0.1:9".to_owned()];
    // As SES refuses an address it has not verified, and then some.
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
        marks.assert_nothing_personal("forgot-password", log);
        assert!(!log.contains("/reset-password/"), "a link in {log}");
    }
}
