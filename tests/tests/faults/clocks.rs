//! Functions whose clocks are wrong. A function uses its own clock to check the times in a token (`exp`, `nbf`, `iat`). If sessions are in
//! PostgreSQL, PostgreSQL's clock sets the times in new tokens, and decides when the grace period or a session is over. If sessions are in DynamoDB,
//! the function's clock does this, and the function compares it with DynamoDB's clock at every call.

use std::{fs, path::Path};

use reqwest::Method;
use rstest::rstest;
use tests::{
    Reply, Stack, StackBuilder,
    Store::{DynamoDb, PostgreSql},
    Tokens,
    database::TestDatabase,
};

use crate::fault::Fault;

/// Shifts the clock of a function by the given number of seconds. A negative number sets it back.
fn with_clock_shifted(builder: StackBuilder, function: &str, seconds: i32) -> StackBuilder {
    let faked = [
        ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1"),
        ("FAKETIME", &format!("{seconds:+}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    faked.into_iter().fold(builder, |builder, (name, value)| builder.with_for(function, name, value))
}

/// Removes the shared memory that libfaketime created. A process that is killed does not remove it itself.
async fn remove_faketime_memory(stack: &Stack) {
    for function in ["authorizer", "dashboard", "logout", "refresh", "reset-password", "signin"] {
        stack.kill(function).await;
    }
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let has_ended = |id: &str| !Path::new("/proc").join(id).exists();
        if name.contains("faketime_s") && name.rsplit('_').next().is_some_and(has_ended) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn code(reply: &Reply) -> String {
    reply.json()["code"].as_str().unwrap_or_default().to_owned()
}

// Fault 16.
#[rstest]
#[case::minutes_behind(-120, "3600", ["invalid_token", "invalid_token"])]
#[case::seconds_behind(-20, "3600", ["", ""])]
#[case::minutes_ahead(120, "3600", ["", ""])]
#[case::ahead_of_the_expiry(120, "100", ["token_expired", "invalid_refresh_token"])]
#[tokio::test]
async fn token_checks_tolerate_a_clock_thirty_seconds_behind_and_accept_no_expired_token(
    #[case] seconds: i32,
    #[case] lifetime: &str,
    #[case] refusals: [&str; 2],
) {
    let mut fault = Fault::new(
        16,
        format!(
            "The clock of the functions that check tokens is shifted by {seconds:+} s. Tokens live for {lifetime} s"
        ),
    );
    let builder = with_clock_shifted(
        with_clock_shifted(Stack::builder().state_in(PostgreSql), "dashboard", seconds),
        "refresh",
        seconds,
    );
    let builder = builder.with("JWT_ACCESS_TOKEN_EXPIRES", lifetime).with("JWT_REFRESH_TOKEN_EXPIRES", lifetime);
    let stack = builder.start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let replies = [ada.dashboard(&tokens.access).await, ada.refreshes(&tokens.refresh).await];
    for (reply, refusal) in replies.iter().zip(refusals) {
        fault.record(reply);
        assert_eq!((reply.status, code(reply)), (if refusal.is_empty() { 200 } else { 401 }, refusal.to_owned()));
    }
    remove_faketime_memory(&stack).await;
}

// Fault 16.
#[rstest]
#[tokio::test]
async fn issuing_tokens_does_not_depend_on_the_clock_of_the_function(#[values(-120, 120)] seconds: i32) {
    let mut fault = Fault::new(16, format!("The clock of the function that issues tokens is shifted by {seconds:+} s"));
    let stack = with_clock_shifted(Stack::builder().state_in(PostgreSql), "signin", seconds).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    fault.record_served(&ada.dashboard(&tokens.access).await);
    fault.record_served(&ada.refreshes(&tokens.refresh).await);
    remove_faketime_memory(&stack).await;
}

// Fault 16.
#[tokio::test]
async fn sessions_and_links_expire_by_the_clock_of_postgresql() {
    let mut fault = Fault::new(16, "The clocks of `refresh` and `reset-password` are shifted by +120 s and +2 h");
    let stack = with_clock_shifted(
        with_clock_shifted(Stack::builder().state_in(PostgreSql), "refresh", 120),
        "reset-password",
        7200,
    )
    .start()
    .await;
    let ada = stack.user("Ada").await;
    let parent = ada.signs_in().await;
    let first = Tokens::from(&ada.refreshes(&parent.refresh).await);
    let again = ada.refreshes(&parent.refresh).await;
    assert_eq!(Tokens::from(&again).refresh, first.refresh, "within the grace period");
    fault.record_served(&again);
    stack.sql("UPDATE sessions SET expires_at = now()").await;
    let expired = ada.refreshes(&first.refresh).await;
    expired.assert_refused(401, "invalid_refresh_token", "Invalid or expired refresh token");
    fault.record(&expired);
    let link = ada.receives_reset_mail(1).await.token();
    fault.record_served(&ada.resets_password(&link, "another password").await);
    remove_faketime_memory(&stack).await;
}

/// The functions share a table with others whose clock is right. Without the check of the clock, a function whose clock is ahead would end the
/// session at a repeated refresh, because the grace period would seem to be over.
// Fault 16.
#[rstest]
#[case::minutes_behind(-120, 401)]
#[case::seconds_behind(-20, 503)]
#[case::minutes_ahead(120, 503)]
#[tokio::test]
async fn a_function_whose_clock_is_wrong_ends_no_session_in_dynamodb(#[case] seconds: i32, #[case] status: u16) {
    let mut fault =
        Fault::new(16, format!("Sessions are in DynamoDB, and the functions' clock is shifted by {seconds:+} s"));
    let right = Stack::with_state_in(DynamoDb).await;
    let shifted = ["authorizer", "dashboard", "logout", "refresh", "signin"]
        .into_iter()
        .fold(Stack::builder(), |builder, function| with_clock_shifted(builder, function, seconds));
    let wrong = shifted
        .state_in(DynamoDb)
        .with_table_of(&right)
        .with("DATABASE_URL", &right.database.functions_url())
        .with_unprepared_database(TestDatabase::empty().await)
        .start()
        .await;
    let ada = right.user("Ada").await;
    let there = wrong.stranger("Ada").with_email(&ada.email);
    let (parent, logged_out) = (ada.signs_in().await, ada.signs_in().await);
    let first = Tokens::from(&ada.refreshes(&parent.refresh).await);

    for reply in [
        there.refreshes(&parent.refresh).await,
        there.refreshes(&first.refresh).await,
        there.dashboard(&first.access).await,
        // The session of a logout may end, because its user wants that.
        there.logs_out(&logged_out.access).await,
    ] {
        fault.record(&reply);
        assert_eq!(reply.status, status, "{}", reply.text);
    }
    let at_authorizer = wrong.with_token(Method::GET, "/api/example", &first.access).await;
    assert_eq!(at_authorizer.status, if status == 401 { 403 } else { 500 }, "{}", at_authorizer.text);
    fault.record_unavailable(&[there.tries_to_sign_in().await]);
    assert!(wrong.log_of("signin").contains("clock_off"), "{}", wrong.log_of("signin"));

    let again = ada.refreshes(&parent.refresh).await;
    assert_eq!(Tokens::from(&again).refresh, first.refresh, "the session is live, and nobody has used the successor");
    fault.record_served(&ada.dashboard(&first.access).await);
    fault.record_served(&ada.tries_to_sign_in().await);
    remove_faketime_memory(&wrong).await;
}
