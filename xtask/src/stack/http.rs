//! HTTP to the programs on this machine: no proxy, and a status is an answer, not an error.

use std::time::Duration;

use ureq::Agent;

pub fn agent(timeout: Option<Duration>) -> Agent {
    Agent::config_builder().proxy(None).http_status_as_error(false).timeout_global(timeout).build().into()
}
