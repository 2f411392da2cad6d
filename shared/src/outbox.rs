//! Attempts at mails that are owed. The statement that made a mail due wrote it into the outbox. It is deleted there when SES has taken the
//! mail, or refused it for good. In any other case `sweep` attempts it again.

use std::time::Duration;

use tracing::error;

use crate::{
    db::{Database, outbox},
    deadline,
    domain::{MailId, UserId},
    mail::{Mail, MailError, Mailer},
    security::policy,
};

/// Sends what is owed.
pub struct Outbox {
    database: Database,
    mailer: Mailer,
}

impl Outbox {
    /// An outbox of this database and this sender.
    #[must_use]
    pub fn new(database: Database, mailer: Mailer) -> Self {
        Self { database, mailer }
    }

    /// Makes one attempt within `limit`, and logs one that failed. A mail that was sent and could not be settled is sent again.
    pub async fn attempt(&self, attempt: MailId, user: UserId, email: &str, mail: Mail, limit: Duration) -> Attempted {
        let sent = async {
            let to_send = limit.saturating_sub(policy::MAIL_SETTLING);
            let attempted = match self.mailer.send(email, mail, to_send).await {
                Ok(()) => Attempted::Sent,
                Err(problem @ MailError::Refused(_)) => {
                    error!(user_id = user.0, %problem, "a mail was refused, and is given up");
                    Attempted::Refused
                }
                Err(problem) => {
                    error!(user_id = user.0, %problem, "a mail was not sent, and is owed");
                    return Attempted::Owed;
                }
            };
            if let Err(problem) = outbox::settle(&self.database, user, attempt).await {
                error!(user_id = user.0, %problem, "a mail could not be settled, and is attempted again");
            }
            attempted
        };
        deadline::within(limit, sent).await
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// SES took the mail.
    Sent,
    /// SES refuses it for good. Nobody attempts it again.
    Refused,
    /// It is still owed.
    Owed,
}
