//! `outbox`: the mails that are owed. The statements that make one due write it down ([`super::password_resets`]); here is what becomes
//! of it.

use tokio_postgres::types::Type;

use super::{Database, DbError, seconds};
use crate::{
    domain::{MailId, UserId},
    security::{ResetTokenHash, policy},
};

/// A mail that is owed, and being attempted.
pub struct Owed {
    /// To whom.
    pub user: UserId,
    /// Their address, as they wrote it.
    pub email: String,
    /// How often it has been attempted, this time included.
    pub attempts: i32,
    /// Which mail.
    pub kind: Kind,
}

/// The mails there are.
pub enum Kind {
    /// The link for a new password, leading to this page.
    PasswordReset {
        /// Without the token.
        page: String,
    },
    /// The notice that the password was changed.
    PasswordChanged,
    /// A link that nobody needs any more: the password was reset meanwhile.
    Void,
}

/// Takes the mail that is due longest, and puts its next attempt off, so that no two sweeps attempt the same one. A link gets a new
/// token, because none that could be used was kept; only where the older one still waits to be used.
const CLAIM: &str = "
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
        FROM claimed WHERE claimed.kind = 'password_reset' AND r.user_id = claimed.user_id
        RETURNING r.user_id
    )
    SELECT u.id, u.email, claimed.attempts, claimed.kind, CASE WHEN EXISTS (SELECT FROM minted) THEN claimed.page END AS page
    FROM claimed JOIN users u ON u.id = claimed.user_id";

/// The next mail to attempt, if one is due; a link is to carry `token`.
pub async fn claim(db: &Database, attempt: MailId, token: &ResetTokenHash) -> Result<Option<Owed>, DbError> {
    let params = [
        (&attempt.0 as _, Type::UUID),
        (&token.as_bytes() as _, Type::BYTEA),
        (&seconds(policy::MAIL_FIRST_RETRY) as _, Type::FLOAT8),
        (&seconds(policy::MAIL_LONGEST_RETRY) as _, Type::FLOAT8),
        (&seconds(policy::RESET_TOKEN_LIFETIME) as _, Type::FLOAT8),
    ];
    Ok(db.query_opt(CLAIM, &params).await?.map(|row| Owed {
        user: UserId(row.get("id")),
        email: row.get("email"),
        attempts: row.get("attempts"),
        kind: match (row.get("kind"), row.get("page")) {
            ("password_reset", Some(page)) => Kind::PasswordReset { page },
            ("password_reset", None) => Kind::Void,
            _ => Kind::PasswordChanged,
        },
    }))
}

const SETTLE: &str = "DELETE FROM outbox WHERE user_id = $1 AND id = $2 RETURNING user_id";

/// Forgets a mail that this attempt has sent. Nothing happens where a newer request has taken its place.
pub async fn settle(db: &Database, user: UserId, attempt: MailId) -> Result<(), DbError> {
    db.query_opt(SETTLE, &[(&user.0, Type::INT4), (&attempt.0, Type::UUID)]).await.map(drop)
}

const COUNT: &str = "SELECT count(*) AS owed FROM outbox WHERE expires_at > now()";

/// How many mails are owed.
pub async fn count(db: &Database) -> Result<i64, DbError> {
    Ok(db.query_one(COUNT, &[]).await?.get("owed"))
}
