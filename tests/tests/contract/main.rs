//! The files that describe the API are held to one another, and to the code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deploy_role;
mod events;
mod openapi;
mod routes;
mod workflows;
