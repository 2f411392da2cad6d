//! Deleting expired rows, in every table that has them. Each statement deletes a limited number of rows, so that no statement takes long, and skips
//! rows that a request has locked.

use tokio_postgres::types::Type;

use super::{AnyStatement, Database, DbError, statement::Statement};
use crate::security::policy;

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 13] = [
    &SESSIONS,
    &PASSWORD_RESETS,
    &THROTTLE,
    &OUTBOX,
    &EMAIL_VERIFICATIONS,
    &EMAIL_CHANGES,
    &EMAIL_UNDOS,
    &RESERVED_ADDRESSES,
    &TOTP,
    &MFA_TOKENS,
    &FACTOR_UNDOS,
    &FACTOR_CHANGES,
    &USED_CHALLENGES,
];

/// Deletes at most `$1` rows that fulfil the condition. Rows are deleted by their place in the table (`ctid`), which works for every primary key. The
/// rows are locked, so their places do not change.
macro_rules! delete_rows {
    ($table:literal where $condition:literal) => {
        concat!(
            "
    WITH deleted AS (
        DELETE FROM ",
            $table,
            " WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM ",
            $table,
            " WHERE ",
            $condition,
            " LIMIT $1 FOR UPDATE SKIP LOCKED
        )) RETURNING 1
    )
    SELECT count(*) AS deleted FROM deleted"
        )
    };
}
pub(super) use delete_rows;

macro_rules! delete_expired_from {
    ($table:literal) => {
        Statement { sql: delete_rows!($table where "expires_at <= now()"), types: [Type::INT8] }
    };
}

static SESSIONS: Statement<1> = delete_expired_from!("sessions");
static PASSWORD_RESETS: Statement<1> = delete_expired_from!("password_resets");
static THROTTLE: Statement<1> = delete_expired_from!("throttle");
static OUTBOX: Statement<1> = delete_expired_from!("outbox");
static EMAIL_VERIFICATIONS: Statement<1> = delete_expired_from!("email_verifications");
static EMAIL_CHANGES: Statement<1> = delete_expired_from!("email_changes");
static EMAIL_UNDOS: Statement<1> = delete_expired_from!("email_undos");
static RESERVED_ADDRESSES: Statement<1> = delete_expired_from!("reserved_addresses");
static TOTP: Statement<1> = delete_expired_from!("totp");
static MFA_TOKENS: Statement<1> = delete_expired_from!("mfa_tokens");
static FACTOR_UNDOS: Statement<1> = delete_expired_from!("factor_undos");
static FACTOR_CHANGES: Statement<1> = delete_expired_from!("factor_changes");
static USED_CHALLENGES: Statement<1> = delete_expired_from!("used_challenges");

/// A table whose rows expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiringTable {
    /// Sessions. A session that was ended is kept until it expires or a sign-in deletes it.
    Sessions,
    /// Reset tokens.
    PasswordResets,
    /// Counters of attempts.
    Throttle,
    /// Mails that could not be sent in time.
    Outbox,
    /// Links and codes that verify an address.
    EmailVerifications,
    /// Requested changes of an address.
    EmailChanges,
    /// Changes of an address that can no longer be undone.
    EmailUndos,
    /// Addresses that are no longer reserved for an account.
    ReservedAddresses,
    /// Enrolments of authenticators that were not confirmed.
    Totp,
    /// Sign-ins that waited for a second factor.
    MfaTokens,
    /// Second factors that the link in a notice can no longer remove.
    FactorUndos,
    /// Uses and changes of second factors that no statement runs again.
    FactorChanges,
    /// Used challenges of passkeys.
    UsedChallenges,
}

impl ExpiringTable {
    /// The tables of links that verify an address, or change it and undo the change.
    pub const OF_LINKS: [Self; 4] =
        [Self::EmailVerifications, Self::EmailChanges, Self::EmailUndos, Self::ReservedAddresses];

    /// The tables of second factors.
    pub const OF_FACTORS: [Self; 5] =
        [Self::Totp, Self::MfaTokens, Self::FactorUndos, Self::FactorChanges, Self::UsedChallenges];
}

/// Deletes at most [`policy::SWEEP_BATCH`] expired rows, and returns how many it deleted.
pub async fn delete_batch(db: &Database, table: ExpiringTable) -> Result<i64, DbError> {
    let statement = match table {
        ExpiringTable::Sessions => &SESSIONS,
        ExpiringTable::PasswordResets => &PASSWORD_RESETS,
        ExpiringTable::Throttle => &THROTTLE,
        ExpiringTable::Outbox => &OUTBOX,
        ExpiringTable::EmailVerifications => &EMAIL_VERIFICATIONS,
        ExpiringTable::EmailChanges => &EMAIL_CHANGES,
        ExpiringTable::EmailUndos => &EMAIL_UNDOS,
        ExpiringTable::ReservedAddresses => &RESERVED_ADDRESSES,
        ExpiringTable::Totp => &TOTP,
        ExpiringTable::MfaTokens => &MFA_TOKENS,
        ExpiringTable::FactorUndos => &FACTOR_UNDOS,
        ExpiringTable::FactorChanges => &FACTOR_CHANGES,
        ExpiringTable::UsedChallenges => &USED_CHALLENGES,
    };
    Ok(db.query_one(statement, [&policy::SWEEP_BATCH]).await?.get("deleted"))
}
