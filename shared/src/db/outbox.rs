//! The table `outbox`: mails that must be sent. The statement that makes a mail necessary writes it here ([`super::password_resets`]).

use tokio_postgres::types::Type;

use super::{AnyStatement, Database, DbError, rules::user_columns, seconds, statement::Statement, users::user};
use crate::{
    domain::{MailId, User, UserId},
    security::{ResetTokenHash, policy},
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
        SET id = excluded.id, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
    )"
        )
    };
}
pub(super) use owe_password_notice;

/// A mail in the outbox that is about to be sent.
pub struct ClaimedMail {
    /// The recipient.
    pub user: User,
    /// The number of attempts to send it, including this one.
    pub attempts: i32,
    /// What kind of mail it is.
    pub kind: MailKind,
}

/// The kinds of mails.
pub enum MailKind {
    /// The link to reset a password.
    PasswordReset {
        /// The URL of the page that the link leads to, without the token.
        page: String,
    },
    /// The notice that the password was changed.
    PasswordChanged,
    /// The link to reset a password. The user has reset the password after requesting this mail, so nobody needs it.
    Obsolete,
}

/// Takes the mail that has been due longest, and sets the time of its next attempt, so that two invocations of `sweep` do not send the same mail. A
/// reset mail gets a new token, because the database has only the hash of the old one. If the old token was used, its row in `password_resets` was
/// deleted or marked. Then no row is updated, and the mail is obsolete.
static CLAIM: Statement<5> = Statement {
    sql: concat!(
        "
    WITH due AS (
        SELECT user_id, kind FROM outbox WHERE due_at <= now() AND expires_at > now()
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE outbox o SET id = $1, attempts = o.attempts + 1,
            due_at = now() + least($4, $3 * power(2, least(o.attempts - 1, 30))) * (0.75 + random() / 2) * interval '1 second'
        FROM due WHERE o.user_id = due.user_id AND o.kind = due.kind
        RETURNING o.user_id, o.kind, o.page, o.attempts
    ), minted AS (
        UPDATE password_resets r SET token_hash = $2, created_at = now(), expires_at = now() + $5 * interval '1 second'
        FROM claimed WHERE claimed.kind = 'password_reset' AND r.user_id = claimed.user_id AND r.redeemed_at IS NULL
        RETURNING r.user_id
    )
    SELECT ",
        user_columns!(),
        ", claimed.attempts, claimed.kind,
        CASE WHEN EXISTS (SELECT FROM minted) THEN claimed.page END AS page
    FROM claimed JOIN users ON users.id = claimed.user_id"
    ),
    types: [Type::UUID, Type::BYTEA, Type::FLOAT8, Type::FLOAT8, Type::FLOAT8],
};

/// Takes the next mail that is due. `None` if no mail is due. `token` is the hash of a new reset token. If the mail
/// is a reset mail, the caller must put that reset token into its link.
pub async fn claim(db: &Database, attempt: MailId, token: &ResetTokenHash) -> Result<Option<ClaimedMail>, DbError> {
    let row = db
        .query_opt(
            &CLAIM,
            [
                &attempt.0,
                &token.as_bytes(),
                &seconds(policy::MAIL_FIRST_RETRY),
                &seconds(policy::MAIL_LONGEST_RETRY),
                &seconds(policy::RESET_TOKEN_LIFETIME),
            ],
        )
        .await?;
    Ok(row.map(|row| ClaimedMail {
        user: user(&row),
        attempts: row.get("attempts"),
        kind: match (row.get("kind"), row.get("page")) {
            ("password_reset", Some(page)) => MailKind::PasswordReset { page },
            ("password_reset", None) => MailKind::Obsolete,
            _ => MailKind::PasswordChanged,
        },
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
