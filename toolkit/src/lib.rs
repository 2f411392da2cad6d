//! What `xtask`, `delivery` and the tests share. No function depends on it.

pub mod console;
pub mod endpoints;
pub mod file_lock;
pub mod gateway;
pub mod http;
pub mod installation;
pub mod interrupt;
pub mod lambda;
mod memory;
pub mod needs;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod process_tree;
pub mod route;
pub mod run_folder;
pub mod service;
pub mod system;
pub mod template;
pub mod tools;
pub mod workspace;
