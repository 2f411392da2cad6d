//! What people do, and what others try, over real HTTP against the real binaries.

mod environment;
mod http;
mod passwords;
mod reset;
mod sessions;
mod signin;
mod signup;
mod walk_through;
