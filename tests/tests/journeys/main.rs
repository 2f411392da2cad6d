//! What people do, and what others try, over real HTTP against the real binaries.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics: that is how it fails")]

mod authorizer;
mod cors;
mod environment;
mod forged_tokens;
mod http;
mod keys;
mod logs;
mod outbox;
mod passwords;
mod races;
mod reset;
mod sessions;
mod signin;
mod signup;
mod sql;
mod throttle;
mod walk_through;
