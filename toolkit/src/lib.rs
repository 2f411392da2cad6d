//! What `xtask`, `delivery` and the tests share. No function depends on it.

pub mod endpoints;
pub mod needs;
pub mod route;
