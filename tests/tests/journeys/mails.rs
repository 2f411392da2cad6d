//! The language of mails.

use serde_json::json;
use tests::{Stack, mailbox::Mail};

/// The subjects of the reset mail and of the notice.
const ENGLISH: [&str; 2] = ["Reset your password", "Your password was changed"];
const GERMAN: [&str; 2] = ["Setzen Sie Ihr Passwort zurück", "Ihr Passwort wurde geändert"];
const FRENCH: [&str; 2] = ["Réinitialisez votre mot de passe", "Votre mot de passe a été modifié"];
const SPANISH: [&str; 2] = ["Restablezca su contraseña", "Se ha cambiado su contraseña"];

fn subjects(mails: &[Mail]) -> Vec<&str> {
    mails.iter().map(|mail| mail.subject.as_str()).collect()
}

#[tokio::test]
async fn mails_are_in_the_language_of_the_account() {
    let stack = Stack::start().await;
    for (locale, expected) in [("en", ENGLISH), ("de", GERMAN), ("fr", FRENCH), ("es", SPANISH)] {
        let ada = stack.stranger("Ada");
        let body = json!({ "name": ada.name, "email": ada.email, "password": ada.password, "locale": locale });
        stack.post("/api/signup", &body).await.assert_created();
        let token = ada.receives_reset_mail(1).await.token();
        assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
        let mails = ada.mails(2).await;
        assert_eq!(subjects(&mails), expected);
        for mail in mails {
            assert!(mail.html.contains(&format!("<html lang=\"{locale}\">")), "{}", mail.html);
        }
    }
}

#[tokio::test]
async fn mails_to_an_account_without_a_language_are_in_the_default_language() {
    for (default, expected) in [("", ENGLISH), ("es", SPANISH)] {
        let stack = Stack::builder().with("DEFAULT_LOCALE", default).start().await;
        let ada = stack.user("Ada").await;
        stack.sql("UPDATE users SET locale = NULL").await;
        let token = ada.receives_reset_mail(1).await.token();
        assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
        assert_eq!(subjects(&ada.mails(2).await), expected);
    }
}

#[tokio::test]
async fn sweep_sends_mails_in_the_language_of_the_account() {
    let stack = Stack::builder()
        .with_for("forgot-password", "AWS_ENDPOINT_URL_SES", "http://127.0.0.1:9")
        .with_for("reset-password", "AWS_ENDPOINT_URL_SES", "http://127.0.0.1:9")
        .start()
        .await;
    let ada = stack.user("Ada").await;
    stack.sql("UPDATE users SET locale = 'fr'").await;
    let token = ada.receives_reset_mail(1).await.token();
    assert_eq!(ada.resets_password(&token, "another password").await.status, 200);
    assert_eq!(subjects(&ada.mails(2).await), FRENCH);
}
