//! Requests that users and attackers send, over real HTTP to the real function binaries.
//!
//! The tests of a route are in the file named after its function. The other files contain tests that concern several routes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account;
mod authorizer;
mod change_email;
mod change_password;
mod cors;
mod dashboard;
mod database;
mod environment;
mod example;
mod forged_tokens;
mod forgot_password;
mod generated;
mod http;
mod isolation_levels;
mod jwks;
mod keep_account;
mod logout;
mod logs;
mod mails;
mod openid_configuration;
mod pages;
mod passkeys;
mod protocol;
mod races;
mod reauthenticate;
mod recovery_codes;
mod refresh;
mod reset_password;
mod restore;
mod secret_rotation;
mod sessions;
mod signin;
mod signin_passkey;
mod signin_second_factor;
mod signup;
mod signup_tells;
mod sql;
mod state_table;
mod statements;
mod stored_hashes;
mod stored_secrets;
mod support;
mod sweep;
mod throttling;
mod totp;
mod undo_factor;
mod unused_capabilities;
mod verify_email;
mod walk_through;
