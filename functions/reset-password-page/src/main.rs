//! `GET /reset-password/{token}`: the page that a reset mail links to, with a form for the new password.

mod texts;

use std::process::ExitCode;

use askama::Template;
use shared::{
    brand::Brand,
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    pages::{Frame, Page},
    runtime::run,
    security::PasswordRules,
};

use self::texts::Texts;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, reset_password_page).await
}

async fn reset_password_page(app: &App, request: Request) -> Result<Reply, ApiError> {
    Ok(app.page.reply(&request))
}

#[derive(Template)]
#[template(path = "page.html")]
struct ResetPassword<'a> {
    frame: Frame<'a>,
    texts: &'static Texts,
    min_length: usize,
}

struct App {
    page: Page,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let (brand, min_length) = (Brand::from_env(&env)?, PasswordRules::from_env(&env)?.min_length());
        let page = Page::new(&brand, Some(min_length), include_str!("../templates/page.js"), |frame| {
            let texts = Texts::of(frame.locale);
            ResetPassword { frame, texts, min_length }.to_string()
        });
        Ok(Self { page })
    }
}
