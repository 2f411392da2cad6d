//! The table `totp`: the authenticator of a user, or the enrolment of one.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    has_factor, is_confirmed, is_remembered,
    recovery_codes::{hashes, set_recovery_codes},
    remember_change,
};
use crate::{
    db::{
        AnyStatement, Database, DbError,
        outbox::owe_factor_notice,
        password_changes::Replacement,
        rules::{auth_time, factor_columns, session_columns, session_is_presented, user_columns},
        seconds,
        session_endings::owe_session_ending,
        sessions,
        statement::Statement,
        users::{factors, user},
    },
    domain::{FactorChangeId, FactorId, Factors, MailId, Methods, PresentedSession, Session, UnixTime, User},
    security::{Encrypted, LinkTokenHash, RecoveryCode, policy},
};

/// All statements of this module.
pub(in crate::db) static STATEMENTS: [&dyn AnyStatement; 3] = [&ENROL, &TRY_ENROLMENT, &CONFIRM];

/// A new enrolment replaces a pending one. If the answer of an earlier run was lost, the second run replaces the enrolment by itself.
static ENROL: Statement<7> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT ",
        user_columns!(),
        " FROM users u WHERE ",
        session_is_presented!(),
        "
    ), enrolled AS (
        INSERT INTO totp AS t (user_id, factor_id, secret, key_id, session_id, expires_at)
        SELECT id, $4, $5, $6, $2, now() + $7 * interval '1 second' FROM account
        ON CONFLICT (user_id) DO UPDATE
        SET factor_id = excluded.factor_id, secret = excluded.secret, key_id = excluded.key_id, session_id = excluded.session_id,
            tries = 0, created_at = excluded.created_at, expires_at = excluded.expires_at
        WHERE NOT ",
        is_confirmed!(),
        "
        RETURNING t.user_id
    )
    SELECT account.*, EXISTS (SELECT FROM enrolled) AS is_enrolled FROM account"
    ),
    types: [Type::INT8, Type::UUID, Type::INT4, Type::UUID, Type::BYTEA, Type::TEXT, Type::FLOAT8],
};

/// Begins the enrolment of an authenticator in a session. Returns the account, and whether the enrolment has begun. It has not if the account has an
/// authenticator already. `None` if the session is not live.
pub async fn enrol(
    db: &Database,
    session: PresentedSession,
    factor: FactorId,
    secret: &Encrypted,
) -> Result<Option<(User, bool)>, DbError> {
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &factor.0 as _,
        &secret.bytes as _,
        &secret.key_id as _,
        &seconds(policy::TOTP_ENROLMENT_LIFETIME) as _,
    ];
    match db.query_opt(&ENROL, values).await {
        Err(error) if error.is_foreign_key_violation() => Ok(None),
        row => Ok(row?.map(|row| (user(&row), row.get("is_enrolled")))),
    }
}

static TRY_ENROLMENT: Statement<4> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT ",
        user_columns!(),
        ", ",
        factor_columns!(),
        " FROM users u WHERE ",
        session_is_presented!(),
        "
    ), tried AS (
        UPDATE totp t SET tries = t.tries + 1 FROM account
        WHERE t.user_id = account.id AND t.session_id = $2 AND NOT ",
        is_confirmed!(),
        " AND t.expires_at > now() AND t.tries < $4
        RETURNING t.factor_id, t.secret, t.key_id
    )
    SELECT account.*, tried.*, now() AS now FROM account LEFT JOIN tried ON true"
    ),
    types: [Type::INT8, Type::UUID, Type::INT4, Type::INT4],
};

/// An enrolment that waits for its first code.
pub struct Enrolment {
    /// The id of the factor.
    pub factor: FactorId,
    /// Its secret.
    pub secret: Encrypted,
    /// The time, by PostgreSQL's clock.
    pub now: UnixTime,
}

/// Counts a try of a code for the enrolment in this session. Returns the account, its factors and the enrolment, or no enrolment if there is none that may
/// be tried. `None` if the session is not live.
pub async fn try_enrolment(
    db: &Database,
    session: PresentedSession,
) -> Result<Option<(User, Factors, Option<Enrolment>)>, DbError> {
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &policy::TOTP_ENROLMENT_TRIES as _,
    ];
    let row = db.query_opt(&TRY_ENROLMENT, values).await?;
    Ok(row.map(|row| {
        let enrolment = row.get::<_, Option<Uuid>>("factor_id").map(|factor| Enrolment {
            factor: FactorId(factor),
            secret: Encrypted { key_id: row.get("key_id"), bytes: row.get("secret") },
            now: row.get("now"),
        });
        (user(&row), factors(&row), enrolment)
    }))
}

/// The higher credential version ends every session of the user. If sessions are in PostgreSQL, the statement also opens the session that replaces the
/// presented one and inherits its `auth_time`. Concurrent statements wait for the row of `users`, and only the first one finds the session live.
///
/// `confirmed` demands the factor again, because a new enrolment may have replaced it while this statement waited for the row of `users`. Then the
/// sessions have ended, and nothing else changes.
///
/// The first factor of the account brings recovery codes. If the answer of an earlier run was lost, the `SELECT` after `UNION ALL` finds what it did.
static CONFIRM: Statement<18> = Statement {
    sql: concat!(
        "
    WITH changed AS (
        UPDATE users u SET credential_version = u.credential_version + 1
        WHERE u.email_verified_at IS NOT NULL AND NOT ",
        is_remembered!("$17"),
        " AND ",
        session_is_presented!(),
        " AND EXISTS (
            SELECT FROM totp t WHERE t.user_id = u.id AND t.factor_id = $4 AND t.session_id = $2 AND NOT ",
        is_confirmed!(),
        " AND t.expires_at > now()
        )
        RETURNING u.id, u.email, u.credential_version
    ), ",
        owe_session_ending!("changed"),
        ", confirmed AS (
        UPDATE totp t SET confirmed_at = now(), last_step = $5, expires_at = 'infinity' FROM changed
        WHERE t.user_id = changed.id AND t.factor_id = $4
        RETURNING changed.id, changed.email, changed.credential_version
    ), first_factor AS (
        SELECT id FROM confirmed WHERE NOT ",
        has_factor!("confirmed.id"),
        "
    ), ",
        set_recovery_codes!("$6" for "first_factor"),
        ", undo AS (
        INSERT INTO factor_undos (factor_id, user_id, kind, token_hash, expires_at)
        SELECT $4, id, 'totp', $7, now() + $8 * interval '1 second' FROM confirmed
    ), ",
        remember_change!("confirmed", id: "$17", lifetime: "$18"),
        ", ",
        owe_factor_notice!("notice", "'totp_added ' || $4", for "confirmed", id: "$9", page: "$10", lifetime: "$8"),
        ", opened AS (
        INSERT INTO sessions (id, user_id, credential_version, refresh_id, refreshed_at, expires_at, source, auth_time, user_agent, amr)
        SELECT $11, confirmed.id, confirmed.credential_version, $12, now(), date_trunc('second', now()) + $13 * interval '1 second', $14, ",
        auth_time!(),
        ", $15, coalesce(s.amr, 1) | $16
        FROM confirmed JOIN sessions s ON s.id = $2 WHERE $3 IS NULL
        RETURNING id, user_id, refresh_id, refreshed_at, created_at, auth_time, expires_at, amr
    )
    SELECT EXISTS (SELECT FROM first_factor) AS has_codes, ",
        session_columns!(),
        " FROM confirmed LEFT JOIN opened s ON true
    UNION ALL
    SELECT EXISTS (SELECT FROM recovery_codes r WHERE r.user_id = f.user_id AND r.code_hash = ANY ($6)) AS has_codes, ",
        session_columns!(),
        " FROM factor_changes f LEFT JOIN sessions s ON s.id = $11 WHERE f.id = $17"
    ),
    types: [
        Type::INT8,
        Type::UUID,
        Type::INT4,
        Type::UUID,
        Type::INT8,
        Type::BYTEA_ARRAY,
        Type::BYTEA,
        Type::FLOAT8,
        Type::UUID,
        Type::TEXT,
        Type::UUID,
        Type::UUID,
        Type::FLOAT8,
        Type::TEXT,
        Type::TEXT,
        Type::INT4,
        Type::UUID,
        Type::FLOAT8,
    ],
};

/// The confirmation of an enrolment.
pub struct Confirmation<'a> {
    /// The session that the request presents.
    pub session: PresentedSession,
    /// The id of the factor.
    pub factor: FactorId,
    /// The step of the code that was shown.
    pub step: i64,
    /// The recovery codes that the account gets if this is its first factor.
    pub codes: &'a [RecoveryCode],
    /// The hash of the token that removes the factor again.
    pub undo: &'a LinkTokenHash,
    /// The URL of the page of the link that removes the factor, without the token.
    pub undo_page: &'a str,
    /// The id of the notice with this link.
    pub notice: MailId,
    /// The id of this request.
    pub change: FactorChangeId,
}

/// A confirmed enrolment.
pub struct Confirmed {
    /// Whether the account has got the recovery codes.
    pub has_codes: bool,
    /// The new session. `None` if sessions are in DynamoDB.
    pub session: Option<Session>,
}

/// Makes an enrolment a factor, ends every session of the user, and writes the notice into the outbox. If sessions are in PostgreSQL, opens the new
/// session. Also writes that the sessions in DynamoDB must end. `None` if the presented session is not live, or if it has no enrolment any more.
pub async fn confirm(
    db: &Database,
    confirmation: Confirmation<'_>,
    new: Replacement<'_>,
) -> Result<Option<Confirmed>, DbError> {
    let Confirmation { session, factor, step, codes, undo, undo_page, notice, change } = confirmation;
    let hashes = hashes(codes);
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &factor.0 as _,
        &step as _,
        &hashes as _,
        &undo.as_bytes() as _,
        &seconds(policy::FACTOR_UNDO_LIFETIME) as _,
        &notice.0 as _,
        &undo_page as _,
        &new.id.0 as _,
        &new.refresh_id.0 as _,
        &seconds(new.lifetime) as _,
        &new.source.as_str() as _,
        &new.user_agent as _,
        &Methods::ONE_TIME_CODE.to_stored() as _,
        &change.0 as _,
        &seconds(policy::USED_PROOF_KEPT) as _,
    ];
    let row = db.query_in_session(&CONFIRM, values).await?;
    Ok(row.map(|row| Confirmed {
        has_codes: row.get("has_codes"),
        session: row.get::<_, Option<Uuid>>("id").map(|_| sessions::session(&row)),
    }))
}
