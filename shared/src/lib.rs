//! What the endpoints share. Code that only one endpoint needs is in that endpoint's folder.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`sessions`] | opens, authenticates, refreshes, lists and ends sessions |
//! | [`proofs`] | checks the passwords of signed-in users, and of people who have the link of a mail |
//! | [`second_factors`] | checks codes of authenticators, recovery codes, and passkeys beside a password |
//! | [`passkeys`] | makes options for browsers, and checks passkeys |
//! | [`counters`] | counts attempts, in PostgreSQL or DynamoDB |
//! | [`mail`] | composes mails and sends them |
//! | [`pages`] | has what the pages of links in mails share |
//! | [`brand`] | has the look of mails and pages that the operator configures |
//! | [`db`] | has the SQL |
//! | [`security`] | has the rules for passwords, tokens and limits. Their numbers, with reasons, are in [`security::policy`] |
//! | [`domain`] | has the values that the other modules pass to each other |
//! | [`http`], [`error`] | read a request and write a reply; the table of refusals |
//! | [`runtime`], [`deadline`], [`audit`] | start a function; limit the time of a request; log security events |
//! | [`environment`], [`aws`] | read environment variables; configure the clients of AWS |
//! | `state_table` | reads and writes items of the DynamoDB table |
//!
//! Dependencies go in one direction. Endpoints may use every public module. `proofs` uses `counters` and `sessions`; `second_factors` uses `sessions` and `passkeys`;
//! `counters` uses `sessions`; `sessions` uses `passkeys`. `mail` and `pages` use `brand`. `sessions` and `counters` use `state_table`. All of
//! these except `pages` and `brand` use `db`; `db` uses `security`; `security` uses `domain`. A module that has settings reads them itself from the
//! [`environment`].

#[cfg(test)]
mod arbitrary;
pub mod audit;
pub mod aws;
pub mod brand;
pub mod counters;
pub mod db;
pub mod deadline;
pub mod domain;
pub mod environment;
pub mod error;
pub mod http;
pub mod mail;
pub mod pages;
pub mod passkeys;
pub mod proofs;
pub mod runtime;
pub mod second_factors;
pub mod security;
pub mod sessions;
#[cfg(test)]
mod settings_tests;
mod state_table;
mod system;
