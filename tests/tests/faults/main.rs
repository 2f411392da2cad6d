//! What clients see when a dependency fails or hangs, or a function is killed: 503 within the deadline, no partial changes, and recovery
//! without a restart. A comment above each test names the number of its fault in docs/operations.md. Each test appends a row to the table of
//! results.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clocks;
mod conflicts;
mod connection_limits;
mod failover;
mod fault;
mod frozen_functions;
mod killed_functions;
mod operation;
mod passkey_operation;
mod postgresql_outages;
mod prepared_statements;
mod query_plans;
mod ses;
mod slow_database;
mod state_table;
mod tls;
