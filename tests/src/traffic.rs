//! Many people at once, who do what people do, and the books on it.
//!
//! An answer can be lost: a 503, or a process that was killed, says nothing about what became of the request. So each person knows what is
//! certain and what may be either; every later answer is held against that, and in the end so is the database.

mod books;
mod dice;
mod life;
mod record;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

pub use self::{
    books::Books,
    dice::Dice,
    life::Life,
    record::{Record, median},
};
use crate::{Ses, Stack};

/// People who use a stack, and what they were answered.
pub struct Traffic<'a> {
    /// What they were answered.
    pub record: Record,
    stack: &'a Stack,
    ses: &'a Ses,
    seed: u64,
    pause: Duration,
    people: AtomicU32,
}

impl<'a> Traffic<'a> {
    /// Nobody yet. Whatever people do follows from the seed, and from what they are answered; between two things they do, they
    /// think for up to `pause`.
    #[must_use]
    pub fn new(stack: &'a Stack, ses: &'a Ses, seed: u64, pause: Duration) -> Self {
        Self { record: Record::new(), stack, ses, seed, pause, people: AtomicU32::new(0) }
    }

    /// Lets so many people come at once, another whenever one leaves, until it is time; gives all there were.
    pub async fn flows(&'a self, at_once: usize, until: Instant) -> Vec<Life<'a>> {
        let place = async |_| {
            let mut lives = Vec::new();
            while Instant::now() < until {
                let number = self.people.fetch_add(1, Ordering::SeqCst);
                let mut life = Life::new(self, number, Dice::new(self.seed.wrapping_add(number.into())));
                life.is_lived(until).await;
                lives.push(life);
            }
            lives
        };
        join_all((0..at_once).map(place)).await.into_iter().flatten().collect()
    }
}
