//! Mails: their content, and sending them.
//!
//! The statement that makes a mail necessary writes it into the table `outbox`. The row is deleted when SES has accepted the mail or refuses it
//! permanently. Until then `sweep` tries again, so no mail is lost when a function is killed.
//! `sweep` gives a mail up when it expires.

mod content;
mod links;
pub(crate) mod ses;

use std::time::Duration;

use tracing::error;

use self::ses::{MailError, Ses, SesSettings};
pub use self::{
    content::{Link, Mail, Message},
    links::{LinkPages, ResetPage},
};
use crate::{
    brand::Brand,
    db::{Database, outbox},
    deadline,
    domain::{MailId, User},
    environment::{ConfigError, Environment},
    security::policy,
};

/// Sends the mails in the outbox.
pub struct Mailer {
    database: Database,
    ses: Ses,
    brand: Brand,
}

impl Mailer {
    /// Reads `MAIL_FROM`, `MAIL_CONFIGURATION_SET`, `AWS_ENDPOINT_URL_SES` or `AWS_ENDPOINT_URL`, and the variables of [`Brand`].
    ///
    /// # Errors
    /// If the sender is missing, or a value is malformed.
    pub fn from_env(env: &Environment, database: Database) -> Result<Self, ConfigError> {
        Ok(Self { database, ses: Ses::new(SesSettings::from_env(env)?), brand: Brand::from_env(env)? })
    }

    /// Makes one attempt to send a mail to a user in the user's language, within `limit`. Deletes it from the outbox if it was sent or refused
    /// permanently. Logs failures.
    pub async fn attempt(&self, attempt: MailId, to: &User, mail: &Mail<'_>, limit: Duration) -> Attempted {
        self.attempt_to(&to.email, attempt, to, mail, limit).await
    }

    /// Like [`Self::attempt`], but to another address than that of the account.
    pub async fn attempt_to(
        &self,
        address: &str,
        attempt: MailId,
        to: &User,
        mail: &Mail<'_>,
        limit: Duration,
    ) -> Attempted {
        let user = to.id;
        let message = mail.compose(to.locale, &self.brand);
        let sent = async {
            let to_send = limit.saturating_sub(policy::MAIL_SETTLING);
            let attempted = match self.ses.send(address, message, to_send).await {
                Ok(()) => Attempted::Sent,
                Err(problem @ MailError::Refused(_)) => {
                    error!(user_id = user.0, %problem, "a mail was refused and is not tried again");
                    Attempted::Refused
                }
                Err(problem) => {
                    error!(user_id = user.0, %problem, "a mail was not sent and stays in the outbox");
                    return Attempted::Failed;
                }
            };
            if let Err(problem) = outbox::delete(&self.database, user, attempt).await {
                error!(user_id = user.0, %problem, "a mail was sent or refused but not deleted from the outbox, so sweep tries it again");
            }
            attempted
        };
        // The future is large, and some requests attempt two mails at the same time.
        deadline::within(limit, Box::pin(sent)).await
    }
}

/// The result of an attempt to send a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// SES accepted the mail.
    Sent,
    /// SES refuses the mail permanently. It is not tried again.
    Refused,
    /// SES did not accept the mail. It stays in the outbox.
    Failed,
}
