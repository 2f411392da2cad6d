//! Sending mails through Amazon SES.

use std::time::Duration;

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ses::{Client, primitives::Blob, types::RawMessage};
use mail_builder::{MessageBuilder, headers::raw::Raw};
use thiserror::Error;

use super::Message;
use crate::{
    aws, deadline,
    environment::{ConfigError, Environment},
};

/// Why SES did not accept a mail.
#[derive(Debug, Error)]
pub enum MailError {
    /// SES did not answer in time.
    #[error("SES did not answer in time")]
    Late,
    /// SES did not accept it now. It may accept it later.
    #[error("SES did not accept the mail: {0}")]
    NotAccepted(String),
    /// SES will never accept it.
    #[error("SES refuses the mail permanently: {0}")]
    Refused(String),
}

/// Refusals of SES with status 400 that are not about the mail. They are temporary, or an operator can fix their cause.
const TEMPORARY: [&str; 12] = [
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
    /// The meaning of a status and a code that SES answered.
    fn of(status: u16, code: &str) -> Self {
        // SES writes some codes with the suffix `Exception`, and some without.
        let is_temporary = TEMPORARY.contains(&code.trim_end_matches("Exception"));
        if status == 400 && !is_temporary { Self::Refused(code.to_owned()) } else { Self::NotAccepted(code.to_owned()) }
    }
}

/// How mails are sent.
pub(crate) struct SesSettings {
    from: String,
    configuration_set: Option<String>,
    sdk: SdkConfig,
}

impl SesSettings {
    /// Reads `MAIL_FROM`, `MAIL_CONFIGURATION_SET`, and `AWS_ENDPOINT_URL_SES` or `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    /// If the sender is missing, or a value is malformed.
    pub(crate) fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let name = "MAIL_FROM";
        let from = env.required(name, "the sender of mails, an address SES has verified")?.to_owned();
        if !from.contains('@') || !from.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(ConfigError::Malformed { name, expected: "an address in ASCII, with or without a name" });
        }
        let configuration_set = env.optional("MAIL_CONFIGURATION_SET").map(str::to_owned);
        Ok(Self { from, configuration_set, sdk: aws::sdk_config_of(env, "AWS_ENDPOINT_URL_SES")? })
    }
}

/// The client of SES.
pub(super) struct Ses {
    client: Client,
    from: String,
    configuration_set: Option<String>,
}

impl Ses {
    /// A client with these settings. Sends nothing yet.
    pub(super) fn new(SesSettings { from, configuration_set, sdk }: SesSettings) -> Self {
        // The SDK does not retry: the request has no time for a second attempt, and `sweep` makes the next attempt.
        let client = aws_sdk_ses::Config::new(&sdk)
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .build();
        Self { client: Client::from_conf(client), from, configuration_set }
    }

    /// Sends a mail through SES within `limit` and the time that the request has left.
    pub(super) async fn send(&self, to: &str, mail: Message, limit: Duration) -> Result<(), MailError> {
        let composed = self.compose(to, mail).map_err(|problem| MailError::NotAccepted(problem.to_string()))?;
        let message = RawMessage::builder().data(Blob::new(composed)).build();
        let request = self
            .client
            .send_raw_email()
            .source(&self.from)
            .set_configuration_set_name(self.configuration_set.clone())
            .destinations(to)
            .raw_message(message.map_err(|problem| MailError::NotAccepted(problem.to_string()))?);
        // The future is large, so it is on the heap.
        match tokio::time::timeout_at(deadline::at_most(limit), Box::pin(request.send())).await {
            Err(_) => Err(MailError::Late),
            // Only the code is kept, because SES quotes the address in its messages.
            Ok(Err(problem)) => {
                let status = problem.raw_response().map(|response| response.status().as_u16());
                Err(match (problem.as_service_error(), status) {
                    (Some(refusal), Some(status)) => MailError::of(status, refusal.meta().code().unwrap_or("unknown")),
                    _ => MailError::NotAccepted(problem.to_string()),
                })
            }
            Ok(Ok(_)) => Ok(()),
        }
    }

    /// The mail in the format of RFC 5322. `SendEmail` of this version of the SES API cannot set other headers, so the mail is sent with
    /// `SendRawEmail`. The header `Auto-Submitted` asks programs not to answer it (RFC 3834 §5).
    fn compose(&self, to: &str, mail: Message) -> std::io::Result<Vec<u8>> {
        MessageBuilder::new()
            // `MAIL_FROM` may be `Name <address>`. It is written unchanged, as the value of the header.
            .header("From", Raw::new(&*self.from))
            .to(to)
            .subject(mail.subject)
            .header("Auto-Submitted", Raw::new("auto-generated"))
            .text_body(mail.text)
            .html_body(mail.html)
            .write_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permanent_refusals_of_ses_are_distinguished_from_temporary_ones() {
        for code in ["MessageRejected", "InvalidParameterValue", "ValidationError", "unknown"] {
            assert!(matches!(MailError::of(400, code), MailError::Refused(_)), "{code}");
        }
        for code in
            ["Throttling", "ThrottlingException", "MailFromDomainNotVerifiedException", "AccountSendingPausedException"]
        {
            assert!(matches!(MailError::of(400, code), MailError::NotAccepted(_)), "{code}");
        }
        for status in [403, 500, 503] {
            assert!(matches!(MailError::of(status, "MessageRejected"), MailError::NotAccepted(_)), "{status}");
        }
    }
}
