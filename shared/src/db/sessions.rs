//! The table `sessions`: one row for each session.

use std::time::Duration;

use tokio_postgres::{Row, types::Type};

use super::{
    AnyStatement, Database, DbError,
    rules::{last_used, one_more, seconds_until, session_columns, session_is_live},
    seconds,
    statement::Statement,
    throttle::clear_counters,
    users,
};
use crate::{
    domain::{
        CounterKey, Ended, ListedSession, Methods, NewSession, PresentedSession, Refreshed, Session, SessionId,
        SignInCounters, TokenId, TooMany, UserId, VerifiedToken,
    },
    security::policy,
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 7] =
    [&OPEN, &LIST, &REFRESH, &WAIT_TO_REFRESH, &RENEW, &END, &END_OTHERS];

/// The session opens only if the credential version is still the one that was read together with the password's hash. A password
/// reset in the meantime increases it. The session ends on a whole second, so that a token can contain the exact time.
///
/// `evicted` limits the account to [`policy::SESSIONS_OF_ACCOUNT`] sessions. It deletes ended sessions first, then the live ones that were not
/// used for the longest time. Concurrent sign-ins may exceed the limit until the next sign-in.
///
/// The parts from `both_cleared` on undo the counting of the sign-in. This saves a round trip. They do nothing if the keys are NULL.
static OPEN: Statement<14> = Statement {
    sql: concat!(
        "
    WITH opened AS (
        INSERT INTO sessions (id, user_id, credential_version, refresh_id, refreshed_at, expires_at, source, auth_time, user_agent, amr)
        SELECT $1, id, credential_version, $2, now(), date_trunc('second', now()) + $5 * interval '1 second', $6, now(), $12, $14
        FROM users WHERE id = $3 AND credential_version = $4
        ON CONFLICT (id) DO UPDATE SET refresh_id = excluded.refresh_id
        RETURNING id, user_id, refresh_id, refreshed_at, created_at, auth_time, expires_at, amr
    ), evicted AS (
        DELETE FROM sessions WHERE id IN (
            SELECT s.id FROM opened
                JOIN sessions s ON s.user_id = opened.user_id AND s.id <> opened.id
                JOIN users u ON u.id = opened.user_id
            ORDER BY (",
        session_is_live!(),
        ") DESC, ",
        last_used!(),
        " DESC
            OFFSET $10 - 1 LIMIT $11
        )
    ), ",
        clear_counters!("opened", "$7", "$8", "$9", "$13"),
        "
    SELECT ",
        session_columns!(),
        " FROM opened s"
    ),
    types: [
        Type::UUID,
        Type::UUID,
        Type::INT8,
        Type::INT4,
        Type::FLOAT8,
        Type::TEXT,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::BYTEA,
        Type::INT4,
    ],
};

/// Opens a session, and undoes the counting of the sign-in in `counters_to_clear`. `None` if the user's credential version has changed, or if the
/// user does not exist any more.
pub async fn open(
    db: &Database,
    new: NewSession<'_>,
    counters_to_clear: Option<&SignInCounters>,
) -> Result<Option<Session>, DbError> {
    let row = db
        .query_opt(
            &OPEN,
            [
                &new.id.0,
                &new.refresh_id.0,
                &new.user.id.0,
                &new.user.credential_version,
                &seconds(new.lifetime),
                &new.source.as_str(),
                &counters_to_clear.map(|counters| counters.both.as_bytes()),
                &counters_to_clear.map(|counters| counters.source.as_bytes()),
                &counters_to_clear.map(|counters| counters.account.as_bytes()),
                &policy::SESSIONS_OF_ACCOUNT,
                &policy::SESSIONS_EVICTED,
                &new.user_agent,
                &counters_to_clear.and_then(|counters| counters.session.as_ref()).map(CounterKey::as_bytes),
                &new.methods.to_stored(),
            ],
        )
        .await;
    match row {
        Err(error) if error.is_foreign_key_violation() => Ok(None),
        row => Ok(row?.as_ref().map(session)),
    }
}

static LIST: Statement<1> = Statement {
    sql: concat!(
        "
    SELECT s.id, s.source, s.user_agent, s.created_at, ",
        last_used!(),
        " AS last_used_at, s.expires_at
    FROM users u JOIN sessions s ON ",
        session_is_live!(),
        " WHERE u.id = $1 ORDER BY ",
        last_used!(),
        " DESC, s.id"
    ),
    types: [Type::INT8],
};

/// The live sessions of a user. The one that was used last comes first.
pub async fn list(db: &Database, user: UserId) -> Result<Vec<ListedSession>, DbError> {
    let rows = db.query(&LIST, [&user.0]).await?;
    let listed = rows.iter().map(|row| ListedSession {
        id: SessionId(row.get("id")),
        created_at: row.get("created_at"),
        last_used_at: row.get("last_used_at"),
        expires_at: row.get("expires_at"),
        source: row.get("source"),
        user_agent: row.get("user_agent"),
    });
    Ok(listed.collect())
}

/// The statement locks the session's row before it decides. So of many calls with one token at the same time, one rotates the token and the others
/// get the same successor. `now()` is the time when a call began, so the time that a call waits for the lock does not use up the grace.
///
/// No column says whether the successor has been used, because its use makes it the parent. If `$4` is already the current token, an earlier run of
/// this statement has rotated the token, and its answer was lost.
///
/// The limit applies to the current token and its parent, but not if an earlier run has rotated the token. Any other token revokes the session,
/// however often it was refreshed.
static REFRESH: Statement<7> = Statement {
    sql: concat!(
        "
    UPDATE sessions s SET
        refresh_id = CASE WHEN s.refresh_id = $3 THEN $4 ELSE s.refresh_id END,
        previous_refresh_id = CASE WHEN s.refresh_id = $3 THEN $3 ELSE s.previous_refresh_id END,
        refreshed_at = CASE WHEN s.refresh_id = $3 THEN now() ELSE s.refreshed_at END,
        revoked_at = CASE
            WHEN s.refresh_id = $3 OR s.refresh_id = $4 THEN NULL
            WHEN s.previous_refresh_id = $3 AND s.refreshed_at + $5 * interval '1 second' >= now() THEN NULL
            ELSE now()
        END,
        refreshes = ",
        one_more!("s.refreshes" while "s.refreshes_since > now() - $7 * interval '1 second'"),
        ",
        refreshes_since = CASE WHEN s.refreshes_since > now() - $7 * interval '1 second' THEN s.refreshes_since ELSE now() END
    FROM users u
    WHERE s.id = $1 AND s.user_id = $2 AND ",
        session_is_live!(),
        "
        AND (s.refreshes < $6 OR s.refreshes_since <= now() - $7 * interval '1 second' OR s.refresh_id = $4
            OR $3 NOT IN (s.refresh_id, coalesce(s.previous_refresh_id, s.refresh_id)))
    RETURNING ",
        session_columns!(and user),
        ", s.revoked_at IS NOT NULL AS is_reused, s.refresh_id = $4 AS is_rotated"
    ),
    types: [Type::UUID, Type::INT8, Type::UUID, Type::UUID, Type::FLOAT8, Type::INT4, Type::FLOAT8],
};

/// Presents a refresh token. `successor` becomes the id of the next refresh token if this call rotates.
pub async fn refresh(
    db: &Database,
    token: VerifiedToken,
    successor: TokenId,
    grace: Duration,
) -> Result<Refreshed, DbError> {
    let limit = policy::REFRESHES_OF_SESSION;
    let row = db
        .query_opt(
            &REFRESH,
            [
                &token.session_id.0,
                &token.user_id.0,
                &token.token_id.0,
                &successor.0,
                &seconds(grace),
                &limit.attempts,
                &seconds(limit.window),
            ],
        )
        .await?;
    Ok(match row {
        None => wait_to_refresh(db, token).await?.map_or(Refreshed::Gone, Refreshed::TooMany),
        Some(row) if row.get("is_reused") => Refreshed::Reused,
        Some(row) if row.get("is_rotated") => Refreshed::Rotated(session(&row)),
        Some(row) => Refreshed::Repeated(session(&row)),
    })
}

static WAIT_TO_REFRESH: Statement<4> = Statement {
    sql: concat!(
        "
    SELECT ",
        seconds_until!("(s.refreshes_since + $4 * interval '1 second')"),
        " AS wait
    FROM sessions s JOIN users u ON ",
        session_is_live!(),
        " WHERE s.id = $1 AND s.user_id = $2 AND s.refreshes >= $3"
    ),
    types: [Type::UUID, Type::INT8, Type::INT4, Type::FLOAT8],
};

/// How long a session that is refreshed too often has to wait. `None` if it has ended.
async fn wait_to_refresh(db: &Database, token: VerifiedToken) -> Result<Option<TooMany>, DbError> {
    let limit = policy::REFRESHES_OF_SESSION;
    let values = [&token.session_id.0 as _, &token.user_id.0 as _, &limit.attempts as _, &seconds(limit.window) as _];
    Ok(db.query_opt(&WAIT_TO_REFRESH, values).await?.map(|row| TooMany::wait(row.get("wait"))))
}

static RENEW: Statement<8> = Statement {
    sql: concat!(
        "
    WITH renewed AS (
        UPDATE sessions s SET auth_time = greatest(s.auth_time, now()), amr = coalesce(s.amr, 1) | $8 FROM users u
        WHERE s.id = $1 AND s.user_id = $2 AND s.credential_version = $3 AND ",
        session_is_live!(),
        "
        RETURNING s.*
    ), ",
        clear_counters!("renewed", "$4", "$5", "$6", "$7"),
        "
    SELECT ",
        session_columns!(),
        " FROM renewed s"
    ),
    types: [Type::UUID, Type::INT8, Type::INT4, Type::BYTEA, Type::BYTEA, Type::BYTEA, Type::BYTEA, Type::INT4],
};

/// Records that the user of a session has authenticated again, with `shown`, and undoes the counting of the attempt in `counters_to_clear`.
/// `version` is the credential version under which the proof was verified. `None` if the session has ended since then.
pub async fn renew(
    db: &Database,
    session: PresentedSession,
    version: i32,
    shown: Methods,
    counters_to_clear: Option<&SignInCounters>,
) -> Result<Option<Session>, DbError> {
    let values = [
        &session.session_id.0 as _,
        &session.user_id.0 as _,
        &version as _,
        &counters_to_clear.map(|counters| counters.both.as_bytes()) as _,
        &counters_to_clear.map(|counters| counters.source.as_bytes()) as _,
        &counters_to_clear.map(|counters| counters.account.as_bytes()) as _,
        &counters_to_clear.and_then(|counters| counters.session.as_ref()).map(CounterKey::as_bytes) as _,
        &shown.to_stored() as _,
    ];
    Ok(db.query_opt(&RENEW, values).await?.as_ref().map(self::session))
}

/// The ended session gets `$3` as its `refresh_id`. If a session has it already, an earlier run of this statement has ended the session and its
/// answer was lost.
static END: Statement<3> = Statement {
    sql: concat!(
        "
    WITH ended AS (
        UPDATE sessions s SET revoked_at = now(), refresh_id = $3 FROM users u
        WHERE s.id = $1 AND s.user_id = $2 AND ",
        session_is_live!(),
        "
        RETURNING s.id
    )
    SELECT id FROM ended UNION ALL SELECT id FROM sessions WHERE id = $1 AND refresh_id = $3"
    ),
    types: [Type::UUID, Type::INT8, Type::UUID],
};

/// Ends a session of a user. `last_refresh_id` is a new id, which no token has.
pub async fn end(db: &Database, user: UserId, session: SessionId, last_refresh_id: TokenId) -> Result<Ended, DbError> {
    if db.query_opt(&END, [&session.0, &user.0, &last_refresh_id.0]).await?.is_some() {
        return Ok(Ended::Now);
    }
    Ok(if users::find(db, user).await?.is_some() { Ended::Before } else { Ended::UserGone })
}

/// The ended sessions get `$3` as their `refresh_id`, like those that [`END`] ends.
static END_OTHERS: Statement<3> = Statement {
    sql: concat!(
        "
    WITH ended AS (
        UPDATE sessions s SET revoked_at = now(), refresh_id = $3 FROM users u
        WHERE s.user_id = $1 AND s.id <> $2 AND ",
        session_is_live!(),
        " AND EXISTS (SELECT FROM sessions s WHERE s.id = $2 AND ",
        session_is_live!(),
        ")
        RETURNING s.id
    )
    SELECT count(*) AS ended FROM (
        SELECT id FROM ended UNION ALL SELECT id FROM sessions WHERE user_id = $1 AND refresh_id = $3
    ) AS others
    HAVING EXISTS (SELECT FROM sessions s JOIN users u ON ",
        session_is_live!(),
        " WHERE s.id = $2)"
    ),
    types: [Type::INT8, Type::UUID, Type::UUID],
};

/// Ends the live sessions of a user except `kept`, and returns their number. `None` if `kept` has ended. Then no session ends, unless `kept` has ended
/// while the statement ran. `last_refresh_id` is a new id, which no token has.
pub async fn end_others(
    db: &Database,
    user: UserId,
    kept: SessionId,
    last_refresh_id: TokenId,
) -> Result<Option<i64>, DbError> {
    let row = db.query_opt(&END_OTHERS, [&user.0, &kept.0, &last_refresh_id.0]).await?;
    Ok(row.map(|row| row.get("ended")))
}

/// The session of a row that has [`session_columns!`].
pub(super) fn session(row: &Row) -> Session {
    Session {
        id: SessionId(row.get("id")),
        user_id: UserId(row.get("user_id")),
        refresh_id: TokenId(row.get("refresh_id")),
        refreshed_at: row.get("refreshed_at"),
        auth_time: row.get("auth_time"),
        methods: Methods::from_stored(row.get("amr")),
        email_verified: row.get("email_verified"),
        expires_at: row.get("expires_at"),
        now: row.get("now"),
    }
}
