//! Fills a database with accounts, sessions, counters and mails that wait in the outbox.
//!
//! PostgreSQL makes the rows, with the statements in `generator/`. All indexes and constraints exist meanwhile, so the indexes have the free space of
//! indexes that grew row by row. A test runs the same statements and uses the rows (`tests/tests/journeys/generated.rs`).

use std::time::{Duration, Instant};

use anyhow::Result;
use postgres::Client;
use toolkit::{
    console::{say, step},
    interrupt,
};

const USERS: &str = include_str!("generator/users.sql");
const SESSIONS: &str = include_str!("generator/sessions.sql");
const COUNTERS: &str = include_str!("generator/counters.sql");
const MAILS: &str = include_str!("generator/mails.sql");

/// The lifetime of a session in seconds (`SESSION_LIFETIME` in policy.rs).
const LIFETIME: f64 = 7.0 * 24.0 * 3600.0;
/// The number of rows that one statement creates.
const BATCH: i64 = 20_000;
/// The time between two lines about the progress.
const REPORTED: Duration = Duration::from_secs(10);

/// How many rows a database gets.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Amounts {
    pub users: i64,
    pub sessions: i64,
    /// The number of sessions that are live.
    pub live: i64,
    pub counters: i64,
    /// The number of mails in the outbox. At most one for each user.
    pub mails: i64,
}

/// Fills empty tables. Every user gets this hash of a password. Ends with `VACUUM (ANALYZE)`, as autovacuum would.
pub fn fill(sql: &mut Client, amounts: Amounts, password_hash: &str) -> Result<()> {
    let Amounts { users, sessions, live, counters, mails } = amounts;
    in_batches("users", users, |first, last| sql.execute(USERS, &[&first, &last, &password_hash]))?;
    sql.execute("SELECT setval('users_id_seq', $1)", &[&users])?;
    in_batches("sessions", sessions, |first, last| {
        sql.execute(SESSIONS, &[&first, &last, &sessions, &live, &users, &LIFETIME])
    })?;
    in_batches("counters", counters, |first, last| sql.execute(COUNTERS, &[&first, &last, &users]))?;
    in_batches("mails in the outbox", mails, |first, last| sql.execute(MAILS, &[&first, &last, &mails, &users]))?;
    step("VACUUM (ANALYZE)");
    Ok(sql.batch_execute("VACUUM (ANALYZE)")?)
}

/// Runs `create` for the numbers 1 to `count`, some thousands at a time, and reports the progress.
fn in_batches(rows: &str, count: i64, mut create: impl FnMut(i64, i64) -> Result<u64, postgres::Error>) -> Result<()> {
    let began = Instant::now();
    let (mut done, mut reported) = (0, None);
    while done < count {
        interrupt::check()?;
        let last = count.min(done + BATCH);
        create(done + 1, last)?;
        done = last;
        if done == count || reported.is_none_or(|reported: Instant| reported.elapsed() >= REPORTED) {
            say(format_args!("    {done} of {count} {rows} after {:.0} s", began.elapsed().as_secs_f64()));
            reported = Some(Instant::now());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_every_number_once() {
        let mut batches = Vec::new();
        in_batches("rows", 2 * BATCH + 1, |first, last| {
            batches.push((first, last));
            Ok(0)
        })
        .unwrap();
        assert_eq!(batches, [(1, BATCH), (BATCH + 1, 2 * BATCH), (2 * BATCH + 1, 2 * BATCH + 1)]);
    }
}
