//! The audit trail: what happened to whose account, one log line each (OWASP ASVS 16.3.1). It names users by id, and holds no mail address,
//! password or token. The span around it has the request's ids and the client's IP address.

use tracing::{info, warn};

use crate::domain::UserId;

/// What is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An account was made.
    SignedUp,
    /// A session was opened.
    SignedIn,
    /// A password was wrong, or there is no such account.
    SignInFailed,
    /// A session got a new refresh token.
    Refreshed,
    /// A used refresh token came back, and its session was revoked.
    RefreshReused,
    /// A session was ended by its owner.
    SignedOut,
    /// A reset mail was asked for.
    PasswordResetRequested,
    /// A password was reset, and every session ended.
    PasswordReset,
}

impl Event {
    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignedUp => "signed_up",
            Self::SignedIn => "signed_in",
            Self::SignInFailed => "sign_in_failed",
            Self::Refreshed => "refreshed",
            Self::RefreshReused => "refresh_reused",
            Self::SignedOut => "signed_out",
            Self::PasswordResetRequested => "password_reset_requested",
            Self::PasswordReset => "password_reset",
        }
    }

    /// Whether somebody should look at many of these.
    fn is_suspicious(self) -> bool {
        matches!(self, Self::SignInFailed | Self::RefreshReused)
    }
}

/// Writes a line. `user` is `None` where nobody knows whose account it would be.
pub fn record(event: Event, user: Option<UserId>) {
    let user_id = user.map(|user| user.0);
    if event.is_suspicious() {
        warn!(event = event.name(), user_id, "audit");
    } else {
        info!(event = event.name(), user_id, "audit");
    }
}
