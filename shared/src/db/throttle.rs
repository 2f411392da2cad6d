//! `throttle`: how often something was attempted lately. Attempts are counted by the statement that lets them through, before the work
//! they pay for, so that fifty at once are fifty. What is not let through is not counted, so it makes no wait longer.

use tokio_postgres::types::Type;

use super::{
    Database, DbError, seconds,
    users::{Account, account},
};
use crate::{
    domain::EmailLookup,
    security::{
        Source, policy,
        throttle::{Attempt, TooMany},
    },
};

const COUNT: &str = "
    WITH counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        VALUES (sha256(convert_to($1 || ' source ' || $2, 'UTF8')), 1, now() + $4 * interval '1 second')
        ON CONFLICT (key) DO UPDATE SET
            attempts = CASE WHEN t.expires_at > now() THEN t.attempts + 1 ELSE 1 END,
            expires_at = CASE WHEN t.expires_at > now() THEN t.expires_at ELSE excluded.expires_at END
        WHERE t.attempts < $3 OR t.expires_at <= now()
        RETURNING key
    )
    SELECT EXISTS (SELECT FROM counted) AS admitted, coalesce(
        (SELECT extract(epoch FROM expires_at - now()) FROM throttle
         WHERE key = sha256(convert_to($1 || ' source ' || $2, 'UTF8'))), 1)::float8 AS wait";

/// Counts an attempt from a source, or says when the next one may be.
pub async fn count(db: &Database, attempt: Attempt, source: &Source) -> Result<Result<(), TooMany>, DbError> {
    let limit = attempt.limit();
    let params = [
        (&attempt.name() as _, Type::TEXT),
        (&source.as_str() as _, Type::TEXT),
        (&limit.attempts as _, Type::INT4),
        (&seconds(limit.window) as _, Type::FLOAT8),
    ];
    let row = db.query_one(COUNT, &params).await?;
    Ok(if row.get("admitted") { Ok(()) } else { Err(too_many(row.get("wait"))) })
}

/// Counts an attempt to sign in three times: for account and source together, for the source, and for the account. The names of
/// the counters carry the account's credential version, so that a reset clears them by itself; an address without an account
/// counts alike. `standing` refuses by what is known when the statement begins, without counting anything; then each counter
/// admits or refuses under its row's lock, and feeds the next, always in the same order, so that no two attempts wait for each other.
/// (A wait that began after the snapshot is told as the first wait.)
const SIGN_IN: &str = "
    WITH account AS (
        SELECT id, name, email, password, credential_version, lower(email) AS address FROM users
        WHERE lower(email) = lower($1)
    ), address AS (
        SELECT coalesce(lower($1), '') || ' ' || coalesce((SELECT credential_version FROM account), 1) AS version
    ), named AS (
        SELECT sha256(convert_to('signin both ' || $2 || ' ' || version, 'UTF8')) AS both_key,
            sha256(convert_to('signin source ' || $2, 'UTF8')) AS source_key,
            sha256(convert_to('signin account ' || version, 'UTF8')) AS account_key
        FROM address
    ), at_home AS (
        SELECT EXISTS (
            SELECT FROM sessions s JOIN account a ON s.user_id = a.id AND s.credential_version = a.credential_version
            WHERE s.source = $2 AND s.revoked_at IS NULL AND s.expires_at > now()
        ) AS yes
    ), standing AS (
        SELECT coalesce(max(CASE
            WHEN t.key = named.both_key THEN extract(epoch FROM t.blocked_until - now())
            WHEN t.key = named.source_key AND t.attempts >= $7 THEN extract(epoch FROM t.expires_at - now())
            WHEN t.key = named.account_key AND t.attempts >= $9 AND NOT at_home.yes THEN $10
        END), 0)::float8 AS wait
        FROM named CROSS JOIN at_home
            CROSS JOIN LATERAL (VALUES (both_key), (source_key), (account_key)) AS counter (key)
            JOIN throttle t ON t.key = counter.key AND t.expires_at > now()
    ), both_counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT both_key, 1, now() + $6 * interval '1 second' FROM named, standing WHERE standing.wait <= 0
        ON CONFLICT (key) DO UPDATE SET
            attempts = CASE WHEN t.expires_at > now() THEN t.attempts + 1 ELSE 1 END,
            blocked_until = CASE WHEN t.expires_at > now() AND t.attempts + 1 >= $3
                THEN now() + least($5, $4 * power(2, least(t.attempts + 1 - $3, 30))) * interval '1 second' END,
            expires_at = excluded.expires_at
        WHERE t.expires_at <= now() OR t.blocked_until IS NULL OR t.blocked_until <= now()
        RETURNING key
    ), source_counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT source_key, 1, now() + $8 * interval '1 second' FROM named, both_counted
        ON CONFLICT (key) DO UPDATE SET
            attempts = CASE WHEN t.expires_at > now() THEN t.attempts + 1 ELSE 1 END,
            expires_at = CASE WHEN t.expires_at > now() THEN t.expires_at ELSE excluded.expires_at END
        WHERE t.expires_at <= now() OR t.attempts < $7
        RETURNING key
    ), account_counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT account_key, 1, now() + $11 * interval '1 second' FROM named, source_counted
        ON CONFLICT (key) DO UPDATE SET
            attempts = CASE WHEN t.expires_at > now() THEN t.attempts + 1 ELSE 1 END,
            expires_at = excluded.expires_at
        WHERE t.expires_at <= now() OR t.attempts < $9 OR (SELECT yes FROM at_home)
        RETURNING key
    )
    SELECT account.*, EXISTS (SELECT FROM account_counted) AS admitted,
        CASE WHEN standing.wait > 0 THEN standing.wait ELSE $4 END AS wait
    FROM standing LEFT JOIN account ON true";

/// The account of an address, in whatever case it is written, for an attempt to sign in that is counted by the same statement.
pub async fn sign_in(
    db: &Database,
    email: &EmailLookup,
    source: &Source,
) -> Result<Result<Option<Account>, TooMany>, DbError> {
    let of_source = policy::SIGNIN_FAILURES_OF_SOURCE;
    let params = [
        (&email.as_sql() as _, Type::TEXT),
        (&source.as_str() as _, Type::TEXT),
        (&policy::SIGNIN_FAILURES as _, Type::INT4),
        (&seconds(policy::SIGNIN_FIRST_WAIT) as _, Type::FLOAT8),
        (&seconds(policy::SIGNIN_LONGEST_WAIT) as _, Type::FLOAT8),
        (&seconds(policy::SIGNIN_MEMORY) as _, Type::FLOAT8),
        (&of_source.attempts as _, Type::INT4),
        (&seconds(of_source.window) as _, Type::FLOAT8),
        (&policy::SIGNIN_FAILURES_OF_ACCOUNT as _, Type::INT4),
        (&seconds(policy::SIGNIN_CLOSED_WAIT) as _, Type::FLOAT8),
        (&seconds(policy::SIGNIN_CLOSED_MEMORY) as _, Type::FLOAT8),
    ];
    let row = db.query_one(SIGN_IN, &params).await?;
    if !row.get::<_, bool>("admitted") {
        return Ok(Err(too_many(row.get("wait"))));
    }
    Ok(Ok(account(&row)))
}

/// A wait as a client is told it: whole seconds, none of them too few.
pub(super) fn too_many(wait: f64) -> TooMany {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a wait is small and not negative")]
    let retry_after = wait.ceil().max(1.0) as u64;
    TooMany { retry_after }
}
