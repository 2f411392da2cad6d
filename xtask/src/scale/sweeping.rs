//! Measures whether `sweep` deletes sessions as fast as they expire, and whether sign-ins notice it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use postgres::{Client, NoTls};
use serde::Serialize;
use serde_json::Value;
use toolkit::{
    console::{say, step},
    workspace::Workspace,
};

use super::{
    databases::{Databases, Which},
    expiring::ExpiringSessions,
    requests,
};
use crate::bench::{
    requests::sample_event,
    samples::{Percentiles, milliseconds},
};

/// The number of pairs of windows, one without and one with a sweep.
const PAIRS: u32 = 5;
/// The number of accounts that sign in, in turn.
const ACCOUNTS: u32 = 1000;

/// What happened in one window.
#[derive(Serialize)]
pub struct Window {
    /// The number of successful sign-ins.
    pub sign_ins: usize,
    /// The number of other answers, such as 503.
    pub refused: usize,
    pub times: Percentiles,
    /// The sweep at the beginning of the window, if there was one.
    pub sweep: Option<Sweep>,
    /// The times of the sign-ins while `sweep` ran, if there were any.
    pub times_during_sweep: Option<Percentiles>,
}

/// What one sweep did.
#[derive(Serialize)]
pub struct Sweep {
    pub seconds: f64,
    pub sessions_deleted: i64,
    pub mails_sent: i64,
    /// The expired sessions just afterwards.
    pub sessions_left: i64,
}

/// All windows.
#[derive(Serialize)]
pub struct Sweeping {
    /// The average number of sessions that were created every second. As many expired every second.
    pub rate: f64,
    /// Without and with a sweep, alternately.
    pub windows: Vec<Window>,
    /// A further window. At its beginning, all mails in the outbox were due.
    pub with_mails: Window,
}

impl Sweeping {
    /// The sessions that `sweep` deleted in a second while it ran, in the windows without due mails.
    #[expect(clippy::cast_precision_loss, reason = "there are not so many sessions")]
    pub fn deleted_a_second(&self) -> f64 {
        let sweeps = || self.windows.iter().filter_map(|window| window.sweep.as_ref());
        sweeps().map(|sweep| sweep.sessions_deleted as f64).sum::<f64>()
            / sweeps().map(|sweep| sweep.seconds).sum::<f64>()
    }
}

/// Measures the windows, while `rate` sessions expire every second. In the windows, requests to sign in follow one another.
pub fn measure(
    workspace: &Workspace,
    databases: &Databases,
    users: i64,
    rate: i64,
    window: Duration,
) -> Result<Sweeping> {
    let sign_ins =
        requests::prepare(workspace, databases, Which::Filled, "signin", ACCOUNTS.min(u32::try_from(users)?))?;
    let mut run = Run {
        databases,
        sign_ins: Box::new(sign_ins.into_iter().cycle()),
        sweep: sample_event(workspace, "sweep")?,
        window,
    };
    step(format_args!("Signing in while {rate} sessions expire every second"));
    let expiring = ExpiringSessions::start(&databases.url(Which::Filled), rate, users)?;
    let mut windows = Vec::new();
    for _ in 0..PAIRS {
        windows.push(run.window(false)?);
        windows.push(run.window(true)?);
    }
    databases.sql(Which::Filled)?.execute("UPDATE outbox SET due_at = now()", &[])?;
    let with_mails = run.window(true)?;
    Ok(Sweeping { rate: expiring.stop()?, windows, with_mails })
}

struct Run<'a> {
    databases: &'a Databases,
    sign_ins: Box<dyn Iterator<Item = Value>>,
    sweep: Value,
    window: Duration,
}

/// When a request began, and how long it took.
type Timed = (Instant, Duration);

impl Run<'_> {
    fn window(&mut self, with_sweep: bool) -> Result<Window> {
        let began = Instant::now();
        let end = began + self.window;
        let lambdas = &self.databases.lambdas;
        let (sign_ins, sweep) = lambdas.block_on(async {
            tokio::join!(sign_in_until(self.databases, &mut *self.sign_ins, end), async {
                if with_sweep { sweep(self.databases, self.sweep.clone()).await.map(Some) } else { Ok(None) }
            })
        });
        let ((sign_ins, refused), sweep) = (sign_ins?, sweep?);
        let during = sweep.as_ref().map(|sweep| began + Duration::from_secs_f64(sweep.seconds));
        let during: Vec<_> =
            sign_ins.iter().filter(|(at, _)| during.is_some_and(|end| *at < end)).map(|timed| timed.1).collect();
        let window = Window {
            sign_ins: sign_ins.len(),
            refused,
            times: Percentiles::of(sign_ins.into_iter().map(|timed| timed.1).collect()),
            sweep,
            times_during_sweep: (!during.is_empty()).then(|| Percentiles::of(during)),
        };
        let deleted = window
            .sweep
            .as_ref()
            .map_or_else(String::new, |sweep| format!(", {} sessions deleted", sweep.sessions_deleted));
        say(format_args!("    p95 of {} sign-ins: {:.1} ms{deleted}", window.sign_ins, window.times.p95));
        Ok(window)
    }
}

/// Signs in until this time. Returns the successful sign-ins, and the number of the others.
async fn sign_in_until(
    databases: &Databases,
    events: &mut dyn Iterator<Item = Value>,
    end: Instant,
) -> Result<(Vec<Timed>, usize)> {
    let (mut times, mut refused) = (Vec::new(), 0);
    for event in events {
        let began = Instant::now();
        let answer = databases.lambdas.send(&Which::Filled.function("signin"), event).await?;
        if requests::is_success(&answer) {
            times.push((began, began.elapsed()));
        } else {
            refused += 1;
        }
        if Instant::now() >= end {
            break;
        }
    }
    Ok((times, refused))
}

/// Calls `sweep` as its schedule does, and counts what it left.
async fn sweep(databases: &Databases, event: Value) -> Result<Sweep> {
    let began = Instant::now();
    let report = databases.lambdas.send(&Which::Filled.function("sweep"), event).await?;
    let seconds = milliseconds(began.elapsed()) / 1000.0;
    let number = |name: &str| report[name].as_i64().with_context(|| format!("sweep did not report {name}"));
    let url = databases.url(Which::Filled);
    let count = tokio::task::spawn_blocking(move || {
        let row =
            Client::connect(&url, NoTls)?.query_one("SELECT count(*) FROM sessions WHERE expires_at <= now()", &[])?;
        Ok::<_, postgres::Error>(row.get(0))
    });
    Ok(Sweep {
        seconds,
        sessions_deleted: number("sessions_deleted")?,
        mails_sent: number("mails_sent")?,
        sessions_left: count.await??,
    })
}

#[cfg(test)]
pub mod tests {
    use std::iter;

    use super::*;

    /// Ten windows and a further one, in which each sweep deleted 60,000 sessions in two seconds.
    pub fn sweeping() -> Sweeping {
        let times = Percentiles { p50: 20.0, p95: 30.0, p99: 40.0 };
        let window = |with_sweep: bool| Window {
            sign_ins: 1000,
            refused: 0,
            times,
            sweep: with_sweep.then_some(Sweep {
                seconds: 2.0,
                sessions_deleted: 60_000,
                mails_sent: 0,
                sessions_left: 12,
            }),
            times_during_sweep: with_sweep.then_some(times),
        };
        let windows = iter::repeat_n([false, true], 5).flatten().map(window).collect();
        Sweeping { rate: 1000.0, windows, with_mails: window(true) }
    }

    #[test]
    fn the_rate_of_sweep_counts_only_the_time_in_which_it_ran() {
        assert!((sweeping().deleted_a_second() - 30_000.0).abs() < 1e-9);
    }
}
