//! The table `throttle`: counters of attempts. One statement allows an attempt and counts it, before the request is processed. So fifty attempts
//! at the same time count as fifty. Refused attempts are not counted, so retrying during a wait does not extend it.

use tokio_postgres::{Row, types::Type};

use super::{
    AnyStatement, Database, DbError,
    rules::{count_within_window, counter_key, has_address, one_more, seconds_until, session_is_live, user_columns},
    seconds,
    statement::Statement,
    users::{Account, account},
};
use crate::{
    domain::{CounterKey, EmailLookup, SignInCounters, Source, TooMany},
    security::{Attempt, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 4] = [&COUNT, &FIND_ACCOUNT, &COUNT_SIGN_IN, &FORGIVE];

/// An attempt to sign in that was allowed and counted.
pub struct CountedSignIn {
    /// The account of the address, if there is one.
    pub account: Option<Account>,
    /// The counters that counted the attempt.
    pub counters: SignInCounters,
}

/// Why an attempt was not counted. The request must then be refused.
#[derive(Debug)]
pub enum NotCounted {
    /// There were too many attempts.
    TooMany(TooMany),
    /// The store of the counters failed.
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

static COUNT: Statement<3> = Statement {
    sql: concat!(
        "
    WITH counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at) VALUES ($1, 1, now() + $3 * interval '1 second')",
        count_within_window!(up to "$2"),
        "
    )
    SELECT EXISTS (SELECT FROM counted) AS is_counted,
        coalesce((SELECT ",
        seconds_until!("t.expires_at"),
        " FROM throttle t WHERE t.key = $1), 1) AS wait"
    ),
    types: [Type::BYTEA, Type::INT4, Type::FLOAT8],
};

/// Counts an attempt from a source, or refuses the attempt if there were too many.
pub async fn count(db: &Database, attempt: Attempt, source: &Source) -> Result<(), NotCounted> {
    let (counter, limit) = (attempt.counter(source), attempt.limit());
    let row = db.query_one(&COUNT, [&counter.as_bytes(), &limit.attempts, &seconds(limit.window)]).await?;
    if row.get("is_counted") { Ok(()) } else { Err(TooMany::wait(row.get("wait")).into()) }
}

/// The parts of a `WITH` that find the account with the address `$1` and its three counters for the source `$2`.
///
/// The names of an account's counters contain its id and its credential version. So failures that were counted for an address do not affect an
/// account that is created later with this address, and a password reset starts new counters. For an address without an account, the names
/// contain the address, so that clients cannot see whether an account exists.
macro_rules! sign_in {
    () => {
        concat!(
            "account AS (
        SELECT ",
            user_columns!(),
            ", password FROM users WHERE ",
            has_address!("$1"),
            "
    ), subject AS (
        SELECT coalesce(
            (SELECT 'user ' || id || ' ' || credential_version FROM account),
            'address ' || coalesce(lower($1 COLLATE \"C\"), '')
        ) AS name
    ), named AS (
        SELECT ",
            counter_key!("'signin both ' || $2 || ' ' || name"),
            " AS both_key, ",
            counter_key!("'signin source ' || $2"),
            " AS source_key, ",
            counter_key!("'signin account ' || name"),
            " AS account_key
        FROM subject
    )"
        )
    };
}

static FIND_ACCOUNT: Statement<2> = Statement {
    sql: concat!(
        "
    WITH ",
        sign_in!(),
        "
    SELECT account.*, named.* FROM named LEFT JOIN account ON true"
    ),
    types: [Type::TEXT, Type::TEXT],
};

/// Finds the account of an address, and the counters for an attempt to sign in to it, for counters outside PostgreSQL. Counts nothing.
pub async fn find_account(db: &Database, email: &EmailLookup, source: &Source) -> Result<CountedSignIn, DbError> {
    let row = db.query_one(&FIND_ACCOUNT, [&email.as_sql(), &source.as_str()]).await?;
    Ok(CountedSignIn { account: found_account(&row), counters: counters(&row) })
}

/// Counts an attempt to sign in three times: for the account and the source together, for the source, and for the account.
///
/// `refusal` checks the counters as they were when the statement began. An attempt that it refuses is not counted. Then the row of each counter is
/// locked, and increased if its limit is not reached. The rows are always locked in the same order, so two attempts cannot deadlock. If a concurrent
/// attempt started a wait after the statement began, the statement does not know the length of the wait, and `Retry-After` is the first wait.
///
/// The parameters are: the address, the source, the failures before the first wait, the first and the longest wait, the time that failures are
/// kept, the limit and the period of a source, the limit of an account, and the time by which each failure extends the account's counter.
static COUNT_SIGN_IN: Statement<10> = Statement {
    sql: concat!(
        "
    WITH ",
        sign_in!(),
        ", owner AS (
        SELECT EXISTS (
            SELECT FROM sessions s JOIN account u ON ",
        session_is_live!(),
        " WHERE s.source = $2
        ) AS is_signed_in_here
    ), refusal AS (
        SELECT coalesce(max(CASE
                WHEN t.key = named.both_key THEN ",
        seconds_until!("t.blocked_until"),
        "
                WHEN t.key = named.source_key AND t.attempts >= $7 THEN ",
        seconds_until!("t.expires_at"),
        "
                WHEN t.key = named.account_key AND t.attempts >= $9 AND NOT is_signed_in_here THEN ",
        seconds_until!("t.expires_at"),
        "
            END), 0) AS wait,
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
            attempts = ",
        one_more!("t.attempts" while "t.expires_at > now()"),
        ",
            blocked_until = CASE WHEN t.expires_at > now() AND t.attempts + 1 >= $3
                THEN now() + least($5, $4 * power(2, least(t.attempts + 1 - $3, 30))) * interval '1 second' END,
            expires_at = excluded.expires_at
        WHERE t.expires_at <= now() OR t.blocked_until IS NULL OR t.blocked_until <= now()
        RETURNING key
    ), source_counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT source_key, 1, now() + $8 * interval '1 second' FROM named, both_counted",
        count_within_window!(up to "$7"),
        "
    ), account_counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT account_key, 1, now() + $10 * interval '1 second' FROM named, source_counted
        ON CONFLICT (key) DO UPDATE SET
            attempts = ",
        one_more!("t.attempts" while "t.expires_at > now()"),
        ",
            expires_at = greatest(t.expires_at, now()) + $10 * interval '1 second'
        WHERE t.expires_at <= now() OR t.attempts < $9
        RETURNING key
    )
    SELECT account.*, named.*, refusal.reset_helps,
        EXISTS (SELECT FROM account_counted) OR (is_signed_in_here AND EXISTS (SELECT FROM source_counted)) AS is_counted,
        CASE WHEN refusal.wait > 0 THEN refusal.wait ELSE $4 END AS wait
    FROM named CROSS JOIN owner CROSS JOIN refusal LEFT JOIN account ON true"
    ),
    types: [
        Type::TEXT,
        Type::TEXT,
        Type::INT4,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
    ],
};

/// Finds the account of an address, whatever the case of its letters. Counts an attempt to sign in to it, or refuses the attempt.
pub async fn count_sign_in(db: &Database, email: &EmailLookup, source: &Source) -> Result<CountedSignIn, NotCounted> {
    let of_source = policy::SIGNIN_FAILURES_OF_SOURCE;
    let row = db
        .query_one(
            &COUNT_SIGN_IN,
            [
                &email.as_sql(),
                &source.as_str(),
                &policy::SIGNIN_FAILURES,
                &seconds(policy::SIGNIN_FIRST_WAIT),
                &seconds(policy::SIGNIN_LONGEST_WAIT),
                &seconds(policy::SIGNIN_MEMORY),
                &of_source.attempts,
                &seconds(of_source.window),
                &policy::SIGNIN_FAILURES_OF_ACCOUNT,
                &seconds(policy::SIGNIN_MEMORY_OF_ACCOUNT),
            ],
        )
        .await?;
    if row.get("is_counted") {
        Ok(CountedSignIn { account: found_account(&row), counters: counters(&row) })
    } else {
        Err(TooMany { reset_helps: row.get("reset_helps"), ..TooMany::wait(row.get("wait")) }.into())
    }
}

/// The parts of a `WITH` that clear the counters after a successful sign-in, if the relation `$once` has a row. They lock the rows in the same order
/// as [`COUNT_SIGN_IN`]: the conditions `>= 0` are always true, but they make PostgreSQL run the previous part first.
macro_rules! clear_counters {
    ($once:literal, $both:literal, $source:literal, $account:literal) => {
        concat!(
            "both_cleared AS (
        DELETE FROM throttle t USING ",
            $once,
            " WHERE t.key = ",
            $both,
            " RETURNING t.key
    ), source_uncounted AS (
        UPDATE throttle t SET attempts = t.attempts - 1 FROM ",
            $once,
            " WHERE t.key = ",
            $source,
            " AND t.attempts > 0 AND (SELECT count(*) FROM both_cleared) >= 0
        RETURNING t.key
    ), account_cleared AS (
        DELETE FROM throttle t USING ",
            $once,
            " WHERE t.key = ",
            $account,
            " AND (SELECT count(*) FROM source_uncounted) >= 0
        RETURNING t.key
    )"
        )
    };
}
pub(super) use clear_counters;

static FORGIVE: Statement<3> = Statement {
    sql: concat!(
        "WITH once AS (SELECT), ",
        clear_counters!("once", "$1", "$2", "$3"),
        " SELECT count(*) AS cleared FROM account_cleared"
    ),
    types: [Type::BYTEA, Type::BYTEA, Type::BYTEA],
};

/// Undoes the counting of an attempt to sign in that succeeded: clears the counters of the account, and decreases the counter of the source by
/// one.
pub async fn forgive(db: &Database, counters: &SignInCounters) -> Result<(), DbError> {
    let SignInCounters { both, source, account } = counters;
    db.query_one(&FORGIVE, [&both.as_bytes(), &source.as_bytes(), &account.as_bytes()]).await.map(drop)
}

fn counters(row: &Row) -> SignInCounters {
    let key = |name| CounterKey::from_stored(row.get(name));
    SignInCounters { both: key("both_key"), source: key("source_key"), account: key("account_key") }
}

/// The account of a row, if the row has one.
fn found_account(row: &Row) -> Option<Account> {
    row.get::<_, Option<String>>("password").map(|_| account(row))
}
