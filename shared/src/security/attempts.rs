//! The attempts that are counted only for their source, or only for their account.

use super::policy::{self, Limit};
use crate::domain::{CounterKey, Source, UserId};

/// An action that each source may take only a limited number of times in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// `POST /api/signup`.
    SignUp,
    /// `POST /api/forgot-password`.
    ForgotPassword,
    /// `POST /api/reset-password/{token}`.
    ResetPassword,
}

impl Attempt {
    fn name(self) -> &'static str {
        match self {
            Self::SignUp => "signup",
            Self::ForgotPassword => "forgot-password",
            Self::ResetPassword => "reset-password",
        }
    }

    /// The counter of this source's attempts.
    #[must_use]
    pub fn counter(self, source: &Source) -> CounterKey {
        CounterKey::of(&[self.name(), "source", source.as_str()])
    }

    /// How often one source may make this attempt.
    #[must_use]
    pub fn limit(self) -> Limit {
        match self {
            Self::SignUp => policy::SIGNUPS_OF_SOURCE,
            Self::ForgotPassword => policy::FORGOTTEN_OF_SOURCE,
            Self::ResetPassword => policy::RESETS_OF_SOURCE,
        }
    }
}

/// An action that each account may take only a limited number of times in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountAttempt {
    /// Changing the password.
    NewPassword,
}

impl AccountAttempt {
    /// The counter of this account's attempts.
    #[must_use]
    pub fn counter(self, user: UserId) -> CounterKey {
        match self {
            Self::NewPassword => CounterKey::of(&["new-password", "user", &user.to_string()]),
        }
    }

    /// How often one account may make this attempt.
    #[must_use]
    pub fn limit(self) -> Limit {
        match self {
            Self::NewPassword => policy::NEW_PASSWORDS_OF_ACCOUNT,
        }
    }
}
