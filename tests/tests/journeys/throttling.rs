//! Too many attempts: who has to wait, and for how long.

mod closed_accounts;
mod dynamodb;
mod request_limits;
mod reset_mails;
mod wrong_passwords;

use tests::{Person, Reply, Stack};

#[track_caller]
fn assert_must_wait(reply: &Reply, seconds: std::ops::RangeInclusive<u64>) {
    reply.assert_refused(429, "too_many_attempts", "Too many attempts. Try again later.");
    let wait = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!(seconds.contains(&wait), "{wait} s");
}

async fn fails(person: &Person<'_>, times: usize) {
    for _ in 0..times {
        let reply = person.with_password("not the password").tries_to_sign_in().await;
        reply.assert_refused(401, "invalid_credentials", "Invalid credentials");
    }
}

/// Lets time pass for every counter.
async fn pass(stack: &Stack, seconds: i64) {
    if let Some(table) = &stack.counter_table {
        return table.let_time_pass(seconds).await;
    }
    let earlier = format!("- interval '{seconds} seconds'");
    stack
        .sql(&format!("UPDATE throttle SET blocked_until = blocked_until {earlier}, expires_at = expires_at {earlier}"))
        .await;
}
