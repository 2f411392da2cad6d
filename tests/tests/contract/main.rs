//! The files that describe the API agree with one another and with the code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deploy_role;
mod endpoints;
mod events;
mod numbers;
mod openapi;
mod start;
mod template;
mod variables;
mod workflows;
