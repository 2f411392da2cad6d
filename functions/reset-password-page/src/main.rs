//! `GET /reset-password/{token}`: the page that a reset mail links to, with a form for the new password.
//!
//! The page is the same for every token. Its script reads the token from the page's address and posts it to `reset-password`. So opening the
//! link does not use the token, and no text from a request gets into the page.

use std::process::ExitCode;

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use shared::{
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
    security::PasswordRules,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, reset_password_page).await
}

async fn reset_password_page(app: &App, _: Request) -> Result<Reply, ApiError> {
    Ok(Reply::page(app.html.clone(), &app.content_security_policy))
}

const STYLE: &str = include_str!("../templates/page.css");
const SCRIPT: &str = include_str!("../templates/page.js");

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    style: &'static str,
    script: &'static str,
    min_length: usize,
}

/// Allows only the page's own style and script, by their hashes (CSP Level 3 §2.3.1), and requests to the same origin.
fn content_security_policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

struct App {
    html: String,
    content_security_policy: String,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let page = Page { style: STYLE, script: SCRIPT, min_length: PasswordRules::from_env(&env)?.min_length() };
        Ok(Self { html: page.to_string(), content_security_policy: content_security_policy() })
    }
}
