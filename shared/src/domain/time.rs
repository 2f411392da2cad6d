use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::time::{OffsetDateTime, format_description::well_known::Rfc3339};
use serde::{Deserialize, Serialize, Serializer};

/// Whole seconds since 1970-01-01 UTC: the `NumericDate` of RFC 7519 §2, without its fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// The time `duration` after this one. Fractions of a second are dropped.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(duration.as_secs()))
    }

    /// The time in UTC as RFC 3339 writes it, such as `2026-11-27T09:30:21Z`. A year before 0 counts as 0, and one after 9999 as 9999.
    ///
    /// # Panics
    /// Never: such a time can be written.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.in_utc().format(&Rfc3339).expect("a year of four digits")
    }

    /// The date in UTC as RFC 3339 writes it, such as `2026-11-27`.
    #[must_use]
    pub fn to_date(self) -> String {
        self.in_utc().date().to_string()
    }

    fn in_utc(self) -> OffsetDateTime {
        const YEARS_OF_FOUR_DIGITS: (i64, i64) = (-62_167_219_200, 253_402_300_799);
        let (first, last) = YEARS_OF_FOUR_DIGITS;
        OffsetDateTime::from_unix_timestamp(self.0.clamp(first, last)).expect("a year of four digits")
    }

    /// Serializes the time as [`Self::to_rfc3339`] writes it.
    ///
    /// # Errors
    /// If the serializer fails.
    pub fn serialize_as_rfc3339<S: Serializer>(time: &Self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.to_rfc3339())
    }

    /// Like [`Self::serialize_as_rfc3339`], or `null`.
    ///
    /// # Errors
    /// If the serializer fails.
    pub fn serialize_optional_as_rfc3339<S: Serializer>(time: &Option<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(Self::to_rfc3339).serialize(serializer)
    }

    /// Seconds from `earlier` to this time. Zero if `earlier` is later.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl From<SystemTime> for UnixTime {
    /// The second in which the time lies.
    fn from(time: SystemTime) -> Self {
        let whole_seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(since_1970) => whole_seconds(since_1970),
            Err(before) => {
                let until_1970 = before.duration();
                -whole_seconds(until_1970) - i64::from(until_1970.subsec_nanos() > 0)
            }
        })
    }
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The whole seconds of this time.
    #[must_use]
    pub fn seconds(self) -> UnixTime {
        UnixTime(self.0.div_euclid(1_000))
    }

    /// The time `duration` after this one.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// The time from `earlier` to this time. Zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for UnixMillis {
    /// A clock that shows a time before 1970 counts as 1970. Every token is then from the future and is refused.
    fn from(time: SystemTime) -> Self {
        Self(millis(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc() {
        for (time, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_426_221, "2026-11-23T09:30:21Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(UnixTime(time).to_rfc3339(), written);
            assert_eq!(UnixTime(time).to_date(), written[..10]);
        }
    }

    #[test]
    fn a_time_lies_in_the_second_that_began_last() {
        let half = Duration::from_millis(500);
        for (time, second) in [
            (UNIX_EPOCH, 0),
            (UNIX_EPOCH + half, 0),
            (UNIX_EPOCH + Duration::from_secs(2), 2),
            (UNIX_EPOCH - half, -1),
            (UNIX_EPOCH - Duration::from_secs(1), -1),
            (UNIX_EPOCH - Duration::from_secs(1) - half, -2),
        ] {
            assert_eq!(UnixTime::from(time), UnixTime(second));
        }
    }
}
