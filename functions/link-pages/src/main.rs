//! The pages that the mails about an account link to: `GET /verify-email/{token}`, `/change-email/{token}`, `/undo-email-change/{token}`,
//! `/undo-factor/{token}` and `/keep-account/{token}`. Opening a page changes nothing. Its button posts to the same path below `/api`.

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
};

use self::texts::{PageTexts, Texts};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(App::from_env, link_pages).await
}

async fn link_pages(app: &App, request: Request) -> Result<Reply, ApiError> {
    let page = match request.route() {
        "GET /verify-email/{token}" => &app.verify_email,
        "GET /change-email/{token}" => &app.change_email,
        "GET /undo-email-change/{token}" => &app.undo_email_change,
        "GET /undo-factor/{token}" => &app.undo_factor,
        "GET /keep-account/{token}" => &app.keep_account,
        _ => return Err(ApiError::unknown_route()),
    };
    Ok(page.reply(&request))
}

#[derive(Template)]
#[template(path = "page.html")]
struct LinkPage<'a> {
    frame: Frame<'a>,
    texts: &'static Texts,
    page: &'static PageTexts,
    asks_for_password: bool,
}

struct App {
    verify_email: Page,
    change_email: Page,
    undo_email_change: Page,
    undo_factor: Page,
    keep_account: Page,
}

impl App {
    async fn from_env(env: Environment) -> Result<Self, ConfigError> {
        let brand = Brand::from_env(&env)?;
        let compose = |asks_for_password, texts_of: fn(&'static Texts) -> &'static PageTexts| {
            Page::new(&brand, None, include_str!("../templates/page.js"), |frame| {
                let texts = Texts::of(frame.locale);
                LinkPage { frame, texts, page: texts_of(texts), asks_for_password }.to_string()
            })
        };
        Ok(Self {
            verify_email: compose(true, |texts| &texts.verify_email),
            change_email: compose(true, |texts| &texts.change_email),
            undo_email_change: compose(false, |texts| &texts.undo_email_change),
            undo_factor: compose(false, |texts| &texts.undo_factor),
            keep_account: compose(false, |texts| &texts.keep_account),
        })
    }
}
