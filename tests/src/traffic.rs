//! Random traffic of many simulated users, and the check that no acknowledged change was lost.
//!
//! An answer can be lost: after a 503 or a killed process, a client does not know whether its request took effect. Each
//! simulated user therefore records which changes were acknowledged and which are uncertain. Every later answer, and the
//! database at the end, must agree with that record.

mod account_changes;
mod account_requests;
mod answers;
mod client_state;
mod factors;
mod ledger;
mod random;
mod simulated_user;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

pub use self::{
    answers::{AnswerLog, median},
    ledger::Ledger,
    random::SeededRng,
    simulated_user::SimulatedUser,
};
use crate::{Ses, Stack};

/// Simulated users of a stack, and the answers they received.
pub struct Traffic<'a> {
    /// The answers so far, and which of them were wrong.
    pub answers: AnswerLog,
    stack: &'a Stack,
    ses: &'a Ses,
    seed: u64,
    pause: Duration,
    users: AtomicU32,
}

impl<'a> Traffic<'a> {
    /// Traffic that has no users yet. The seed and the answers that users receive determine what the users do. Between two requests,
    /// each user waits for up to `pause`.
    #[must_use]
    pub fn new(stack: &'a Stack, ses: &'a Ses, seed: u64, pause: Duration) -> Self {
        Self { answers: AnswerLog::new(), stack, ses, seed, pause, users: AtomicU32::new(0) }
    }

    /// Runs `at_once` users at a time until the given time, and replaces each user who has finished. Returns all users.
    pub async fn run(&'a self, at_once: usize, until: Instant) -> Vec<SimulatedUser<'a>> {
        let one_after_another = async |_| {
            let mut users = Vec::new();
            while Instant::now() < until {
                let number = self.users.fetch_add(1, Ordering::SeqCst);
                let rng = SeededRng::new(self.seed.wrapping_add(number.into()));
                let mut user = SimulatedUser::new(self, number, rng);
                user.run(until).await;
                users.push(user);
            }
            users
        };
        join_all((0..at_once).map(one_after_another)).await.into_iter().flatten().collect()
    }
}
