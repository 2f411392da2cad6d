//! The names and limits of the counters of a source, of a session, and of new passwords. The names of the other counters are in the SQL.

use super::{
    LinkTokenHash,
    policy::{self, Limit},
};
use crate::domain::{CounterKey, EmailLookup, SessionId, Source, UserId};

/// An action that each source may take only a limited number of times in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// `POST /api/signup`.
    SignUp,
    /// `POST /api/forgot-password`.
    ForgotPassword,
    /// `POST /api/reset-password/{token}`.
    ResetPassword,
    /// `POST /api/keep-account/{token}`.
    KeepAccount,
    /// `POST /api/verify-email/{token}`, with a token that is not valid. With a valid one, it counts as an attempt to sign in.
    VerifyEmail,
    /// `POST /api/change-email/{token}`, with a token that is not valid. With a valid one, it counts as an attempt to sign in.
    ChangeEmail,
    /// `POST /api/undo-email-change/{token}`, with a token that is not valid.
    UndoEmailChange,
    /// `POST /api/undo-factor/{token}`, with a token that is not valid.
    UndoFactor,
}

impl Attempt {
    fn name(self) -> &'static str {
        match self {
            Self::SignUp => "signup",
            Self::ForgotPassword => "forgot-password",
            Self::ResetPassword => "reset-password",
            Self::KeepAccount => "keep-account",
            Self::VerifyEmail => "verify-email",
            Self::ChangeEmail => "change-email",
            Self::UndoEmailChange => "undo-email-change",
            Self::UndoFactor => "undo-factor",
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
            Self::KeepAccount => policy::KEEPS_OF_SOURCE,
            Self::VerifyEmail | Self::ChangeEmail | Self::UndoEmailChange | Self::UndoFactor => {
                policy::INVALID_LINKS_OF_SOURCE
            }
        }
    }
}

/// The link of a mail whose page asks for the password of the account.
#[derive(Debug, Clone, Copy)]
pub enum PasswordLink<'a> {
    /// The link that verifies the address, by the hash of its token.
    Verification(&'a LinkTokenHash),
    /// The link that proves a new address, by the hash of its token.
    EmailChange(&'a LinkTokenHash),
}

impl PasswordLink<'_> {
    /// The attempt that is counted if a link of this kind is not valid.
    #[must_use]
    pub fn attempt_if_invalid(self) -> Attempt {
        match self {
            Self::Verification(_) => Attempt::VerifyEmail,
            Self::EmailChange(_) => Attempt::ChangeEmail,
        }
    }
}

/// An attempt to sign in.
#[derive(Debug, Clone, Copy)]
pub struct SignInAttempt<'a> {
    /// The address.
    pub email: &'a EmailLookup,
    /// Where the request came from.
    pub source: &'a Source,
    /// Whether an account with an unverified address is treated as if it did not exist.
    pub only_verified: bool,
}

/// An attempt of a signed-in user to prove the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofAttempt {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// Whether the user wants to set a new password.
    pub sets_password: bool,
}

impl ProofAttempt {
    /// The counter of the attempts in this session, limited by [`policy::PROOF_FAILURES_OF_SESSION`].
    #[must_use]
    pub fn session_counter(self) -> CounterKey {
        CounterKey::of(&["proof", "session", &self.session.0.to_string()])
    }

    /// The counter of the account's new passwords, limited by [`policy::NEW_PASSWORDS_OF_ACCOUNT`]. `None` if the attempt sets none.
    #[must_use]
    pub fn new_password_counter(self) -> Option<CounterKey> {
        self.sets_password.then(|| CounterKey::of(&["new-password", "user", &self.user.to_string()]))
    }
}
