//! The limit of all mails to mailboxes that nobody has proved.

use tracing::error;

use super::policy;
use crate::{
    domain::{CounterKey, Source, UserId},
    environment::{ConfigError, Environment},
};

/// How many mails may go to mailboxes that nobody has proved, in [`policy::MAIL_BUDGET_WINDOW`]. Counted are the mails of sign-ups (verification
/// mails, and notices to the owners of accounts), and the mails to the new address of a requested change. All other mails are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailBudget(i32);

impl MailBudget {
    /// Reads `MAILS_PER_HOUR`.
    ///
    /// # Errors
    /// If it is not a whole number up to 65535.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let default = u16::try_from(policy::MAILS_PER_HOUR).unwrap_or(u16::MAX);
        Ok(Self(env.parsed("MAILS_PER_HOUR", "a whole number up to 65535", default)?.into()))
    }

    /// The number of mails.
    #[must_use]
    pub fn mails(self) -> i32 {
        self.0
    }

    /// Reports that a mail was not sent because the budget is used up. `user` is the account that the mail is about, if there is one. The metric
    /// `MailBudgetUsedUp` in `template.yaml` counts these lines by the end of their message.
    pub fn report_used_up(user: Option<UserId>) {
        error!(user_id = user.map(|user| user.0), "a mail was not sent, because MAILS_PER_HOUR is used up");
    }

    /// The counter of the mails that a source has caused. Its limit is [`policy::MAILS_OF_SOURCE`].
    #[must_use]
    pub fn source_counter(source: &Source) -> CounterKey {
        CounterKey::of(&["mails", "source", source.as_str()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_whole_number() {
        let of = |value| MailBudget::from_env(&Environment::with(&[("MAILS_PER_HOUR", value)]));
        assert_eq!(of("").unwrap().mails(), policy::MAILS_PER_HOUR);
        assert_eq!((of("0").unwrap().mails(), of("65535").unwrap().mails()), (0, 65_535));
        for value in ["-1", "65536", "1.5", "many"] {
            assert!(of(value).is_err(), "{value}");
        }
    }
}
