//! `sessions`: one row for each sign-in. A session is live while its row is there, not revoked, not past its end, and carries its
//! user's current credential version.

use std::time::Duration;

use tokio_postgres::{Row, types::Type};

use super::{Database, DbError, is_foreign_key_violation, seconds};
use crate::{
    domain::{SessionId, TokenId, UnixTime, UserId},
    security::token::{Session, Verified},
};

/// The version that was read together with the hash decides: a reset since then has raised it, and no session opens. Ends on
/// a whole second, so that a token can say it exactly.
const OPEN: &str = "
    INSERT INTO sessions (id, user_id, credential_version, refresh_id, refreshed_at, expires_at)
    SELECT $1, id, credential_version, $2, now(), date_trunc('second', now()) + $5 * interval '1 second'
    FROM users WHERE id = $3 AND credential_version = $4
    ON CONFLICT (id) DO UPDATE SET refresh_id = excluded.refresh_id
    RETURNING id, user_id, refresh_id,
        floor(extract(epoch FROM refreshed_at))::bigint AS refreshed_at,
        floor(extract(epoch FROM expires_at))::bigint AS expires_at,
        floor(extract(epoch FROM now()))::bigint AS now";

/// Opens a session for a user whose password was verified under `credential_version`. `None` where that is no longer the
/// current one, or the user is gone.
pub async fn open(
    db: &Database,
    (id, refresh_id): (SessionId, TokenId),
    user: UserId,
    credential_version: i32,
    lifetime: Duration,
) -> Result<Option<Session>, DbError> {
    let params = [
        (&id.0 as _, Type::UUID),
        (&refresh_id.0 as _, Type::UUID),
        (&user.0 as _, Type::INT4),
        (&credential_version as _, Type::INT4),
        (&seconds(lifetime) as _, Type::FLOAT8),
    ];
    match db.query_opt(OPEN, &params).await {
        Err(error) if is_foreign_key_violation(&error) => Ok(None),
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
    /// The session, or its user, is gone.
    Gone,
}

/// One statement decides, under the row's lock, so that of many calls at once with one token exactly one rotates and the others
/// repeat. `now()` is when a call began, so one that waited for the lock counts as having come when it came. That a
/// successor is unused needs no column: once used, it has become the parent itself.
const REFRESH: &str = "
    UPDATE sessions s SET
        refresh_id = CASE WHEN s.refresh_id = $3 THEN $4 ELSE s.refresh_id END,
        previous_refresh_id = CASE WHEN s.refresh_id = $3 THEN $3 ELSE s.previous_refresh_id END,
        refreshed_at = CASE WHEN s.refresh_id = $3 THEN now() ELSE s.refreshed_at END,
        revoked_at = CASE
            WHEN s.refresh_id = $3 THEN NULL
            WHEN s.previous_refresh_id = $3 AND s.refreshed_at + $5 * interval '1 second' >= now() THEN NULL
            ELSE now()
        END
    FROM users u
    WHERE s.id = $1 AND s.user_id = $2 AND u.id = s.user_id AND u.credential_version = s.credential_version
        AND s.revoked_at IS NULL AND s.expires_at > now()
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
    let params = [
        (&token.session_id.0 as _, Type::UUID),
        (&token.user_id.0 as _, Type::INT4),
        (&token.token_id.0 as _, Type::UUID),
        (&successor.0 as _, Type::UUID),
        (&seconds(grace) as _, Type::FLOAT8),
    ];
    Ok(match db.query_opt(REFRESH, &params).await? {
        None => Refreshed::Gone,
        Some(row) if row.get("reused") => Refreshed::Reused(token.user_id),
        Some(row) if row.get("rotated") => Refreshed::Rotated(session(&row)),
        Some(row) => Refreshed::Repeated(session(&row)),
    })
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
