//! Counting attempts to sign in, and attempts of signed-in users to prove the password.

use tokio_postgres::{Row, types::Type};

use super::{NotCounted, SignInAccount};
use crate::{
    db::{
        AnyStatement, Database, DbError, Value,
        email_verifications::belongs_to,
        rules::{
            count_within_window, counter_key, factor_columns, has_address, is_deleted, one_more, seconds_until,
            session_is_live, user_columns,
        },
        seconds,
        statement::Statement,
        users::account,
    },
    domain::{CounterKey, SignInCounters, Source, TooMany},
    security::{PasswordLink, ProofAttempt, SignInAttempt, policy},
};

/// All statements of this module.
pub(in crate::db) static STATEMENTS: [&dyn AnyStatement; 10] = [
    &FIND_ACCOUNT,
    &FIND_VERIFIED_ACCOUNT,
    &FIND_ACCOUNT_OF_USER,
    &FIND_ACCOUNT_OF_VERIFICATION,
    &FIND_ACCOUNT_OF_EMAIL_CHANGE,
    &COUNT_SIGN_IN,
    &COUNT_VERIFIED_SIGN_IN,
    &COUNT_PROOF,
    &COUNT_OF_VERIFICATION,
    &COUNT_OF_EMAIL_CHANGE,
];

/// The parts of a `WITH` that find the account that fulfils the condition `$account`, and the three counters of `$subject` for the source `$2`. A
/// deleted account is not found.
macro_rules! sign_in {
    (account: $account:expr, subject: $subject:expr) => {
        concat!(
            "account AS (
        SELECT ",
            user_columns!(),
            ", ",
            factor_columns!(),
            ", password FROM users u WHERE ",
            $account,
            " AND NOT ",
            is_deleted!("u.id"),
            "
    ), subject AS (
        SELECT ",
            $subject,
            " AS name
    ), named AS (
        SELECT ",
            counter_key!("'signin both ' || $2 || ' ' || name"),
            " AS both_key, ",
            counter_key!("'signin source ' || $2"),
            " AS source_key, ",
            counter_key!("'signin account ' || name"),
            " AS account_key
        FROM subject WHERE name IS NOT NULL
    )"
        )
    };
}

/// The name of an account in the names of its counters: its id and its credential version. So failures that were counted for an address do not affect
/// an account that is created later with this address, and a reset or a change of the password starts new counters.
macro_rules! account_name {
    () => {
        "(SELECT 'user ' || id || ' ' || credential_version FROM account)"
    };
}

/// The account with the address `$1` that fulfils the condition `$may_sign_in`. If none is found, the names of the counters contain the address. So
/// clients cannot see whether an account exists.
macro_rules! sign_in_by_address {
    (if $may_sign_in:literal) => {
        sign_in!(
            account: concat!(has_address!("$1"), " AND ", $may_sign_in),
            subject: concat!("coalesce(", account_name!(), ", 'address ' || coalesce(lower($1 COLLATE \"C\"), ''))")
        )
    };
}

/// The account of the link with the hash `$1` that verifies an address, if the link still belongs to the account.
macro_rules! sign_in_by_verification {
    () => {
        sign_in!(
            account: concat!(
                "id = (SELECT v.user_id FROM email_verifications v WHERE v.token_hash = $1 AND v.expires_at > now())
            AND EXISTS (SELECT FROM email_verifications v WHERE v.token_hash = $1 AND ",
                belongs_to!("u"),
                ")"
            ),
            subject: account_name!()
        )
    };
}

/// The account of the link with the hash `$1` that proves a new address, if the credentials have not changed since the request.
macro_rules! sign_in_by_email_change {
    () => {
        sign_in!(
            account: "id = (SELECT c.user_id FROM email_changes c WHERE c.token_hash = $1 AND c.expires_at > now())
            AND EXISTS (SELECT FROM email_changes c WHERE c.token_hash = $1 AND c.credential_version = u.credential_version)",
            subject: account_name!()
        )
    };
}

/// A statement that finds the account of an address and the counters of an attempt to sign in to it.
macro_rules! find_account_of_address {
    (if $may_sign_in:literal) => {
        Statement {
            sql: concat!(
                "
    WITH ",
                sign_in_by_address!(if $may_sign_in),
                "
    SELECT account.*, named.* FROM named LEFT JOIN account ON true"
            ),
            types: [Type::TEXT, Type::TEXT],
        }
    };
}

static FIND_ACCOUNT: Statement<2> = find_account_of_address!(if "true");
static FIND_VERIFIED_ACCOUNT: Statement<2> = find_account_of_address!(if "email_verified_at IS NOT NULL");

/// Finds the account of an attempt to sign in, and the counters of the attempt, for counters outside PostgreSQL. Counts nothing.
pub async fn find_account(db: &Database, attempt: SignInAttempt<'_>) -> Result<SignInAccount, DbError> {
    let statement = if attempt.only_verified { &FIND_VERIFIED_ACCOUNT } else { &FIND_ACCOUNT };
    let row = db.query_one(statement, [&attempt.email.as_sql(), &attempt.source.as_str()]).await?;
    Ok(sign_in_account(&row, None))
}

/// A statement that finds an account and the counters of an attempt. `$first` is the type of the first parameter, by which it finds the account.
macro_rules! find_account {
    ($sign_in:expr, $first:expr) => {
        Statement {
            sql: concat!("\n    WITH ", $sign_in, "\n    SELECT account.*, named.* FROM named CROSS JOIN account"),
            types: [$first, Type::TEXT],
        }
    };
}

static FIND_ACCOUNT_OF_USER: Statement<2> =
    find_account!(sign_in!(account: "id = $1", subject: account_name!()), Type::INT8);

/// Finds the account of a user, and the counters for an attempt to prove its password, for counters outside PostgreSQL. Counts nothing. `None` if the
/// user does not exist any more or has deleted the account.
pub async fn find_account_of_user(
    db: &Database,
    attempt: ProofAttempt,
    source: &Source,
) -> Result<Option<SignInAccount>, DbError> {
    let row = db.query_opt(&FIND_ACCOUNT_OF_USER, [&attempt.user.0, &source.as_str()]).await?;
    Ok(row.map(|row| sign_in_account(&row, Some(attempt.session_counter()))))
}

static FIND_ACCOUNT_OF_VERIFICATION: Statement<2> = find_account!(sign_in_by_verification!(), Type::BYTEA);

static FIND_ACCOUNT_OF_EMAIL_CHANGE: Statement<2> = find_account!(sign_in_by_email_change!(), Type::BYTEA);

/// Finds the account of a link, and the counters for an attempt to prove its password, for counters outside PostgreSQL. Counts nothing. `None` if the
/// link is not valid.
pub async fn find_account_of_link(
    db: &Database,
    link: PasswordLink<'_>,
    source: &Source,
) -> Result<Option<SignInAccount>, DbError> {
    let (statement, token) = match link {
        PasswordLink::Verification(token) => (&FIND_ACCOUNT_OF_VERIFICATION, token),
        PasswordLink::EmailChange(token) => (&FIND_ACCOUNT_OF_EMAIL_CHANGE, token),
    };
    let row = db.query_opt(statement, [&token.as_bytes(), &source.as_str()]).await?;
    Ok(row.map(|row| sign_in_account(&row, None)))
}

/// Counts an attempt to sign in three times: for the account and the source together, for the source, and for the account. An attempt of a signed-in
/// user to prove the password counts in the same way.
///
/// `refusal` checks the counters as they were when the statement began. An attempt that it refuses is not counted. Then the row of each counter is
/// locked, and increased if its limit is not reached. The rows are always locked in the same order, so two attempts cannot deadlock. If a concurrent
/// attempt started a wait after the statement began, the statement does not know the length of the wait, and `Retry-After` is the first wait.
///
/// The account's own limit does not apply if `$is_owner` is true. `$more` has the parts for further counters: their keys, when they
/// refuse, the counting in one of them, and the condition that this one has counted the attempt.
///
/// The parameters are: `$1` and `$2` of [`sign_in!`], the failures before the first wait, the first and the longest wait, the time that failures are
/// kept, the limit and the period of a source, the limit of an account, and the time by which each failure extends the account's counter.
macro_rules! count_sign_in {
    (
        $sign_in:expr, is_owner: $is_owner:expr, more: { key: $key:expr, refusal: $refusal:expr, counting: $counting:expr, is_counted: $is_counted:expr }
    ) => {
        concat!(
            "
    WITH ",
            $sign_in,
            ", owner AS (
        SELECT ",
            $is_owner,
            " AS is_signed_in_here
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
            $refusal,
            "
            END), 0) AS wait,
            coalesce(
                bool_or(t.key = named.account_key AND t.attempts >= $9 AND NOT is_signed_in_here)
                    AND NOT bool_or(t.key = named.source_key AND t.attempts >= $7),
                false
            ) AS reset_helps
        FROM named CROSS JOIN owner
            CROSS JOIN LATERAL (VALUES (both_key), (source_key), (account_key)",
            $key,
            ") AS counter (key)
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
        ",
            count_within_window!("source_key", for "named, both_counted", up to "$7" within "$8"),
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
    )",
            $counting,
            "
    SELECT account.*, named.*, refusal.reset_helps,
        (EXISTS (SELECT FROM account_counted) OR (is_signed_in_here AND EXISTS (SELECT FROM source_counted)))",
            $is_counted,
            " AS is_counted,
        CASE WHEN refusal.wait > 0 THEN refusal.wait ELSE $4 END AS wait
    FROM named CROSS JOIN owner CROSS JOIN refusal LEFT JOIN account ON true"
        )
    };
}

/// Whether the account has a live session that was opened from the source `$2`.
macro_rules! is_signed_in_from_source {
    () => {
        concat!("EXISTS (SELECT FROM sessions s JOIN account u ON ", session_is_live!(), " WHERE s.source = $2)")
    };
}

/// A statement that counts an attempt to sign in. `$first` is the type of the first parameter, by which it finds the account.
macro_rules! count_attempt {
    ($sign_in:expr, $first:expr) => {
        Statement {
            sql: count_sign_in!(
                $sign_in,
                is_owner: is_signed_in_from_source!(),
                more: { key: "", refusal: "", counting: "", is_counted: "" }
            ),
            types: [
                $first,
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
        }
    };
}

static COUNT_SIGN_IN: Statement<10> = count_attempt!(sign_in_by_address!(if "true"), Type::TEXT);
static COUNT_VERIFIED_SIGN_IN: Statement<10> =
    count_attempt!(sign_in_by_address!(if "email_verified_at IS NOT NULL"), Type::TEXT);
static COUNT_OF_VERIFICATION: Statement<10> = count_attempt!(sign_in_by_verification!(), Type::BYTEA);
static COUNT_OF_EMAIL_CHANGE: Statement<10> = count_attempt!(sign_in_by_email_change!(), Type::BYTEA);

/// `$1` is the user, and `$11` is the session, which must be live. `$12` is the counter of the session, `$13` its limit, and `$14` its period. `$15`
/// is the counter of new passwords, or NULL, and `$16` its limit. It is only read here. The statement that sets a password increases it.
static COUNT_PROOF: Statement<16> = Statement {
    sql: count_sign_in!(
        sign_in!(
            account: concat!("id = $1 AND EXISTS (SELECT FROM sessions s WHERE s.id = $11 AND ", session_is_live!(), ")"),
            subject: account_name!()
        ),
        is_owner: "true",
        more: {
            key: ", ($12), ($15)",
            refusal: concat!(
                "
                WHEN (t.key = $12 AND t.attempts >= $13) OR (t.key = $15 AND t.attempts >= $16) THEN ",
                seconds_until!("t.expires_at")
            ),
            counting: concat!(
                ", session_counted AS (
        ",
                count_within_window!("$12", for "source_counted", up to "$13" within "$14"),
                "
    )"
            ),
            is_counted: " AND EXISTS (SELECT FROM session_counted)"
        }
    ),
    types: [
        Type::INT8,
        Type::TEXT,
        Type::INT4,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
        Type::UUID,
        Type::BYTEA,
        Type::INT4,
        Type::FLOAT8,
        Type::BYTEA,
        Type::INT4,
    ],
};

/// Finds the account of a live session. Counts an attempt to prove its password, or refuses the attempt. `None` if the session is not live.
pub async fn count_proof(
    db: &Database,
    attempt: ProofAttempt,
    source: &Source,
) -> Result<Option<SignInAccount>, NotCounted> {
    let (of_source, of_session) = (policy::SIGNIN_FAILURES_OF_SOURCE, policy::PROOF_FAILURES_OF_SESSION);
    let (session, new_password) = (attempt.session_counter(), attempt.new_password_counter());
    let values = [
        &attempt.user.0 as _,
        &source.as_str() as _,
        &policy::SIGNIN_FAILURES as _,
        &seconds(policy::SIGNIN_FIRST_WAIT) as _,
        &seconds(policy::SIGNIN_LONGEST_WAIT) as _,
        &seconds(policy::SIGNIN_MEMORY) as _,
        &of_source.attempts as _,
        &seconds(of_source.window) as _,
        &policy::SIGNIN_FAILURES_OF_ACCOUNT as _,
        &seconds(policy::SIGNIN_MEMORY_OF_ACCOUNT) as _,
        &attempt.session.0 as _,
        &session.as_bytes() as _,
        &of_session.attempts as _,
        &seconds(of_session.window) as _,
        &new_password.as_ref().map(CounterKey::as_bytes) as _,
        &policy::NEW_PASSWORDS_OF_ACCOUNT.attempts as _,
    ];
    db.query_opt(&COUNT_PROOF, values).await?.map(|row| counted(&row, Some(session))).transpose()
}

/// Finds the account of an address, whatever the case of its letters. Counts an attempt to sign in to it, or refuses the attempt.
pub async fn count_sign_in(db: &Database, attempt: SignInAttempt<'_>) -> Result<SignInAccount, NotCounted> {
    let statement = if attempt.only_verified { &COUNT_VERIFIED_SIGN_IN } else { &COUNT_SIGN_IN };
    let counted = count_attempt(db, statement, &attempt.email.as_sql(), attempt.source).await?;
    counted.ok_or_else(|| DbError::Failed("an attempt to sign in has no counters".into()).into())
}

/// Finds the account of a link. Counts an attempt to prove its password as an attempt to sign in, or refuses the attempt. `None` if the link is not
/// valid. Then nothing is counted.
pub async fn count_link(
    db: &Database,
    link: PasswordLink<'_>,
    source: &Source,
) -> Result<Option<SignInAccount>, NotCounted> {
    let (statement, token) = match link {
        PasswordLink::Verification(token) => (&COUNT_OF_VERIFICATION, token),
        PasswordLink::EmailChange(token) => (&COUNT_OF_EMAIL_CHANGE, token),
    };
    count_attempt(db, statement, &token.as_bytes(), source).await
}

/// Runs a statement of [`count_attempt!`].
async fn count_attempt(
    db: &Database,
    statement: &'static Statement<10>,
    first: Value<'_>,
    source: &Source,
) -> Result<Option<SignInAccount>, NotCounted> {
    let of_source = policy::SIGNIN_FAILURES_OF_SOURCE;
    let values = [
        first,
        &source.as_str() as _,
        &policy::SIGNIN_FAILURES as _,
        &seconds(policy::SIGNIN_FIRST_WAIT) as _,
        &seconds(policy::SIGNIN_LONGEST_WAIT) as _,
        &seconds(policy::SIGNIN_MEMORY) as _,
        &of_source.attempts as _,
        &seconds(of_source.window) as _,
        &policy::SIGNIN_FAILURES_OF_ACCOUNT as _,
        &seconds(policy::SIGNIN_MEMORY_OF_ACCOUNT) as _,
    ];
    db.query_opt(statement, values).await?.map(|row| counted(&row, None)).transpose()
}

/// The attempt of a row of [`count_sign_in!`], or its refusal.
fn counted(row: &Row, session: Option<CounterKey>) -> Result<SignInAccount, NotCounted> {
    if row.get("is_counted") {
        Ok(sign_in_account(row, session))
    } else {
        Err(TooMany { reset_helps: row.get("reset_helps"), ..TooMany::wait(row.get("wait")) }.into())
    }
}

/// The account and the counters of a row. `session` is the counter of the session in which a signed-in user makes the attempt.
fn sign_in_account(row: &Row, session: Option<CounterKey>) -> SignInAccount {
    let account = row.get::<_, Option<String>>("password").map(|_| account(row));
    let key = |name| CounterKey::from_stored(row.get(name));
    let counters =
        SignInCounters { both: key("both_key"), source: key("source_key"), account: key("account_key"), session };
    SignInAccount { account, counters }
}
