//! The audit trail: one log line for each security event of an account (OWASP ASVS 16.3.1). It names users by id and has no mail address,
//! password or token. The span around it has the request's ids and the client's IP address.

use tracing::{info, warn};

use crate::domain::UserId;

/// A security event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An account was created.
    SignedUp,
    /// A session was opened.
    SignedIn,
    /// The password was wrong, at a sign-in or in a session, or the address has no account.
    SignInFailed,
    /// A session got a new refresh token.
    Refreshed,
    /// A used refresh token was presented again, and its session was revoked.
    RefreshReused,
    /// The user ended a session.
    SignedOut,
    /// The user of a session proved the password or a second factor again.
    Reauthenticated,
    /// The user ended one session by its id.
    SessionEnded,
    /// The user ended all sessions except the one of the request.
    OtherSessionsEnded,
    /// All sessions of the user were ended.
    AllSessionsEnded,
    /// A reset mail was requested.
    PasswordResetRequested,
    /// A password was reset, which ends every session of the user.
    PasswordReset,
    /// A signed-in user changed the password, which ends every earlier session of the user.
    PasswordChanged,
    /// A signed-in user changed the name or the language of the account.
    AccountChanged,
    /// A signed-in user requested a change of the address of the account.
    EmailChangeRequested,
    /// The address of the account was changed.
    EmailChanged,
    /// A change of the address was undone, which ends every session of the user.
    EmailRestored,
    /// A signed-in user exported everything that is stored about them.
    AccountExported,
    /// A signed-in user deleted the account, which ends every session of the user.
    AccountDeleted,
    /// The user of a deleted account kept it.
    AccountKept,
    /// Everything that was stored about the user of a deleted account was erased.
    AccountErased,
    /// A signed-in user requested a verification mail.
    VerificationRequested,
    /// A code was wrong, used, void or expired.
    VerificationFailed,
    /// The user proved that the mailbox of the account is theirs.
    EmailVerified,
    /// The password of a sign-in was right, and a second factor is required.
    SecondFactorRequired,
    /// A second factor was wrong or used before, at a sign-in or in a session.
    SecondFactorFailed,
    /// A recovery code was used.
    RecoveryCodeUsed,
    /// The user got new recovery codes.
    RecoveryCodesReplaced,
    /// The user added an authenticator, which ends every earlier session of the user.
    TotpAdded,
    /// The user removed the authenticator, which ends every other session of the user.
    TotpRemoved,
    /// The user added a passkey, which ends every other session of the user.
    PasskeyAdded,
    /// The user removed a passkey, which ends every other session of the user.
    PasskeyRemoved,
    /// A passkey was rejected, at a sign-in or in a session.
    PasskeyRejected,
    /// Somebody removed a second factor with the link of the notice about it, which ends every session of the user.
    FactorUndone,
}

impl Event {
    /// Its stable name in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignedUp => "signed_up",
            Self::SignedIn => "signed_in",
            Self::SignInFailed => "sign_in_failed",
            Self::Refreshed => "refreshed",
            Self::RefreshReused => "refresh_reused",
            Self::SignedOut => "signed_out",
            Self::Reauthenticated => "reauthenticated",
            Self::SessionEnded => "session_ended",
            Self::OtherSessionsEnded => "other_sessions_ended",
            Self::AllSessionsEnded => "all_sessions_ended",
            Self::PasswordResetRequested => "password_reset_requested",
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::AccountChanged => "account_changed",
            Self::EmailChangeRequested => "email_change_requested",
            Self::EmailChanged => "email_changed",
            Self::EmailRestored => "email_restored",
            Self::AccountExported => "account_exported",
            Self::AccountDeleted => "account_deleted",
            Self::AccountKept => "account_kept",
            Self::AccountErased => "account_erased",
            Self::VerificationRequested => "verification_requested",
            Self::VerificationFailed => "verification_failed",
            Self::EmailVerified => "email_verified",
            Self::SecondFactorRequired => "second_factor_required",
            Self::SecondFactorFailed => "second_factor_failed",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::RecoveryCodesReplaced => "recovery_codes_replaced",
            Self::TotpAdded => "totp_added",
            Self::TotpRemoved => "totp_removed",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::PasskeyRejected => "passkey_rejected",
            Self::FactorUndone => "factor_undone",
        }
    }

    /// Whether many of these events may be an attack.
    fn is_suspicious(self) -> bool {
        matches!(
            self,
            Self::SignInFailed
                | Self::RefreshReused
                | Self::VerificationFailed
                | Self::SecondFactorFailed
                | Self::PasskeyRejected
        )
    }
}

/// Logs an event. `user` is `None` where no account is known.
pub fn record(event: Event, user: Option<UserId>) {
    let user_id = user.map(|user| user.0);
    if event.is_suspicious() {
        warn!(event = event.name(), user_id, "audit");
    } else {
        info!(event = event.name(), user_id, "audit");
    }
}
