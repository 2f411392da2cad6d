//! Attempting a mail that is owed. It was written down before; it is forgotten once SES has it; in between, whatever happens, `sweep`
//! comes back to it.

use std::time::Duration;

use tracing::error;

use crate::{
    db::{Database, outbox},
    deadline,
    domain::{MailId, UserId},
    mail::{Mail, Mailer},
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

    /// Makes one attempt within `limit`. False where it failed, which the log says; the mail stays owed then. A mail that was sent and
    /// could not be settled is sent again.
    pub async fn attempt(&self, attempt: MailId, user: UserId, email: &str, mail: Mail, limit: Duration) -> bool {
        let sent = async {
            let to_send = limit.saturating_sub(policy::MAIL_SETTLING);
            if let Err(problem) = self.mailer.send(email, mail, to_send).await {
                error!(user_id = user.0, %problem, "a mail was not sent, and is owed");
                return false;
            }
            if let Err(problem) = outbox::settle(&self.database, user, attempt).await {
                error!(user_id = user.0, %problem, "a mail was sent, and will be again");
            }
            true
        };
        deadline::within(limit, sent).await
    }
}
