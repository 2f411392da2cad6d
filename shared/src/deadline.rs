//! The deadline of an invocation. The runtime sets it. Code that waits for something outside this process asks [`at_most`] how long it may wait.
//! The deadline is not a parameter, so no endpoint can forget to pass it on.

use std::{future::Future, time::Duration};

use lambda_runtime::Context;
use tokio::{task_local, time::Instant};

use crate::{domain::UnixTime, security::policy};

task_local! {
    static DEADLINE: Instant;
}

/// Runs `work` with a deadline that is `budget` after now, or with the caller's deadline if that is sooner.
pub async fn within<T>(budget: Duration, work: impl Future<Output = T>) -> T {
    DEADLINE.scope(at_most(budget), work).await
}

/// The point in time that is `limit` after now, or the deadline if that is sooner.
#[must_use]
pub fn at_most(limit: Duration) -> Instant {
    let limited = Instant::now() + limit;
    DEADLINE.try_with(|deadline| limited.min(*deadline)).unwrap_or(limited)
}

/// The time until the deadline. Zero outside of an invocation.
#[must_use]
pub fn remaining() -> Duration {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).unwrap_or_default()
}

/// The time for an invocation: `most`, or the time until `LAMBDA_MARGIN` before Lambda ends it if that is shorter. Emulators may send a wrong
/// deadline. A deadline is ignored if it is in the past or at most `LAMBDA_MARGIN` away, or if it is later than Lambda allows.
pub(crate) fn budget(context: &Context, now: UnixTime, most: Duration) -> Duration {
    let until = UnixTime(i64::try_from(context.deadline / 1000).unwrap_or(i64::MAX));
    let left = Duration::from_secs(until.seconds_since(now));
    match left.checked_sub(policy::LAMBDA_MARGIN) {
        Some(usable) if !usable.is_zero() && left <= policy::LAMBDA_LONGEST => most.min(usable),
        _ => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(4);

    fn budget_at(deadline_ms: u64) -> Duration {
        let mut context = Context::default();
        context.deadline = deadline_ms;
        budget(&context, UnixTime(1_000), MOST)
    }

    #[test]
    fn an_invocation_ends_before_lambda_would_end_it() {
        assert_eq!(budget_at(1_015_000), MOST);
        assert_eq!(budget_at(1_003_000), Duration::from_secs(2));
    }

    #[test]
    fn a_wrong_deadline_is_ignored() {
        for wrong in [0, 1_000, 999_000, 1_000_000, 1_001_000, 9_999_999, u64::MAX] {
            assert_eq!(budget_at(wrong), MOST, "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_inner_budget_never_outlasts_the_outer_one() {
        assert_eq!(remaining(), Duration::ZERO);
        assert_eq!(at_most(MOST), Instant::now() + MOST);
        within(Duration::from_secs(2), async {
            assert_eq!(at_most(MOST), Instant::now() + Duration::from_secs(2));
            assert_eq!(within(MOST, async { remaining() }).await, Duration::from_secs(2));
            tokio::time::advance(MOST).await;
            assert_eq!((remaining(), at_most(MOST)), (Duration::ZERO, Instant::now() - Duration::from_secs(2)));
        })
        .await;
    }
}
