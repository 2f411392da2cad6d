//! `throttle`: how often something was attempted lately. The statement that lets an attempt through counts it, before the work it pays for,
//! so fifty at once are fifty. A refused attempt is not counted, so retrying during a wait does not extend it.

use tokio_postgres::{Row, types::Type};

use super::{
    Database, DbError, seconds,
    users::{Account, account},
};
use crate::{
    domain::EmailLookup,
    security::{
        Source, policy,
        throttle::{Attempt, CounterKey, SignInCounters, TooMany},
    },
};

/// An attempt to sign in that was let through and counted.
pub struct CountedSignIn {
    /// The account of the address, if it has one.
    pub account: Option<Account>,
    /// The counters that counted it.
    pub counted: SignInCounters,
}

/// Why an attempt was not counted, and must not be made.
#[derive(Debug)]
pub enum NotCounted {
    /// There were too many.
    TooMany(TooMany),
    /// The store failed.
    Failed(DbError),
}

impl From<DbError> for NotCounted {
    fn from(error: DbError) -> Self {
        Self::Failed(error)
    }
}

impl From<TooMany> for NotCounted {
    fn from(too_many: TooMany) -> Self {
        Self::TooMany(too_many)
    }
}

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

/// Counts an attempt of a source, or refuses it.
pub async fn count(db: &Database, attempt: Attempt, source: &Source) -> Result<(), NotCounted> {
    let limit = attempt.limit();
    let params = [
        (&attempt.name() as _, Type::TEXT),
        (&source.as_str() as _, Type::TEXT),
        (&limit.attempts as _, Type::INT4),
        (&seconds(limit.window) as _, Type::FLOAT8),
    ];
    let row = db.query_one(COUNT, &params).await?;
    if row.get("admitted") { Ok(()) } else { Err(TooMany::wait(row.get("wait")).into()) }
}

/// Counts an attempt to sign in three times: for the account and the source together, for the source, and for the account.
///
/// The counters of an account bear its id and credential version: a new account starts without failures, whatever was tried at its
/// address before, and a reset clears them. An address without an account is counted by its own name, in the same way, so that
/// nobody can tell the two apart.
///
/// `refusal` refuses by what is known when the statement begins, and counts nothing. Then each counter admits or refuses under its row's
/// lock and feeds the next, always in the same order, so that no two attempts deadlock. If a wait began after the statement's snapshot,
/// `Retry-After` is the first wait.
const SIGN_IN: &str = "
    WITH account AS (
        SELECT id, name, email, password, credential_version FROM users
        WHERE lower(email COLLATE \"C\") = lower($1 COLLATE \"C\")
    ), guessed AS (
        SELECT coalesce(
            (SELECT 'user ' || id || ' ' || credential_version FROM account),
            'address ' || coalesce(lower($1 COLLATE \"C\"), '')
        ) AS name
    ), named AS (
        SELECT sha256(convert_to('signin both ' || $2 || ' ' || name, 'UTF8')) AS both_key,
            sha256(convert_to('signin source ' || $2, 'UTF8')) AS source_key,
            sha256(convert_to('signin account ' || name, 'UTF8')) AS account_key
        FROM guessed
    ), owner AS (
        SELECT EXISTS (
            SELECT FROM sessions s JOIN account a ON s.user_id = a.id AND s.credential_version = a.credential_version
            WHERE s.source = $2 AND s.revoked_at IS NULL AND s.expires_at > now()
        ) AS is_signed_in_here
    ), refusal AS (
        SELECT coalesce(max(CASE
                WHEN t.key = named.both_key THEN extract(epoch FROM t.blocked_until - now())
                WHEN t.key = named.source_key AND t.attempts >= $7 THEN extract(epoch FROM t.expires_at - now())
                WHEN t.key = named.account_key AND t.attempts >= $9 AND NOT is_signed_in_here
                    THEN extract(epoch FROM t.expires_at - now())
            END), 0)::float8 AS wait,
            coalesce(
                bool_or(t.key = named.account_key AND t.attempts >= $9 AND NOT is_signed_in_here)
                    AND NOT bool_or(t.key = named.source_key AND t.attempts >= $7),
                false
            ) AS reset_helps
        FROM named CROSS JOIN owner
            CROSS JOIN LATERAL (VALUES (both_key), (source_key), (account_key)) AS counter (key)
            JOIN throttle t ON t.key = counter.key AND t.expires_at > now()
    ), both_counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT both_key, 1, now() + $6 * interval '1 second' FROM named, refusal WHERE refusal.wait <= 0
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
        SELECT account_key, 1, now() + $10 * interval '1 second' FROM named, source_counted
        ON CONFLICT (key) DO UPDATE SET
            attempts = CASE WHEN t.expires_at > now() THEN t.attempts + 1 ELSE 1 END,
            expires_at = greatest(t.expires_at, now()) + $10 * interval '1 second'
        WHERE t.expires_at <= now() OR t.attempts < $9
        RETURNING key
    )
    SELECT account.*, named.*, refusal.reset_helps,
        EXISTS (SELECT FROM account_counted) OR (is_signed_in_here AND EXISTS (SELECT FROM source_counted)) AS admitted,
        CASE WHEN refusal.wait > 0 THEN refusal.wait ELSE $4 END AS wait
    FROM named CROSS JOIN owner CROSS JOIN refusal LEFT JOIN account ON true";

/// Finds the account of an address, in whatever case it is written, and counts an attempt to sign in to it.
pub async fn sign_in(db: &Database, email: &EmailLookup, source: &Source) -> Result<CountedSignIn, NotCounted> {
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
        (&seconds(policy::SIGNIN_MEMORY_OF_ACCOUNT) as _, Type::FLOAT8),
    ];
    let row = db.query_one(SIGN_IN, &params).await?;
    if row.get("admitted") {
        Ok(CountedSignIn { account: account(&row), counted: counters(&row) })
    } else {
        Err(TooMany { reset_helps: row.get("reset_helps"), ..TooMany::wait(row.get("wait")) }.into())
    }
}

fn counters(row: &Row) -> SignInCounters {
    let key = |name| CounterKey::from_stored(row.get(name));
    SignInCounters { both: key("both_key"), source: key("source_key"), account: key("account_key") }
}
