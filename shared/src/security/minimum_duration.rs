//! Answers that take a minimum duration, so that their duration does not reveal whether an account exists.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::policy;

/// The earliest time at which an answer may be given.
#[derive(Debug, Clone, Copy)]
pub struct MinimumDuration {
    end: Instant,
    duration: Duration,
}

impl MinimumDuration {
    /// A minimum duration that starts now.
    #[must_use]
    pub fn start(duration: Duration) -> Self {
        Self { end: Instant::now() + duration, duration }
    }

    /// The maximum time of an attempt to send a mail now. The attempt ends before the minimum duration does, so that it does not make the answer take
    /// longer. Without a minimum duration, it may take [`policy::MAIL_DEADLINE`].
    #[must_use]
    pub fn time_for_mail(self) -> Duration {
        if self.duration.is_zero() {
            return policy::MAIL_DEADLINE;
        }
        self.end.saturating_duration_since(Instant::now()).saturating_sub(policy::MINIMUM_DURATION_MARGIN)
    }

    /// Waits until it has passed.
    pub async fn wait(self) {
        sleep_until(self.end).await;
    }
}
