//! Prints one HTML page with all mails in all languages. `cargo xtask mails` runs it. It reads the variables of the brand.
#![expect(clippy::print_stdout, reason = "the output is the page")]

use askama::Template;
use shared::{
    brand::Brand,
    domain::Locale,
    environment::{ConfigError, Environment},
    mail::{Link, Mail, Message},
    security::{EmailCode, LinkToken},
};

#[derive(Template)]
#[template(path = "mails/preview.html")]
struct Preview {
    mails: Vec<(Locale, Message)>,
}

fn main() -> Result<(), ConfigError> {
    let brand = Brand::from_env(&Environment::of_this_process())?;
    let token = LinkToken::parse(&"A".repeat(43)).expect("a token");
    let code = EmailCode::parse("12345678").expect("a code");
    let mails = Mail::all(Link { page: "https://auth.example.com/page", token: &token }, &code);
    let mails = mails.iter().flat_map(|mail| Locale::ALL.map(|locale| (locale, mail.compose(Some(locale), &brand))));
    println!("{}", Preview { mails: mails.collect() });
    Ok(())
}
