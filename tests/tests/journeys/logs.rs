//! What the functions and PostgreSQL log, and what they must never log.

mod audit;
mod format;
mod hostile;
mod scenarios;
mod secrets;
