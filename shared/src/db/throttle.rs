//! The table `throttle`: counters of attempts. One statement allows an attempt and counts it, before the request is processed. So fifty attempts
//! at the same time count as fifty. Refused attempts are not counted, so retrying during a wait does not extend it.

pub(super) mod sign_in;

use tokio_postgres::types::Type;

pub use self::sign_in::{
    count_link, count_proof, count_sign_in, find_account, find_account_of_link, find_account_of_user,
};

use super::{
    AnyStatement, Database, DbError,
    rules::{count_within_window, seconds_until},
    seconds,
    statement::Statement,
    users::Account,
};
use crate::{
    domain::{CounterKey, SignInCounters, Source, TooMany},
    security::{Attempt, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 4] = [&COUNT, &RECORD_SUCCESS, &UNCOUNT, &CLEAR_FAILURES];

/// The account of an attempt to sign in, and the counters of the attempt. The function that returns it says whether the attempt is counted already.
pub struct SignInAccount {
    /// The account of the address, if there is one.
    pub account: Option<Account>,
    /// The counters of the attempt.
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
        ",
        count_within_window!("$1", for "(SELECT) AS attempt", up to "$2" within "$3"),
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

/// The parts of a `WITH` that clear the counters of a successful attempt, if the relation `$once` has a row. They lock the rows in the same order
/// as `count_sign_in!`: the conditions `>= 0` are always true, but they make PostgreSQL run the previous part first.
macro_rules! clear_counters {
    ($once:literal, $both:literal, $source:literal, $account:literal, $session:literal) => {
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
    ), session_cleared AS (
        DELETE FROM throttle t USING ",
            $once,
            " WHERE t.key = ",
            $session,
            " AND (SELECT count(*) FROM account_cleared) >= 0
        RETURNING t.key
    )"
        )
    };
}
pub(super) use clear_counters;

static RECORD_SUCCESS: Statement<4> = Statement {
    sql: concat!(
        "WITH once AS (SELECT), ",
        clear_counters!("once", "$1", "$2", "$3", "$4"),
        " SELECT count(*) AS cleared FROM session_cleared"
    ),
    types: [Type::BYTEA, Type::BYTEA, Type::BYTEA, Type::BYTEA],
};

/// Undoes the counting of an attempt to sign in that succeeded: clears the counters of the account, and decreases the counter of the source by
/// one.
pub async fn record_success(db: &Database, counters: &SignInCounters) -> Result<(), DbError> {
    let SignInCounters { both, source, account, session } = counters;
    let session = session.as_ref().map(CounterKey::as_bytes);
    db.query_one(&RECORD_SUCCESS, [&both.as_bytes(), &source.as_bytes(), &account.as_bytes(), &session]).await.map(drop)
}

/// Each row is locked after the previous one, in the order of `count_sign_in!`. A full counter of the account stays as it is, because it does not count
/// the attempts of the owner, so nothing must be undone.
static UNCOUNT: Statement<6> = Statement {
    sql: "
    WITH both_uncounted AS (
        UPDATE throttle t SET attempts = t.attempts - 1, blocked_until = NULL WHERE t.key = $1 AND t.attempts > 0 RETURNING t.key
    ), source_uncounted AS (
        UPDATE throttle t SET attempts = t.attempts - 1
        WHERE t.key = $2 AND t.attempts > 0 AND (SELECT count(*) FROM both_uncounted) >= 0 RETURNING t.key
    ), account_uncounted AS (
        UPDATE throttle t SET attempts = t.attempts - 1, expires_at = t.expires_at - $6 * interval '1 second'
        WHERE t.key = $3 AND t.attempts > 0 AND t.attempts < $5 AND (SELECT count(*) FROM source_uncounted) >= 0 RETURNING t.key
    ), session_uncounted AS (
        UPDATE throttle t SET attempts = t.attempts - 1
        WHERE t.key = $4 AND t.attempts > 0 AND (SELECT count(*) FROM account_uncounted) >= 0 RETURNING t.key
    )
    SELECT count(*) AS uncounted FROM session_uncounted",
    types: [Type::BYTEA, Type::BYTEA, Type::BYTEA, Type::BYTEA, Type::INT4, Type::FLOAT8],
};

/// Undoes the counting of an attempt to sign in with the right password that needs a second factor. Earlier failures stay counted.
pub async fn uncount(db: &Database, counters: &SignInCounters) -> Result<(), DbError> {
    let SignInCounters { both, source, account, session } = counters;
    let session = session.as_ref().map(CounterKey::as_bytes);
    let values = [
        &both.as_bytes() as _,
        &source.as_bytes() as _,
        &account.as_bytes() as _,
        &session as _,
        &policy::SIGNIN_FAILURES_OF_ACCOUNT as _,
        &seconds(policy::SIGNIN_MEMORY_OF_ACCOUNT) as _,
    ];
    db.query_one(&UNCOUNT, values).await.map(drop)
}

static CLEAR_FAILURES: Statement<2> = Statement {
    sql: concat!(
        "WITH once AS (SELECT), ",
        clear_counters!("once", "$1", "NULL::bytea", "$2", "NULL::bytea"),
        " SELECT count(*) AS cleared FROM session_cleared"
    ),
    types: [Type::BYTEA, Type::BYTEA],
};

/// Clears the counters of failed sign-ins of an account, from this source and from all sources together.
pub async fn clear_failures(db: &Database, counters: &SignInCounters) -> Result<(), DbError> {
    db.query_one(&CLEAR_FAILURES, [&counters.both.as_bytes(), &counters.account.as_bytes()]).await.map(drop)
}
