//! The function's clock decides when a session in DynamoDB expires. So every answer of DynamoDB is used to check that clock.

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef},
    },
    error::BoxError,
    primitives::{DateTime, DateTimeFormat},
};
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use tracing::error;

use crate::{
    domain::{UnixMillis, UnixTime},
    security::policy,
    system,
};

/// Compares the header `Date` of each answer with the function's clock. If they differ by more than [`policy::CLOCK_TOLERANCE`], the call fails, and
/// the request is answered with 503.
#[derive(Debug)]
pub(super) struct ClockCheck;

/// When a request was sent, by the function's clock.
#[derive(Debug, Clone, Copy)]
struct SentAt(UnixMillis);

impl Storable for SentAt {
    type Storer = StoreReplace<Self>;
}

impl Intercept for ClockCheck {
    fn name(&self) -> &'static str {
        "ClockCheck"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        memory: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        memory.interceptor_state().store_put(SentAt(system::now()));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        answer: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        memory: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = answer
            .response()
            .headers()
            .get("date")
            .and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        let (Some(date), Some(SentAt(sent_at))) = (date, memory.load::<SentAt>().copied()) else { return Ok(()) };
        let off = seconds_off(UnixTime(date.secs()), sent_at, system::now());
        if off > 0 {
            error!(
                clock_off = off,
                "the function's clock and DynamoDB's clock differ by more than the tolerance; clock_off is the excess in seconds"
            );
            return Err("the function's clock is wrong".into());
        }
        Ok(())
    }
}

/// By how many seconds DynamoDB's `date` lies before the start of the call or after its end, beyond the tolerance. 0 if it lies within.
fn seconds_off(date: UnixTime, sent_at: UnixMillis, answered_at: UnixMillis) -> u64 {
    // DynamoDB rounds `date` down to whole seconds, so the times of the function are rounded down, too.
    let tolerance = i64::try_from(policy::CLOCK_TOLERANCE.as_secs()).unwrap_or(i64::MAX);
    let (earliest, latest) = (UnixTime(sent_at.seconds().0 - tolerance), UnixTime(answered_at.seconds().0 + tolerance));
    earliest.seconds_since(date).max(date.seconds_since(latest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_within_two_seconds_of_the_call_is_accepted() {
        let off = |date| seconds_off(UnixTime(date), UnixMillis(100_900), UnixMillis(101_100));
        assert_eq!([97, 98, 100, 103, 104, 220].map(off), [1, 0, 0, 0, 1, 117]);
        assert_eq!(policy::CLOCK_TOLERANCE, Duration::from_secs(2));
    }
}
