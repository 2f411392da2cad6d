//! What users see when something fails, hangs or dies: 503 in time, nothing half done, and service again without a restart. Each test
//! carries the number of its fault in docs/operations.md, and writes what it saw for the table there.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clocks;
mod conflicts;
mod connection_limits;
mod dynamodb_and_ses;
mod failover;
mod fault;
mod frozen_functions;
mod killed_functions;
mod postgresql_outages;
mod query_plans;
mod slow_database;
mod tls_and_iam;
