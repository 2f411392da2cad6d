//! Answers that take a minimum duration, so that their duration does not reveal whether an account exists.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

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

    /// Waits until it has passed.
    pub async fn wait(self) {
        sleep_until(self.0).await;
    }
}
