//! `GET /reset-password/{token}`: the page a reset mail leads to, with a form for the new password.
//!
//! The page is the same for every token: its script reads the token from its own address and posts it to `reset-password`. So
//! nothing is looked up or used up here, whoever opens the link, and no text of a stranger's gets into the page.

use std::process::ExitCode;

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use shared::{
    config::{self, ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    runtime::run,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, reset_password_page).await
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

struct App {
    html: String,
    content_security_policy: String,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let config::PasswordRules { min_length, .. } = config::PasswordRules::from_env(&env)?;
        let page = Page { style: STYLE, script: SCRIPT, min_length };
        Ok(Self { html: page.to_string(), content_security_policy: content_security_policy() })
    }
}

async fn reset_password_page(app: &App, _: Request) -> Result<Reply, ApiError> {
    Ok(Reply::page(app.html.clone(), &app.content_security_policy))
}

/// Nothing but the page's own style and script, named by their hashes (CSP Level 3 §2.3.1), and posting to the same origin.
fn content_security_policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}
