//! The two things of this machine that nobody can repeat: what time it is, and randomness. They are read here and nowhere else;
//! everything that depends on them takes `now` or an `rng`, and clippy sees to it.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the one place that names them")]

use std::time::SystemTime;

use rand::{rand_core::UnwrapErr, rngs::SysRng};

use crate::domain::UnixTime;

/// The function's clock.
pub(crate) fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// The system's generator. A machine without randomness cannot serve, so a failure panics, which answers 500.
pub(crate) fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
