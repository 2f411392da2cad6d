//! Chance that can be had again.

use std::time::Duration;

/// Random numbers that follow from a seed (`SplitMix64`).
pub struct Dice(u64);

impl Dice {
    /// The same seed, the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).expect("31 bits") % sides
    }

    /// One of them.
    pub fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.roll(things.len())]
    }

    /// A time, in whole milliseconds.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let sides = usize::try_from(most.saturating_sub(least).as_millis()).expect("a short time") + 1;
        least + Duration::from_millis(self.roll(sides) as u64)
    }
}
