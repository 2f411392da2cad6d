//! `sessions`: one row for each sign-in. A session is live while its row is there, not revoked, not past its end, and carries its
//! user's current credential version.

use std::time::Duration;

use tokio_postgres::{Row, types::Type};

use super::{Database, DbError, seconds, users::Account};
use crate::{
    domain::{SessionId, TokenId, UnixTime, UserId},
    security::{
        Source,
        policy::{self, Limit},
        throttle::{SignInCounters, TooMany},
        token::{Session, Verified},
    },
};

/// The version that was read together with the hash decides: a reset since then has raised it, and no session opens. The session ends on
/// a whole second, so that a token can say it exactly.
///
/// `evicted` keeps the sessions of an account below [`policy::SESSIONS_OF_ACCOUNT`]: dead ones go first, then the one that was signed in or
/// refreshed longest ago. Sign-ins at the same moment may overshoot; the next one makes up for it. It deletes by key, and skips what
/// somebody else deletes.
///
/// A successful attempt was no failure, so its counters are taken back, in the order in which [`super::throttle`] locks them.
const OPEN: &str = "
    WITH opened AS (
        INSERT INTO sessions (id, user_id, credential_version, refresh_id, refreshed_at, expires_at, source)
        SELECT $1, id, credential_version, $2, now(), date_trunc('second', now()) + $5 * interval '1 second', $6
        FROM users WHERE id = $3 AND credential_version = $4
        ON CONFLICT (id) DO UPDATE SET refresh_id = excluded.refresh_id
        RETURNING id, user_id, refresh_id, refreshed_at, expires_at
    ), evicted AS (
        DELETE FROM sessions WHERE id IN (
            SELECT s.id FROM sessions s JOIN opened ON opened.user_id = s.user_id AND opened.id <> s.id
            ORDER BY s.credential_version = $4 AND s.revoked_at IS NULL AND s.expires_at > now() DESC, s.refreshed_at DESC
            OFFSET $10 - 1 LIMIT $11
        )
    ), both_cleared AS (
        DELETE FROM throttle t USING opened WHERE t.key = $7 RETURNING t.key
    ), source_uncounted AS (
        UPDATE throttle t SET attempts = t.attempts - 1 FROM opened
        WHERE t.key = $8 AND t.attempts > 0 AND (SELECT count(*) FROM both_cleared) >= 0
        RETURNING t.key
    ), account_cleared AS (
        DELETE FROM throttle t USING opened WHERE t.key = $9 AND (SELECT count(*) FROM source_uncounted) >= 0
    )
    SELECT id, user_id, refresh_id,
        floor(extract(epoch FROM refreshed_at))::bigint AS refreshed_at,
        floor(extract(epoch FROM expires_at))::bigint AS expires_at,
        floor(extract(epoch FROM now()))::bigint AS now
    FROM opened";

/// A session that is to be opened.
pub struct NewSession<'a> {
    /// Its id.
    pub id: SessionId,
    /// The `jti` of its first refresh token.
    pub refresh_id: TokenId,
    /// Whose password was verified, and the version it was verified under.
    pub account: &'a Account,
    /// Where the attempt came from.
    pub source: &'a Source,
    /// The counters that counted the attempt as a failure.
    pub counted: &'a SignInCounters,
    /// How long it lives.
    pub lifetime: Duration,
}

/// Opens a session. `None` where the credential version is no longer the account's current one, or the account is gone.
pub async fn open(db: &Database, new: NewSession<'_>) -> Result<Option<Session>, DbError> {
    let params = [
        (&new.id.0 as _, Type::UUID),
        (&new.refresh_id.0 as _, Type::UUID),
        (&new.account.id.0 as _, Type::INT4),
        (&new.account.credential_version as _, Type::INT4),
        (&seconds(new.lifetime) as _, Type::FLOAT8),
        (&new.source.as_str() as _, Type::TEXT),
        (&new.counted.both.as_bytes() as _, Type::BYTEA),
        (&new.counted.source.as_bytes() as _, Type::BYTEA),
        (&new.counted.account.as_bytes() as _, Type::BYTEA),
        (&policy::SESSIONS_OF_ACCOUNT as _, Type::INT8),
        (&policy::SESSIONS_EVICTED as _, Type::INT8),
    ];
    match db.query_opt(OPEN, &params).await {
        Err(error) if error.is_foreign_key_violation() => Ok(None),
        outcome => Ok(outcome?.as_ref().map(session)),
    }
}

/// What presenting a refresh token came to.
pub enum Refreshed {
    /// The token was the current one: it has a successor now.
    Rotated(Session),
    /// The token was the parent of one that nobody has used yet, within the grace: here is that one again.
    Repeated(Session),
    /// The token was older, or late: theft. The session has been revoked.
    Reused(UserId),
    /// The session is refreshed too often.
    TooMany(TooMany),
    /// The session, or its user, is gone.
    Gone,
}

/// One statement decides, under the row's lock, so that of many calls at once with one token exactly one rotates and the others
/// repeat. `now()` is when a call began, so one that waited for the lock counts as having come when it came. That a
/// successor is unused needs no column: once used, it has become the parent itself. That `$4` is the current one means that this
/// very call has rotated before, and its answer was lost. The limit holds for the two tokens that would
/// be served; a thief's is answered, by revoking, however often the session was refreshed.
const REFRESH: &str = "
    UPDATE sessions s SET
        refresh_id = CASE WHEN s.refresh_id = $3 THEN $4 ELSE s.refresh_id END,
        previous_refresh_id = CASE WHEN s.refresh_id = $3 THEN $3 ELSE s.previous_refresh_id END,
        refreshed_at = CASE WHEN s.refresh_id = $3 THEN now() ELSE s.refreshed_at END,
        revoked_at = CASE
            WHEN s.refresh_id = $3 OR s.refresh_id = $4 THEN NULL
            WHEN s.previous_refresh_id = $3 AND s.refreshed_at + $5 * interval '1 second' >= now() THEN NULL
            ELSE now()
        END,
        refreshes = CASE WHEN s.refreshes_since > now() - $7 * interval '1 second' THEN s.refreshes + 1 ELSE 1 END,
        refreshes_since = CASE WHEN s.refreshes_since > now() - $7 * interval '1 second' THEN s.refreshes_since ELSE now() END
    FROM users u
    WHERE s.id = $1 AND s.user_id = $2 AND u.id = s.user_id AND u.credential_version = s.credential_version
        AND s.revoked_at IS NULL AND s.expires_at > now()
        AND (s.refreshes < $6 OR s.refreshes_since <= now() - $7 * interval '1 second'
            OR $3 NOT IN (s.refresh_id, coalesce(s.previous_refresh_id, s.refresh_id)))
    RETURNING s.id, s.user_id, s.refresh_id,
        floor(extract(epoch FROM s.refreshed_at))::bigint AS refreshed_at,
        floor(extract(epoch FROM s.expires_at))::bigint AS expires_at,
        floor(extract(epoch FROM now()))::bigint AS now,
        s.revoked_at IS NOT NULL AS reused,
        s.refresh_id = $4 AS rotated";

/// Presents a refresh token; `successor` is the id the next one gets if this call is the one that rotates.
pub async fn refresh(
    db: &Database,
    token: Verified,
    successor: TokenId,
    grace: Duration,
) -> Result<Refreshed, DbError> {
    let limit = policy::REFRESHES_OF_SESSION;
    let params = [
        (&token.session_id.0 as _, Type::UUID),
        (&token.user_id.0 as _, Type::INT4),
        (&token.token_id.0 as _, Type::UUID),
        (&successor.0 as _, Type::UUID),
        (&seconds(grace) as _, Type::FLOAT8),
        (&limit.attempts as _, Type::INT4),
        (&seconds(limit.window) as _, Type::FLOAT8),
    ];
    Ok(match db.query_opt(REFRESH, &params).await? {
        None => wait_to_refresh(db, token, limit).await?.map_or(Refreshed::Gone, Refreshed::TooMany),
        Some(row) if row.get("reused") => Refreshed::Reused(token.user_id),
        Some(row) if row.get("rotated") => Refreshed::Rotated(session(&row)),
        Some(row) => Refreshed::Repeated(session(&row)),
    })
}

const WAIT_TO_REFRESH: &str = "
    SELECT extract(epoch FROM s.refreshes_since + $4 * interval '1 second' - now())::float8 AS wait
    FROM sessions s JOIN users u ON u.id = s.user_id AND u.credential_version = s.credential_version
    WHERE s.id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL AND s.expires_at > now() AND s.refreshes >= $3";

/// Why a refresh touched no row: `None` where the session is gone.
async fn wait_to_refresh(db: &Database, token: Verified, limit: Limit) -> Result<Option<TooMany>, DbError> {
    let params = [
        (&token.session_id.0 as _, Type::UUID),
        (&token.user_id.0 as _, Type::INT4),
        (&limit.attempts as _, Type::INT4),
        (&seconds(limit.window) as _, Type::FLOAT8),
    ];
    Ok(db.query_opt(WAIT_TO_REFRESH, &params).await?.map(|row| TooMany::wait(row.get("wait"))))
}

/// What became of a session that was to end.
pub enum Ended {
    /// It lived, and has ended now.
    Now,
    /// It had ended before.
    Before,
    /// Its user is gone, and every session with them.
    UserGone,
}

const END: &str = "
    WITH ended AS (
        UPDATE sessions s SET revoked_at = now()
        FROM users u
        WHERE s.id = $1 AND s.user_id = $2 AND u.id = s.user_id AND u.credential_version = s.credential_version
            AND s.revoked_at IS NULL AND s.expires_at > now()
        RETURNING s.id
    )
    SELECT EXISTS (SELECT FROM ended) AS ended, EXISTS (SELECT FROM users WHERE id = $2) AS user_exists";

/// Ends the session of an access token, and no other.
pub async fn end(db: &Database, token: Verified) -> Result<Ended, DbError> {
    let row = db.query_one(END, &[(&token.session_id.0, Type::UUID), (&token.user_id.0, Type::INT4)]).await?;
    Ok(match (row.get("ended"), row.get("user_exists")) {
        (true, _) => Ended::Now,
        (false, true) => Ended::Before,
        (false, false) => Ended::UserGone,
    })
}

fn session(row: &Row) -> Session {
    Session {
        id: SessionId(row.get("id")),
        user_id: UserId(row.get("user_id")),
        refresh_id: TokenId(row.get("refresh_id")),
        refreshed_at: UnixTime(row.get("refreshed_at")),
        expires_at: UnixTime(row.get("expires_at")),
        now: UnixTime(row.get("now")),
    }
}
