//! The clock and the random number generator. Only this module uses them directly, which clippy enforces. Other code calls this module, or takes
//! `now` or an `rng` as a parameter.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "only this module may use them")]

use std::time::SystemTime;

use rand::{rand_core::UnwrapErr, rngs::SysRng};

use crate::domain::UnixMillis;

/// The function's clock.
pub(crate) fn now() -> UnixMillis {
    UnixMillis::from(SystemTime::now())
}

/// The system's random number generator. It panics if the system has no randomness, and the request is then answered with 500.
pub(crate) fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
