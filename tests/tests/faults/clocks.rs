//! Functions whose clocks are wrong. What is issued, rotates or ends goes by PostgreSQL's; a function's own only checks tokens.

use std::{fs, path::Path};

use rstest::rstest;
use tests::{Reply, Stack, StackBuilder, Tokens};

use crate::fault::Fault;

/// Sets a function's clock off by so many seconds.
fn off(builder: StackBuilder, function: &str, seconds: i32) -> StackBuilder {
    let faked = [
        ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1"),
        ("FAKETIME", &format!("{seconds:+}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    faked.into_iter().fold(builder, |builder, (name, value)| builder.with_for(function, name, value))
}

/// Removes the shared memory that libfaketime gives each process, and one that is killed leaves behind.
async fn clear_up(stack: &Stack) {
    for function in ["dashboard", "refresh", "reset-password", "signin"] {
        stack.kill(function).await;
    }
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let gone = |id: &str| !Path::new("/proc").join(id).exists();
        if name.contains("faketime_s") && name.rsplit('_').next().is_some_and(gone) {
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
#[case::ahead_of_the_end(120, "100", ["token_expired", "invalid_refresh_token"])]
#[tokio::test]
async fn a_function_that_checks_tokens_may_be_half_a_minute_behind_and_never_serves_what_is_over(
    #[case] seconds: i32,
    #[case] lifetime: &str,
    #[case] refusals: [&str; 2],
) {
    let mut fault = Fault::new(16, format!("The clock that checks tokens of {lifetime} s is off by {seconds:+} s"));
    let builder = off(off(Stack::builder(), "dashboard", seconds), "refresh", seconds);
    let builder = builder.with("JWT_ACCESS_TOKEN_EXPIRES", lifetime).with("JWT_REFRESH_TOKEN_EXPIRES", lifetime);
    let stack = builder.start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let replies = [ada.dashboard(&tokens.access).await, ada.refreshes(&tokens.refresh).await];
    for (reply, refusal) in replies.iter().zip(refusals) {
        fault.saw(reply);
        assert_eq!((reply.status, code(reply)), (if refusal.is_empty() { 200 } else { 401 }, refusal.to_owned()));
    }
    clear_up(&stack).await;
}

// Fault 16.
#[rstest]
#[tokio::test]
async fn a_function_that_issues_tokens_may_have_any_clock(#[values(-120, 120)] seconds: i32) {
    let mut fault = Fault::new(16, format!("The clock that issues tokens is off by {seconds:+} s"));
    let stack = off(Stack::builder(), "signin", seconds).start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    fault.saw_served(&ada.dashboard(&tokens.access).await);
    fault.saw_served(&ada.refreshes(&tokens.refresh).await);
    clear_up(&stack).await;
}

// Fault 16.
#[tokio::test]
async fn what_ends_ends_by_the_clock_of_postgresql() {
    let mut fault = Fault::new(16, "The clocks that rotate and reset are off by +120 s and +2 h");
    let stack = off(off(Stack::builder(), "refresh", 120), "reset-password", 7200).start().await;
    let ada = stack.user("Ada").await;
    let parent = ada.signs_in().await;
    let first = Tokens::from(&ada.refreshes(&parent.refresh).await);
    let again = ada.refreshes(&parent.refresh).await;
    assert_eq!(Tokens::from(&again).refresh, first.refresh, "within the grace");
    fault.saw_served(&again);
    stack.sql("UPDATE sessions SET expires_at = now()").await;
    let over = ada.refreshes(&first.refresh).await;
    over.assert_refused(401, "invalid_refresh_token", "Invalid or expired refresh token");
    fault.saw(&over);
    let link = ada.receives_reset_mail(1).await.reset_token();
    fault.saw_served(&ada.resets_password(&link, "another password").await);
    clear_up(&stack).await;
}
