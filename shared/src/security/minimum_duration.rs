//! Answers that take a minimum duration, so that their duration does not reveal whether an account exists.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::policy;

/// The earliest time at which an answer may be given.
#[derive(Debug, Clone, Copy)]
pub struct MinimumDuration(Instant);

impl MinimumDuration {
    /// A minimum duration that starts now.
    #[must_use]
    pub fn start(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// The time until it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The time for an attempt to send a mail: it ends [`policy::MINIMUM_DURATION_MARGIN`] before the minimum duration does. Without a minimum duration,
    /// it is [`policy::MAIL_DEADLINE`]. `whole` is the duration that this value was started with.
    #[must_use]
    pub fn time_for_mail(self, whole: Duration) -> Duration {
        if whole.is_zero() {
            policy::MAIL_DEADLINE
        } else {
            self.remaining().saturating_sub(policy::MINIMUM_DURATION_MARGIN)
        }
    }

    /// Waits until it has passed.
    pub async fn wait(self) {
        sleep_until(self.0).await;
    }
}
