//! A least time for an answer, so that its time tells nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The moment before which an answer is not given.
#[derive(Debug, Clone, Copy)]
pub struct Floor(Instant);

impl Floor {
    /// A floor that is reached `length` from now.
    #[must_use]
    pub fn start(length: Duration) -> Self {
        Self(Instant::now() + length)
    }

    /// The time left until the floor is reached.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Waits until the floor is reached; not at all where it has been.
    pub async fn reached(self) {
        sleep_until(self.0).await;
    }
}
