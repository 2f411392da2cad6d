//! Too many attempts: who has to wait, and for how long.

pub mod closed_accounts;
mod dynamodb;
mod hot_items;
mod request_limits;
mod reset_mails;
mod wrong_passwords;

use tests::{Person, Reply, Stack};

/// Asserts that a request was throttled, and that the waiting time in seconds is in this range.
#[track_caller]
fn assert_must_wait(reply: &Reply, seconds: std::ops::RangeInclusive<u64>) {
    reply.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    let wait = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!(seconds.contains(&wait), "{wait} s");
}

/// Sends wrong passwords, none of which is throttled.
async fn fail_to_sign_in(person: &Person<'_>, times: usize) {
    for _ in 0..times {
        let reply = person.with_password("not the password").tries_to_sign_in().await;
        reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
    }
}

/// Simulates that this number of seconds passes for every counter.
pub async fn let_time_pass(stack: &Stack, seconds: i64) {
    if let Some(table) = &stack.state_table {
        return table.let_time_pass_for_counters(seconds).await;
    }
    let earlier = format!("- interval '{seconds} seconds'");
    stack
        .sql(&format!("UPDATE throttle SET blocked_until = blocked_until {earlier}, expires_at = expires_at {earlier}"))
        .await;
}
