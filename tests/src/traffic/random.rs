//! Reproducible random numbers.

use std::time::Duration;

/// A random number generator whose numbers follow from a seed (`SplitMix64`).
pub struct SeededRng(u64);

impl SeededRng {
    /// Two generators with the same seed return the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to, but not including, `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).expect("31 bits") % limit
    }

    /// One of the given values.
    pub fn choose<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// A duration from `least` to `most`, in whole milliseconds.
    pub fn duration_between(&mut self, least: Duration, most: Duration) -> Duration {
        let limit = usize::try_from(most.saturating_sub(least).as_millis()).expect("a short time") + 1;
        least + Duration::from_millis(self.below(limit) as u64)
    }
}
