//! HTTP requests to programs on this machine.

use std::time::Duration;

use ureq::Agent;

/// An HTTP client that uses no proxy. It returns every status as an answer, never as an error.
#[must_use]
pub fn agent(timeout: Option<Duration>) -> Agent {
    Agent::config_builder().proxy(None).http_status_as_error(false).timeout_global(timeout).build().into()
}
