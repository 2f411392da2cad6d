//! The change of a password by a signed-in user.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::{
    AnyStatement, Database, DbError,
    outbox::owe_password_notice,
    rules::{auth_time, count_account_mail, count_within_window, session_columns, session_is_presented},
    seconds,
    session_endings::owe_session_ending,
    sessions,
    statement::Statement,
    throttle::clear_counters,
};
use crate::{
    domain::{CounterKey, MailId, PresentedSession, Session, SessionId, SignInCounters, Source, TokenId},
    security::{PasswordHash, ProofAttempt, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 1] = [&CHANGE_PASSWORD];

/// The higher credential version ends every session of the user. If sessions are in PostgreSQL, the statement also opens the session that replaces
/// the presented one and inherits its `auth_time`, undoes the counting of the attempt, and counts the new password.
///
/// A reset locks its token before the account, and this statement locks the account first. If both run at the same time, PostgreSQL may report a
/// deadlock, and one of them runs again.
///
/// If the answer of an earlier run was lost, the `SELECT` after `UNION ALL` finds what it did. No other request has this salted hash.
static CHANGE_PASSWORD: Statement<21> = Statement {
    sql: concat!(
        "
    WITH changed AS (
        UPDATE users u SET password = $4, credential_version = credential_version + 1 WHERE ",
        session_is_presented!(),
        "
        RETURNING u.id, u.credential_version, u.email, u.email_verified_at IS NOT NULL AS email_verified
    ), ",
        owe_session_ending!("changed", in_session: "$2"),
        ", voided AS (
        DELETE FROM password_resets r USING changed WHERE r.user_id = changed.id
    ), ",
        count_account_mail!("password change", "changed", limit: "$20", window: "$21"),
        ", ",
        owe_password_notice!("notified", id: "$5", first_retry: "$6", lifetime: "$7"),
        ", opened AS (
        INSERT INTO sessions (id, user_id, credential_version, refresh_id, refreshed_at, expires_at, source, auth_time, user_agent, amr)
        SELECT $8, changed.id, changed.credential_version, $9, now(), date_trunc('second', now()) + $10 * interval '1 second', $11, ",
        auth_time!(),
        ", $12, coalesce(s.amr, 1) | 1
        FROM changed JOIN sessions s ON s.id = $2 WHERE $3 IS NULL
        RETURNING id, user_id, refresh_id, refreshed_at, created_at, auth_time, expires_at, amr
    ), ",
        clear_counters!("opened", "$13", "$14", "$15", "$16"),
        ", new_password_counted AS (
        ",
        count_within_window!(
            "$17",
            for "opened WHERE (SELECT count(*) FROM session_cleared) >= 0",
            up to "$18" within "$19"
        ),
        "
    )",
        "
    SELECT changed.credential_version, EXISTS (SELECT FROM notified) AS notice_is_owed, ",
        session_columns!(),
        " FROM changed LEFT JOIN opened s ON true
    UNION ALL
    SELECT u.credential_version, EXISTS (SELECT FROM outbox o WHERE o.user_id = u.id AND o.id = $5), ",
        session_columns!(),
        " FROM users u LEFT JOIN sessions s ON s.id = $8 WHERE u.id = $1 AND u.password = $4"
    ),
    types: [
        Type::INT8,
        Type::UUID,
        Type::INT4,
        Type::TEXT,
        Type::UUID,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::UUID,
        Type::UUID,
        Type::FLOAT8,
        Type::TEXT,
        Type::TEXT,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::INT4,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
    ],
};

/// A change of a password.
pub struct PasswordChange<'a> {
    /// The session that the request presents.
    pub session: PresentedSession,
    /// The hash of the new password.
    pub hash: &'a PasswordHash,
    /// The id of the first attempt to send the notice.
    pub notice: MailId,
    /// The session that replaces the presented one, if sessions are in PostgreSQL.
    pub replacement: Replacement<'a>,
    /// The counters of the attempt.
    pub counters_to_clear: &'a SignInCounters,
}

/// A session that replaces another one of the same user. It inherits `auth_time`.
pub struct Replacement<'a> {
    /// Its id.
    pub id: SessionId,
    /// The `jti` of its first refresh token.
    pub refresh_id: TokenId,
    /// How long it lives.
    pub lifetime: Duration,
    /// Where the request came from.
    pub source: &'a Source,
    /// The User-Agent header of the request.
    pub user_agent: Option<&'a str>,
}

/// A changed password.
pub struct PasswordChanged {
    /// The new credential version of the user.
    pub version: i32,
    /// Whether the notice is in the outbox. `false` if nobody has proved the mailbox, and the limit of these mails is reached.
    pub notice_is_owed: bool,
    /// The new session. `None` if sessions are in DynamoDB.
    pub session: Option<Session>,
}

/// Sets the password, ends every session of the user, and writes the notice into the outbox. If sessions are in PostgreSQL, opens the new session.
/// Also writes that the sessions in DynamoDB must end. `None` if the presented session is not live (if sessions are in DynamoDB: if the credentials
/// have changed since it was found live).
pub async fn change(db: &Database, change: PasswordChange<'_>) -> Result<Option<PasswordChanged>, DbError> {
    let PasswordChange { session, hash, notice, replacement: new, counters_to_clear } = change;
    let (user, limit) = (session.user_id, policy::NEW_PASSWORDS_OF_ACCOUNT);
    let of_mailbox = policy::ACCOUNT_MAILS_TO_UNPROVED_MAILBOX;
    let attempt = ProofAttempt { user, session: session.session_id, sets_password: true };
    let new_passwords = attempt.new_password_counter();
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &hash.as_stored() as _,
        &notice.0 as _,
        &seconds(policy::MAIL_FIRST_RETRY) as _,
        &seconds(policy::NOTICE_LIFETIME) as _,
        &new.id.0 as _,
        &new.refresh_id.0 as _,
        &seconds(new.lifetime) as _,
        &new.source.as_str() as _,
        &new.user_agent as _,
        &counters_to_clear.both.as_bytes() as _,
        &counters_to_clear.source.as_bytes() as _,
        &counters_to_clear.account.as_bytes() as _,
        &counters_to_clear.session.as_ref().map(CounterKey::as_bytes) as _,
        &new_passwords.as_ref().map(CounterKey::as_bytes) as _,
        &limit.attempts as _,
        &seconds(limit.window) as _,
        &of_mailbox.attempts as _,
        &seconds(of_mailbox.window) as _,
    ];
    let row = db.query_in_session(&CHANGE_PASSWORD, values).await?;
    Ok(row.map(|row| PasswordChanged {
        version: row.get("credential_version"),
        notice_is_owed: row.get("notice_is_owed"),
        session: row.get::<_, Option<uuid::Uuid>>("id").map(|_| sessions::session(&row)),
    }))
}
