//! Percentiles of measured times.

use std::time::Duration;

use serde::Serialize;

/// Percentiles of times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Percentiles {
    /// The percentiles of these times. There must be at least one.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let [p50, p95, p99] = [50, 95, 99].map(|percent| milliseconds(percentile(&times, percent)));
        Self { p50, p95, p99 }
    }
}

/// The percentile by the nearest-rank method. The times must be in ascending order.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent).div_ceil(100).max(1) - 1]
}

/// The time in milliseconds, rounded to microseconds.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_milliseconds(times: impl Iterator<Item = u64>) -> Percentiles {
        Percentiles::of(times.map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_nearest_ranks_whatever_the_order() {
        assert_eq!(of_milliseconds((1..=200).rev()), Percentiles { p50: 100.0, p95: 190.0, p99: 198.0 });
        assert_eq!(of_milliseconds([3, 1, 2].into_iter()), Percentiles { p50: 2.0, p95: 3.0, p99: 3.0 });
    }

    #[test]
    fn one_sample_is_every_percentile() {
        assert_eq!(of_milliseconds(std::iter::once(7)), Percentiles { p50: 7.0, p95: 7.0, p99: 7.0 });
    }
}
