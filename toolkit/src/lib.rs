//! What `xtask`, `delivery` and the tests share. No function depends on it.

pub mod gateway;
pub mod lambda;
pub mod route;
pub mod template;
