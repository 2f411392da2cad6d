//! Creates sessions that expire soon, at a steady rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use postgres::{Client, NoTls};

/// The time between two statements.
const TICK: Duration = Duration::from_millis(100);
const TICKS_A_SECOND: i64 = 10;

/// `$1` sessions that expire in the next five seconds, of random ones of the users 1 to `$2`.
const CREATE: &str = "
    INSERT INTO sessions (id, user_id, credential_version, refresh_id, created_at, expires_at, source)
    SELECT gen_random_uuid(), user_id, 1 + (user_id % 10 = 0)::integer, gen_random_uuid(), now() - interval '7 days',
        date_trunc('second', now()) + ceil(random() * 5) * interval '1 second', host('10.0.0.0'::inet + user_id)
    FROM (SELECT 1 + floor(random() * $2::bigint)::bigint AS user_id FROM generate_series(1, $1::bigint) OFFSET 0) AS drawn";

/// A thread that creates sessions until this value is dropped.
pub struct ExpiringSessions {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<i64>>>,
    began: Instant,
}

impl ExpiringSessions {
    /// Creates this many sessions a second, of the users 1 to `users`.
    pub fn start(database: &str, rate: i64, users: i64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut sql, stopped) = (Client::connect(database, NoTls)?, Arc::clone(&stop));
        let create = sql.prepare(CREATE)?;
        let thread = thread::spawn(move || {
            let (mut created, mut next) = (0, Instant::now());
            for tick in 1.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let due = rate * tick / TICKS_A_SECOND - created;
                sql.execute(&create, &[&due, &users])?;
                created += due;
                next += TICK;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(created)
        });
        Ok(Self { stop, thread: Some(thread), began: Instant::now() })
    }

    /// Stops. Returns how many sessions were created every second on average.
    pub fn stop(mut self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        let created = self.thread.take().map(JoinHandle::join);
        let created =
            created.and_then(Result::ok).ok_or_else(|| anyhow!("the thread that creates sessions panicked"))??;
        #[expect(clippy::cast_precision_loss, reason = "there are not so many sessions")]
        Ok(created as f64 / seconds)
    }
}

impl Drop for ExpiringSessions {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        _ = self.thread.take().map(JoinHandle::join);
    }
}
