//! What the endpoints share, and nothing that only one of them needs.
//!
//! An endpoint is told from top to bottom in its own `functions/<name>/src/main.rs`. It stands on five rooms of this crate:
//!
//! | room | what is in it |
//! | --- | --- |
//! | [`http`] | reading a request, writing a [`http::Reply`] |
//! | [`security`] | **the rules**: passwords, tokens, every number with its reason in [`security::policy`] |
//! | [`counters`] | how often something was attempted lately, in PostgreSQL or DynamoDB |
//! | [`db`] | **the SQL**: one query, one named function, one constant |
//! | [`mail`] | what is written to people, and sending it |
//!
//! [`audit`] writes down what happened to whose account, and [`outbox`] sees to it that no mail is lost.
//!
//! They share the vocabulary of [`domain`], which knows neither Lambda nor PostgreSQL. [`runtime`] starts a function,
//! [`config`] reads its environment, [`deadline`] bounds its time, and [`error`] is the one table of refusals.
//!
//! Knowledge flows one way: `functions → {http, security, counters, db, mail} → domain`. Only `runtime`, `deadline`, `http` and `error`
//! know Lambda; `security` never touches PostgreSQL; `db` never decides.

#[cfg(test)]
mod arbitrary;
pub mod audit;
pub mod config;
pub mod counters;
pub mod db;
pub mod deadline;
pub mod domain;
pub mod error;
pub mod http;
pub mod mail;
pub mod outbox;
pub mod runtime;
pub mod security;
mod system;
