//! What `xtask`, `delivery` and the tests share. No function depends on it.
