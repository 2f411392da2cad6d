//! What users see when something fails, hangs or dies: 503 in time, nothing half done, and service again without a restart. Each test
//! carries the number of its fault in docs/operations.md, and writes what it saw for the table there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics: that is how it fails")]

mod clocks;
mod conflicts;
mod failover;
mod freezing;
mod killing;
mod neighbours;
mod observed;
mod plans;
mod pooling;
mod server;
mod slowness;
mod way_in;
