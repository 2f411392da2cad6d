//! What is written to people, and sending it through SES.
//!
//! A mail says nothing that somebody else could have typed: not the account's name, which whoever signed up chose, so that nobody
//! makes our mails carry their words. Templates stand in `shared/templates/`; the HTML ones escape every value.

use std::time::Duration;

use askama::Template;
use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ses::{
    Client,
    types::{Body, Content, Destination, Message},
};
use thiserror::Error;

use crate::{config, deadline, security::ResetToken};

/// A mail that could not be handed to SES.
#[derive(Debug, Error)]
pub enum MailError {
    /// SES did not take it in time.
    #[error("SES did not answer in time")]
    Late,
    /// SES did not take it now. It may later.
    #[error("SES did not take the mail: {0}")]
    NotTaken(String),
    /// SES will never take it.
    #[error("SES refuses the mail for good: {0}")]
    Refused(String),
}

/// Refusals of SES with status 400 that are not about the mail. They pass, or whoever runs the service mends them.
const PASSING: [&str; 12] = [
    "AccessDenied",
    "AccountSendingPaused",
    "ConfigurationSetDoesNotExist",
    "ConfigurationSetSendingPaused",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MailFromDomainNotVerified",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "ServiceUnavailable",
    "Throttling",
];

impl MailError {
    /// What SES said to a mail: a status and a code.
    fn of(status: u16, code: &str) -> Self {
        // SES writes some codes with and some without the suffix.
        let passes = PASSING.contains(&code.trim_end_matches("Exception"));
        if status == 400 && !passes { Self::Refused(code.to_owned()) } else { Self::NotTaken(code.to_owned()) }
    }
}

/// A mail, composed.
pub struct Mail {
    subject: &'static str,
    text: String,
    html: String,
}

#[derive(Template)]
#[template(path = "password_reset.txt")]
struct PasswordResetText<'a> {
    link: &'a str,
    minutes: u64,
}

#[derive(Template)]
#[template(path = "password_reset.html")]
struct PasswordResetHtml<'a> {
    link: &'a str,
    minutes: u64,
}

#[derive(Template)]
#[template(path = "password_changed.txt")]
struct PasswordChangedText;

#[derive(Template)]
#[template(path = "password_changed.html")]
struct PasswordChangedHtml;

impl Mail {
    /// The mail with the link to the page for a new password: `page`, a slash, and the token, which is good for `lifetime`.
    #[must_use]
    pub fn password_reset(page: &str, token: &ResetToken, lifetime: Duration) -> Self {
        let minutes = lifetime.as_secs() / 60;
        let link = &format!("{page}/{}", token.to_link_text());
        Self {
            subject: "Reset your password",
            text: PasswordResetText { link, minutes }.to_string(),
            html: PasswordResetHtml { link, minutes }.to_string(),
        }
    }

    /// The notice that the password was changed (NIST SP 800-63B-4 §4.2.3; OWASP Forgot Password cheat sheet).
    #[must_use]
    pub fn password_changed() -> Self {
        Self {
            subject: "Your password was changed",
            text: PasswordChangedText.to_string(),
            html: PasswordChangedHtml.to_string(),
        }
    }
}

/// Sends mail in the configured name.
pub struct Mailer {
    ses: Client,
    from: String,
    configuration_set: Option<String>,
}

impl Mailer {
    /// A mailer; region and credentials come from the AWS SDK's own variables. Nothing is sent yet.
    pub async fn new(config: config::Mail) -> Self {
        // No retries inside: the caller's deadline is shorter than a second attempt would be worth.
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .load()
            .await;
        let config::Mail { from, configuration_set, endpoint } = config;
        let ses = aws_sdk_ses::Config::new(&sdk).to_builder().set_endpoint_url(endpoint).clone();
        Self { ses: Client::from_conf(ses.build()), from, configuration_set }
    }

    /// Hands a mail to SES within `limit`, or whatever the request has left.
    pub async fn send(&self, to: &str, mail: Mail, limit: Duration) -> Result<(), MailError> {
        let content = |data: String| Content::builder().charset("UTF-8").data(data).build();
        let composed = |problem: aws_sdk_ses::error::BuildError| MailError::NotTaken(problem.to_string());
        let body =
            Body::builder().text(content(mail.text).map_err(composed)?).html(content(mail.html).map_err(composed)?);
        let message =
            Message::builder().subject(content(mail.subject.to_owned()).map_err(composed)?).body(body.build());
        let request = self
            .ses
            .send_email()
            .source(&self.from)
            .set_configuration_set_name(self.configuration_set.clone())
            .destination(Destination::builder().to_addresses(to).build())
            .message(message.build());
        match tokio::time::timeout_at(deadline::at_most(limit), request.send()).await {
            Err(_) => Err(MailError::Late),
            // The code alone: SES quotes the address in its messages.
            Ok(Err(problem)) => {
                let status = problem.raw_response().map(|response| response.status().as_u16());
                Err(match (problem.as_service_error(), status) {
                    (Some(refusal), Some(status)) => MailError::of(status, refusal.meta().code().unwrap_or("unknown")),
                    _ => MailError::NotTaken(problem.to_string()),
                })
            }
            Ok(Ok(_)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Requirement 46.
    #[test]
    fn the_reset_mail_carries_its_link_in_both_parts_and_escapes_it_in_html() {
        let page = "https://example.com/t?a=1&b=\"<x>";
        let mail = Mail::password_reset(page, &ResetToken::random(&mut crate::system::rng()), Duration::from_hours(1));
        assert!(mail.text.contains(&format!("{page}/")));
        assert!(mail.text.contains("60 minutes"));
        assert!(!mail.html.contains("<x>") && !mail.html.contains("&b=\""));
        assert!(mail.html.contains("60 minutes"));
    }

    #[test]
    fn what_ses_refuses_for_good_is_told_from_what_passes() {
        for code in ["MessageRejected", "InvalidParameterValue", "ValidationError", "unknown"] {
            assert!(matches!(MailError::of(400, code), MailError::Refused(_)), "{code}");
        }
        for code in
            ["Throttling", "ThrottlingException", "MailFromDomainNotVerifiedException", "AccountSendingPausedException"]
        {
            assert!(matches!(MailError::of(400, code), MailError::NotTaken(_)), "{code}");
        }
        for status in [403, 500, 503] {
            assert!(matches!(MailError::of(status, "MessageRejected"), MailError::NotTaken(_)), "{status}");
        }
    }

    // Requirement 31.
    #[test]
    fn the_notice_says_what_to_do() {
        let mail = Mail::password_changed();
        assert!(mail.text.contains("did not") && mail.html.contains("did not"));
    }
}
