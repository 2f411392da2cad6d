//! The table `outbox`: mails that must be sent. The statement that makes a mail necessary writes it here.

use tokio_postgres::{Row, types::Type};

use super::{
    AnyStatement, Database, DbError, factors::recovery_codes_of, password_resets::token_belongs_to,
    rules::user_columns, seconds, statement::Statement, users::user,
};
use crate::{
    domain::{MailId, UnixTime, User, UserId},
    security::{EmailCodeHash, LinkTokenHash, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 3] = [&CLAIM, &DELETE, &COUNT];

/// The part of a `WITH` that writes the notice of a changed password for the rows of `$changed`, which have the `id` of a user. A newer notice takes
/// the place of an older one. `$id` is the id of the first attempt to send it, `$first_retry` and `$lifetime` are in seconds.
macro_rules! owe_password_notice {
    ($changed:literal, id: $id:literal, first_retry: $first_retry:literal, lifetime: $lifetime:literal) => {
        concat!(
            "mail AS (
        INSERT INTO outbox (user_id, kind, id, due_at, expires_at)
        SELECT id, 'password_changed', ",
            $id,
            ", now() + ",
            $first_retry,
            " * interval '1 second', now() + ",
            $lifetime,
            " * interval '1 second' FROM ",
            $changed,
            "
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, recipient = excluded.recipient, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
    )"
        )
    };
}

/// The part of a `WITH` named `$name` that writes a notice about second factors for the rows of `$changed`, which have the `id` and the `email` of a
/// user. It goes to this address, even if the account gets another one. `sweep` sends it. `$id` is its id, and `$lifetime` is in seconds. `$page` is the
/// page of its link, or NULL.
macro_rules! owe_factor_notice {
    ($name:literal, $kind:expr, for $changed:literal, id: $id:literal, page: $page:literal, lifetime: $lifetime:literal) => {
        concat!(
            $name,
            " AS (
        INSERT INTO outbox (user_id, kind, id, page, recipient, attempts, due_at, expires_at)
        SELECT id, ",
            $kind,
            ", ",
            $id,
            ", ",
            $page,
            ", email, 0, now(), now() + ",
            $lifetime,
            " * interval '1 second' FROM ",
            $changed,
            "
        ON CONFLICT (user_id, kind) DO NOTHING
    )"
        )
    };
}
pub(super) use {owe_factor_notice, owe_password_notice};

/// A mail in the outbox that is about to be sent.
pub struct ClaimedMail {
    /// The id of this attempt to send it.
    pub id: MailId,
    /// The account that the mail is about.
    pub user: User,
    /// The address to send the mail to.
    pub recipient: String,
    /// The number of attempts to send it, including this one.
    pub attempts: i32,
    /// What kind of mail it is.
    pub kind: MailKind,
}

/// The kinds of mails. `page` is the URL of the page that the link leads to, without the token.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field `page` is described above")]
pub enum MailKind {
    /// The link to reset a password.
    PasswordReset { page: String },
    /// The notice that the password was changed.
    PasswordChanged,
    /// The link and the code that verify the address.
    Verification { page: String },
    /// The notice that somebody tried to sign up with the address of the account.
    SignUpAttempted,
    /// The link that proves the new address of a requested change. It goes to that address.
    EmailChange { page: String },
    /// The notice of a requested change of the address. It goes to the address at the time of the request.
    EmailChangeRequested,
    /// The link that undoes a change of the address. It goes to the address before the change.
    EmailChanged { page: String },
    /// The notice that a change of the address was undone. It goes to the address that the undo replaced.
    EmailRestored,
    /// The link that keeps an account that its user has deleted.
    AccountDeleted {
        page: String,
        /// When `sweep` may erase the account.
        erase_at: UnixTime,
    },
    /// The link that removes a new authenticator. It goes to the address at the time when it was added.
    TotpAdded { page: String },
    /// The notice that the authenticator was removed.
    TotpRemoved,
    /// The link that removes a new passkey. It goes to the address at the time when it was added.
    PasskeyAdded { page: String },
    /// The notice that a passkey was removed.
    PasskeyRemoved,
    /// The notice that a passkey was rejected, because there may be a copy of it.
    PasskeyCopied,
    /// The notice that a recovery code was used.
    RecoveryCodeUsed {
        /// The number of recovery codes that are left.
        left: i64,
    },
    /// The notice that the account got new recovery codes.
    RecoveryCodesReplaced,
    /// The notice that somebody entered the right password and then wrong codes.
    SecondFactorFailed,
    /// A mail with a link that has become useless since the mail was requested. For example, it was used, or a newer one has replaced it.
    Obsolete,
}

impl MailKind {
    fn of(row: &Row) -> Self {
        let kind: &str = row.get("kind");
        // The kinds of which a user may have several mails have an id after the kind.
        let kind = kind.split(' ').next().unwrap_or_default();
        match (kind, row.get("page")) {
            ("password_changed", _) => Self::PasswordChanged,
            ("sign_up_attempted", _) => Self::SignUpAttempted,
            ("email_change_requested", _) => Self::EmailChangeRequested,
            ("email_restored", _) => Self::EmailRestored,
            ("password_reset", Some(page)) => Self::PasswordReset { page },
            ("verification", Some(page)) => Self::Verification { page },
            ("email_change", Some(page)) => Self::EmailChange { page },
            ("email_changed", Some(page)) => Self::EmailChanged { page },
            ("totp_added", Some(page)) => Self::TotpAdded { page },
            ("totp_removed", _) => Self::TotpRemoved,
            ("passkey_added", Some(page)) => Self::PasskeyAdded { page },
            ("passkey_removed", _) => Self::PasskeyRemoved,
            ("passkey_copied", _) => Self::PasskeyCopied,
            ("recovery_code_used", _) => Self::RecoveryCodeUsed { left: row.get("recovery_codes") },
            ("recovery_codes_replaced", _) => Self::RecoveryCodesReplaced,
            ("second_factor_failed", _) => Self::SecondFactorFailed,
            ("account_deleted", Some(page)) => Self::AccountDeleted { page, erase_at: row.get("erase_at") },
            _ => Self::Obsolete,
        }
    }
}

/// Takes the mail that has been due longest, and sets the time of its next attempt, so that two invocations of `sweep` do not send the same mail. The
/// link of a mail gets a new token, because the database has only the hash of the old one, and a mail that verifies an address also gets a new code.
/// For a mail with a link, `minted` has a row if the link can still be used. If it has none, the mail is obsolete.
///
/// If the answer of an earlier run was lost, that run has taken another mail, which is tried again later. Each run gives its mail an id of its own, so
/// deleting the mail of one run does not delete that of the other.
static CLAIM: Statement<7> = Statement {
    sql: concat!(
        "
    WITH due AS (
        SELECT user_id, kind FROM outbox WHERE due_at <= now() AND expires_at > now()
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE outbox o SET id = gen_random_uuid(), attempts = o.attempts + 1,
            due_at = now() + least($3, $2 * power(2, least(o.attempts - 1, 30))) * (0.75 + random() / 2) * interval '1 second'
        FROM due WHERE o.user_id = due.user_id AND o.kind = due.kind
        RETURNING o.id AS mail_id, o.user_id, o.kind, o.page, o.attempts, o.recipient
    ), reset AS (
        UPDATE password_resets r SET token_hash = $1, created_at = now(), expires_at = now() + $4 * interval '1 second'
        FROM claimed JOIN users u ON u.id = claimed.user_id
        WHERE claimed.kind = 'password_reset' AND r.user_id = u.id AND r.redeemed_at IS NULL AND ",
        token_belongs_to!("r.email", "r.credential_version", user: "u"),
        "
        RETURNING r.user_id
    ), verification AS (
        UPDATE email_verifications v SET token_hash = $1, code_hash = $5, code_tries = 0, created_at = now(),
            code_expires_at = now() + $6 * interval '1 second', expires_at = now() + $7 * interval '1 second'
        FROM claimed JOIN users u ON u.id = claimed.user_id
        WHERE claimed.kind = 'verification' AND v.user_id = u.id AND v.email = u.email AND v.credential_version = u.credential_version
            AND u.email_verified_at IS NULL
        RETURNING v.user_id
    ), change AS (
        UPDATE email_changes c SET token_hash = $1
        FROM claimed JOIN users u ON u.id = claimed.user_id
        WHERE claimed.kind = 'email_change' AND c.user_id = u.id AND c.email = claimed.recipient
            AND c.credential_version = u.credential_version AND c.expires_at > now()
        RETURNING c.user_id
    ), undo AS (
        UPDATE email_undos e SET token_hash = $1
        FROM claimed WHERE claimed.kind = 'email_changed ' || e.id AND e.user_id = claimed.user_id AND e.expires_at > now()
        RETURNING e.user_id
    ), deletion AS (
        UPDATE account_deletions d SET token_hash = $1
        FROM claimed WHERE claimed.kind = 'account_deleted' AND d.user_id = claimed.user_id
        RETURNING d.user_id, d.erase_at
    ), factor AS (
        UPDATE factor_undos f SET token_hash = $1
        FROM claimed WHERE claimed.kind IN ('totp_added ' || f.factor_id, 'passkey_added ' || f.factor_id) AND f.user_id = claimed.user_id AND f.expires_at > now()
        RETURNING f.user_id
    ), minted AS (
        SELECT user_id FROM reset UNION ALL SELECT user_id FROM verification UNION ALL SELECT user_id FROM change
        UNION ALL SELECT user_id FROM undo UNION ALL SELECT user_id FROM deletion UNION ALL SELECT user_id FROM factor
    )
    SELECT ",
        user_columns!(),
        ", claimed.mail_id, claimed.attempts, claimed.kind, coalesce(claimed.recipient, email) AS recipient,
        CASE WHEN EXISTS (SELECT FROM minted) THEN claimed.page END AS page,
        (SELECT erase_at FROM deletion) AS erase_at,
        ",
        recovery_codes_of!("claimed.user_id"),
        " AS recovery_codes
    FROM claimed JOIN users ON users.id = claimed.user_id"
    ),
    types: [
        Type::BYTEA,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::BYTEA,
        Type::FLOAT8,
        Type::FLOAT8,
    ],
};

/// Takes the next mail that is due. `None` if no mail is due, or if an earlier run of the statement, whose answer was lost, has given the token to another
/// mail. Then the next `sweep` sends the mails that are left. `token` is the hash of a new token, and `code` that of a new code. If the mail has a
/// link or a code, the caller must put that token into its link, and that code into its text.
pub async fn claim(db: &Database, token: &LinkTokenHash, code: &EmailCodeHash) -> Result<Option<ClaimedMail>, DbError> {
    let values = [
        &token.as_bytes() as _,
        &seconds(policy::MAIL_FIRST_RETRY) as _,
        &seconds(policy::MAIL_LONGEST_RETRY) as _,
        &seconds(policy::RESET_TOKEN_LIFETIME) as _,
        &code.as_bytes() as _,
        &seconds(policy::EMAIL_CODE_LIFETIME) as _,
        &seconds(policy::VERIFICATION_LINK_LIFETIME) as _,
    ];
    let row = match db.query_opt(&CLAIM, values).await {
        Err(problem) if problem.is_unique_violation() => None,
        row => row?,
    };
    Ok(row.map(|row| ClaimedMail {
        id: MailId(row.get("mail_id")),
        user: user(&row),
        recipient: row.get("recipient"),
        attempts: row.get("attempts"),
        kind: MailKind::of(&row),
    }))
}

static DELETE: Statement<2> = Statement {
    sql: "DELETE FROM outbox WHERE user_id = $1 AND id = $2 RETURNING id",
    types: [Type::INT8, Type::UUID],
};

/// Deletes a mail that this attempt has sent. Does nothing if a newer mail has taken its place.
pub async fn delete(db: &Database, user: UserId, attempt: MailId) -> Result<(), DbError> {
    db.query_opt(&DELETE, [&user.0, &attempt.0]).await.map(drop)
}

static COUNT: Statement<0> =
    Statement { sql: "SELECT count(*) AS mails FROM outbox WHERE expires_at > now()", types: [] };

/// The number of mails that must still be sent.
pub async fn count(db: &Database) -> Result<i64, DbError> {
    Ok(db.query_one(&COUNT, []).await?.get("mails"))
}
