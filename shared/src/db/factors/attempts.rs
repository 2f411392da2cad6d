//! The table `mfa_tokens`: sign-ins that wait for a second factor. And the attempts to show one, in a sign-in or in a session.
//!
//! One statement allows an attempt and counts it, before the factor is compared. So fifty attempts at the same time count as fifty. Another statement uses
//! the factor up.

use tokio_postgres::{Row, types::Type};

use super::{
    factor_counter_keys, factor_counters, has_factor, is_confirmed, is_remembered,
    passkeys::{known, known_passkeys},
    recovery_codes_of, remember_change,
};
use crate::{
    db::{
        AnyStatement, Database, DbError, Value,
        outbox::owe_factor_notice,
        rules::{
            count_within_window, is_deleted, one_more, seconds_until, session_is_live, session_is_presented,
            user_columns,
        },
        seconds,
        statement::Statement,
        throttle::clear_counters,
        users::user,
    },
    domain::{
        CounterKey, FactorChangeId, FactorCounters, FactorId, MailId, PresentedSession, Source, TooMany, UnixTime, User,
    },
    security::{
        Encrypted, LinkTokenHash, RecoveryCodeHash,
        policy::{self, Limit},
        webauthn::{Asserted, Challenge, KnownPasskey},
    },
};

/// All statements of this module.
pub(in crate::db) static STATEMENTS: [&dyn AnyStatement; 5] = [&ISSUE, &TRY_AT_SIGN_IN, &TRY_IN_SESSION, &USE, &WARN];

/// If the answer of an earlier run was lost, the second run finds the token.
static ISSUE: Statement<5> = Statement {
    sql: concat!(
        "
    WITH issued AS (
        INSERT INTO mfa_tokens AS m (token_hash, user_id, credential_version, expires_at)
        SELECT $1, id, credential_version, now() + $4 * interval '1 second' FROM users WHERE id = $2 AND credential_version = $3
        ON CONFLICT (token_hash) DO UPDATE SET expires_at = m.expires_at
        RETURNING m.user_id
    )
    SELECT ",
        recovery_codes_of!("issued.user_id"),
        " AS recovery_codes, ",
        known_passkeys!("issued.user_id", of: "$5"),
        " FROM issued"
    ),
    types: [Type::BYTEA, Type::INT8, Type::INT4, Type::FLOAT8, Type::TEXT],
};

/// The factors with which a sign-in can be completed, besides the authenticator.
pub struct OtherFactors {
    /// The number of recovery codes of the account.
    pub recovery_codes: i64,
    /// Its passkeys at this relying party.
    pub passkeys: Vec<KnownPasskey>,
}

/// Stores the token of a sign-in with the right password. Returns the other factors of the account. `rp_id` is the relying party. Without it,
/// no passkeys are returned.
/// `None` if the credentials have changed since the password was verified.
pub async fn issue(
    db: &Database,
    token: &LinkTokenHash,
    user: &User,
    rp_id: Option<&str>,
) -> Result<Option<OtherFactors>, DbError> {
    let values = [
        &token.as_bytes() as _,
        &user.id.0 as _,
        &user.credential_version as _,
        &seconds(policy::MFA_TOKEN_LIFETIME) as _,
        &rp_id as _,
    ];
    match db.query_opt(&ISSUE, values).await {
        Err(error) if error.is_foreign_key_violation() => Ok(None),
        row => Ok(row?.map(|row| OtherFactors { recovery_codes: row.get("recovery_codes"), passkeys: known(&row) })),
    }
}

/// A statement that counts an attempt to show a second factor. `$account` is the condition that finds the account. `$tried` counts the attempt for the token,
/// and returns its tries, or no row if the attempt is refused. If the factor is a code of an authenticator (`$5`), two more counters count the attempt: that of
/// the account and the source `$4` together, then that of the account. Nobody can guess recovery codes and passkeys, so these two counters do not count them, and a
/// user whose authenticator is closed can still use one. `$is_signed_in_here` says whether the account has a live session that
/// was opened from this source. If it is NULL, the statement asks PostgreSQL.
///
/// The other parameters are: `$6` and `$7`, the limit and the period of an account and a source; `$8`, the limit of an account; and `$9`, the time by which
/// each attempt extends the account's counter.
macro_rules! try_factor {
    (account: $account:expr, tried: $tried:expr, is_signed_in_here: $is_signed_in_here:literal) => {
        concat!(
            "
    WITH account AS (
        SELECT ",
            user_columns!(),
            " FROM users u WHERE ",
            $account,
            " AND NOT ",
            is_deleted!("u.id"),
            "
    ), named AS (
        SELECT ",
            factor_counter_keys!(source: "$4"),
            " FROM account
    ), owner AS (
        SELECT coalesce(",
            $is_signed_in_here,
            ", EXISTS (SELECT FROM sessions s JOIN account u ON ",
            session_is_live!(),
            " WHERE s.source = $4)) AS is_signed_in_here
    ), refusal AS (
        SELECT coalesce(max(CASE
                WHEN t.key = named.both_key AND t.attempts >= $6 THEN ",
            seconds_until!("t.expires_at"),
            "
                WHEN t.key = named.account_key AND t.attempts >= $8 AND NOT is_signed_in_here THEN ",
            seconds_until!("t.expires_at"),
            "
            END), 0) AS wait,
            coalesce(bool_or(t.key = named.account_key AND t.attempts >= $8), false) AS is_closed
        FROM named CROSS JOIN owner CROSS JOIN LATERAL (VALUES (both_key), (account_key)) AS counter (key)
            JOIN throttle t ON t.key = counter.key AND t.expires_at > now()
        WHERE $5
    ), tried AS (
        ",
            $tried,
            "
    ), both_counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT both_key, 1, now() + $7 * interval '1 second' FROM named, tried WHERE $5
        ON CONFLICT (key) DO UPDATE SET
            attempts = ",
            one_more!("t.attempts" while "t.expires_at > now()"),
            ", expires_at = excluded.expires_at
        WHERE t.expires_at <= now() OR t.attempts < $6
        RETURNING key
    ), account_counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT account_key, 1, now() + $9 * interval '1 second' FROM named, both_counted
        ON CONFLICT (key) DO UPDATE SET
            attempts = ",
            one_more!("t.attempts" while "t.expires_at > now()"),
            ", expires_at = greatest(t.expires_at, now()) + $9 * interval '1 second'
        WHERE t.expires_at <= now() OR t.attempts < $8
        RETURNING attempts
    )
    SELECT account.*, both_key, account_key, refusal.is_closed, refusal.wait > 0 AS is_refused, EXISTS (SELECT FROM tried) AS is_tried,
        (NOT $5 OR EXISTS (SELECT FROM both_counted)) AND (NOT $5 OR is_signed_in_here OR EXISTS (SELECT FROM account_counted)) AS is_counted,
        CASE WHEN refusal.wait > 0 THEN refusal.wait ELSE 1 END AS wait,
        greatest(CASE WHEN $5 THEN coalesce((SELECT attempts FROM account_counted), $8) ELSE 0 END, (SELECT tries FROM tried)) AS attempts,
        t.secret, t.key_id, t.last_step, now() AS now
    FROM account CROSS JOIN named CROSS JOIN owner CROSS JOIN refusal
        LEFT JOIN totp t ON t.user_id = account.id AND ",
            is_confirmed!()
        )
    };
}

/// `$1` is the token, and `$2` the number of factors that may be tried with it.
static TRY_AT_SIGN_IN: Statement<9> = Statement {
    sql: try_factor!(
        account: "u.id = (SELECT m.user_id FROM mfa_tokens m WHERE m.token_hash = $1)
            AND EXISTS (
                SELECT FROM mfa_tokens m WHERE m.token_hash = $1 AND m.expires_at > now() AND m.tries < $2 AND m.credential_version = u.credential_version
            )",
        tried: "UPDATE mfa_tokens m SET tries = m.tries + 1 FROM account, refusal
        WHERE m.token_hash = $1 AND m.tries < $2 AND refusal.wait <= 0
        RETURNING m.tries",
        is_signed_in_here: "$3"
    ),
    types: [
        Type::BYTEA,
        Type::INT4,
        Type::BOOL,
        Type::TEXT,
        Type::BOOL,
        Type::INT4,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
    ],
};

static TRY_IN_SESSION: Statement<10> = Statement {
    sql: try_factor!(
        account: session_is_presented!(),
        tried: "SELECT 0 AS tries FROM account, refusal WHERE refusal.wait <= 0",
        is_signed_in_here: "$10"
    ),
    types: [
        Type::INT8,
        Type::UUID,
        Type::INT4,
        Type::TEXT,
        Type::BOOL,
        Type::INT4,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
        Type::BOOL,
    ],
};

/// An attempt to show a second factor.
#[derive(Clone, Copy)]
pub struct FactorAttempt<'a> {
    /// Where the request came from.
    pub source: &'a Source,
    /// Whether it is a code of an authenticator.
    pub is_totp: bool,
    /// Whether the account has a live session that was opened from this source. `None` if the sessions are in PostgreSQL.
    pub is_signed_in_here: Option<bool>,
}

/// The result of an attempt to show a second factor.
pub enum Tried {
    /// It was counted.
    Counted(CountedFactor),
    /// There were too many.
    Refused {
        /// The account.
        user: User,
        /// How long it has to wait.
        too_many: TooMany,
        /// Whether codes are accepted only from sources where the account has a live session.
        is_closed: bool,
    },
}

/// An attempt that was counted. The factor must still be compared.
pub struct CountedFactor {
    /// The account.
    pub user: User,
    /// Its authenticator.
    pub totp: Option<StoredTotp>,
    /// The number of attempts in a row, including this one: with codes of the authenticator, or with the token of this sign-in.
    pub attempts: i32,
    /// The time, by PostgreSQL's clock.
    pub now: UnixTime,
    /// The counters of the attempt.
    pub counters: FactorCounters,
}

/// An authenticator.
pub struct StoredTotp {
    /// Its secret.
    pub secret: Encrypted,
    /// The step of the last code that was used.
    pub last_step: i64,
}

/// Finds the account of a sign-in that waits for a second factor. Counts an attempt, or refuses it. `None` if the token is unknown or expired, if too many
/// factors were tried with it, or if the credentials have changed.
pub async fn try_at_sign_in(
    db: &Database,
    token: &LinkTokenHash,
    attempt: FactorAttempt<'_>,
) -> Result<Option<Tried>, DbError> {
    let of_source = policy::WRONG_CODES_OF_SOURCE;
    let values = [
        &token.as_bytes() as _,
        &policy::MFA_TOKEN_TRIES as _,
        &attempt.is_signed_in_here as _,
        &attempt.source.as_str() as _,
        &attempt.is_totp as _,
        &of_source.attempts as _,
        &seconds(of_source.window) as _,
        &policy::WRONG_CODES_OF_ACCOUNT as _,
        &seconds(policy::WRONG_CODES_MEMORY_OF_ACCOUNT) as _,
    ];
    Ok(db.query_opt(&TRY_AT_SIGN_IN, values).await?.as_ref().and_then(tried))
}

/// Finds the account of a live session. Counts an attempt, or refuses it. `None` if the session is not live.
pub async fn try_in_session(
    db: &Database,
    session: PresentedSession,
    attempt: FactorAttempt<'_>,
) -> Result<Option<Tried>, DbError> {
    let of_source = policy::WRONG_CODES_OF_SOURCE;
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &attempt.source.as_str() as _,
        &attempt.is_totp as _,
        &of_source.attempts as _,
        &seconds(of_source.window) as _,
        &policy::WRONG_CODES_OF_ACCOUNT as _,
        &seconds(policy::WRONG_CODES_MEMORY_OF_ACCOUNT) as _,
        &attempt.is_signed_in_here as _,
    ];
    Ok(db.query_opt(&TRY_IN_SESSION, values).await?.as_ref().and_then(tried))
}

/// The attempt of a row of [`try_factor!`]. `None` if other attempts have used up the token since the statement began.
fn tried(row: &Row) -> Option<Tried> {
    let user = user(row);
    let is_tried: bool = row.get("is_tried");
    if !is_tried && !row.get::<_, bool>("is_refused") {
        return None;
    }
    Some(if is_tried && row.get("is_counted") {
        let totp = row.get::<_, Option<Vec<u8>>>("secret").map(|bytes| StoredTotp {
            secret: Encrypted { key_id: row.get("key_id"), bytes },
            last_step: row.get("last_step"),
        });
        Tried::Counted(CountedFactor {
            user,
            totp,
            attempts: row.get("attempts"),
            now: row.get("now"),
            counters: factor_counters(row),
        })
    } else {
        let too_many = TooMany::wait(row.get("wait"));
        Tried::Refused { user, too_many, is_closed: row.get("is_closed") }
    })
}

/// The statement first locks the token of the sign-in. A request that waits for it finds it deleted, and uses nothing up. Then a code of an authenticator is
/// used up by its step, a recovery code by its deletion, and an assertion of a passkey by the row of its challenge. Only then is the token deleted, and the
/// attempt is no longer counted. Of many requests with one code, one challenge or one token, only one succeeds.
///
/// It always returns a row. `recovery_codes_left` is NULL if neither this run nor an earlier one has used the factor up. Then `is_current` says whether the
/// sign-in still waited, and the credentials were those of the attempt.
static USE: Statement<20> = Statement {
    sql: concat!(
        "
    WITH waiting AS (
        SELECT m.user_id FROM mfa_tokens m WHERE m.token_hash = $3 AND m.expires_at > now() FOR UPDATE
    ), account AS (
        SELECT u.id, u.email FROM users u
        WHERE u.id = $1 AND u.credential_version = $2 AND NOT ",
        is_remembered!("$4"),
        " AND ($3 IS NULL OR u.id = (SELECT user_id FROM waiting))
    ), shown AS (
        UPDATE totp t SET last_step = $6, secret = coalesce($7, t.secret), key_id = coalesce($8, t.key_id) FROM account
        WHERE t.user_id = account.id AND ",
        is_confirmed!(),
        " AND t.last_step < $6
        RETURNING account.id
    ), used AS (
        DELETE FROM recovery_codes r USING account WHERE r.user_id = account.id AND r.code_hash = $9 AND ",
        has_factor!("account.id"),
        "
        RETURNING account.id, account.email
    ), spent AS (
        INSERT INTO used_challenges (challenge, expires_at)
        SELECT $19, now() + $20 * interval '1 second' FROM account WHERE $19 IS NOT NULL
        ON CONFLICT (challenge) DO NOTHING
        RETURNING challenge
    ), asserted AS (
        UPDATE passkeys p SET sign_count = $17, backed_up = $18, last_used_at = now() FROM account, spent
        WHERE p.factor_id = $16 AND p.user_id = account.id AND (p.sign_count = 0 OR p.sign_count < $17)
        RETURNING account.id
    ), factor AS (
        SELECT id FROM shown UNION ALL SELECT id FROM used UNION ALL SELECT id FROM asserted
    ), token_used AS (
        DELETE FROM mfa_tokens m USING factor WHERE m.token_hash = $3 AND m.user_id = factor.id RETURNING factor.id
    ), done AS (
        SELECT id FROM token_used UNION ALL SELECT id FROM factor WHERE $3 IS NULL
    ), ",
        remember_change!("done", id: "$4", lifetime: "$5"),
        ", ",
        clear_counters!("done", "$10", "$11", "$12", "$13"),
        ", ",
        owe_factor_notice!("notice", "'recovery_code_used ' || $14", for "used", id: "$14", page: "NULL", lifetime: "$15"),
        "
    SELECT EXISTS (SELECT FROM account) AS is_current, CASE WHEN EXISTS (SELECT FROM done) OR ",
        is_remembered!("$4"),
        " THEN ",
        recovery_codes_of!("$1"),
        " - (SELECT count(*) FROM used) END AS recovery_codes_left"
    ),
    types: [
        Type::INT8,
        Type::INT4,
        Type::BYTEA,
        Type::UUID,
        Type::FLOAT8,
        Type::INT8,
        Type::BYTEA,
        Type::TEXT,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::UUID,
        Type::FLOAT8,
        Type::UUID,
        Type::INT8,
        Type::BOOL,
        Type::BYTEA,
        Type::FLOAT8,
    ],
};

/// A right factor that is about to be used up.
pub enum RightFactor {
    /// A code of the authenticator.
    Totp {
        /// Its step.
        step: i64,
        /// The secret of the authenticator, if the current key must encrypt it.
        renewed: Option<Encrypted>,
    },
    /// A recovery code, which may not be one of the account's.
    RecoveryCode(RecoveryCodeHash),
    /// An assertion of a passkey.
    Passkey {
        /// The id of the passkey.
        passkey: FactorId,
        /// What the authenticator said.
        asserted: Asserted,
        /// The challenge that it has answered.
        challenge: Challenge,
    },
}

/// What became of a factor.
pub enum FactorUse {
    /// It is used up.
    UsedUp {
        /// The number of recovery codes that the account still has.
        recovery_codes_left: i64,
    },
    /// It was used before, or is not one of the account's.
    Wrong,
    /// Another request has used the token of the sign-in, or the credentials have changed since the attempt was counted. The factor may be right.
    Outdated,
}

/// Uses a factor up, and the token of the sign-in that waited for it, if there is one. Undoes the counting of the attempt. For a recovery code, writes the
/// notice into the outbox.
pub async fn use_factor(
    db: &Database,
    user: &User,
    counters: &FactorCounters,
    token: Option<&LinkTokenHash>,
    factor: RightFactor,
    change: FactorChangeId,
    notice: MailId,
) -> Result<FactorUse, DbError> {
    let (mut step, mut renewed, mut code, mut passkey) = (None, None, None, None);
    match factor {
        RightFactor::Totp { step: new_step, renewed: new_secret } => (step, renewed) = (Some(new_step), new_secret),
        RightFactor::RecoveryCode(hash) => code = Some(hash),
        RightFactor::Passkey { passkey: id, asserted, challenge } => passkey = Some((id, asserted, challenge)),
    }
    let nothing: Option<&[u8]> = None;
    let values = [
        &user.id.0 as _,
        &user.credential_version as _,
        &token.map(LinkTokenHash::as_bytes) as _,
        &change.0 as _,
        &seconds(policy::USED_PROOF_KEPT) as _,
        &step as _,
        &renewed.as_ref().map(|secret| &*secret.bytes) as _,
        &renewed.as_ref().map(|secret| &*secret.key_id) as _,
        &code.as_ref().map(RecoveryCodeHash::as_bytes) as _,
        &counters.both.as_bytes() as _,
        &nothing as Value<'_>,
        &counters.account.as_bytes() as _,
        &nothing as _,
        &notice.0 as _,
        &seconds(policy::NOTICE_LIFETIME) as _,
        &passkey.map(|(id, ..)| id.0) as _,
        &passkey.map(|(_, asserted, _)| i64::from(asserted.sign_count)) as _,
        &passkey.map(|(_, asserted, _)| asserted.backed_up) as _,
        &passkey.as_ref().map(|(.., challenge)| challenge.as_bytes()) as _,
        &seconds(policy::USED_CHALLENGE_KEPT) as _,
    ];
    let row = db.query_one(&USE, values).await?;
    Ok(match row.get("recovery_codes_left") {
        Some(recovery_codes_left) => FactorUse::UsedUp { recovery_codes_left },
        None if row.get("is_current") => FactorUse::Wrong,
        None => FactorUse::Outdated,
    })
}

/// If the answer of an earlier run was lost, the limit of these mails refuses the second one.
static WARN: Statement<7> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT id, email FROM users WHERE id = $1
    ), warned AS (
        ",
        count_within_window!("$2", for "account", up to "$3" within "$4"),
        "
    ), due AS (
        SELECT account.* FROM account, warned
    ), ",
        owe_factor_notice!("notice", "$7 || ' ' || $5", for "due", id: "$5", page: "NULL", lifetime: "$6"),
        "
    SELECT id FROM due"
    ),
    types: [Type::INT8, Type::BYTEA, Type::INT4, Type::FLOAT8, Type::UUID, Type::FLOAT8, Type::TEXT],
};

/// A mail that warns a user.
#[derive(Debug, Clone, Copy)]
pub enum Warning {
    /// Somebody knows the password.
    PasswordKnown,
    /// There may be a copy of a passkey.
    PasskeyCopied,
}

impl Warning {
    /// The kind of mail, and how many of these mails an account gets.
    fn kind(self) -> (&'static str, Limit) {
        match self {
            Self::PasswordKnown => ("second_factor_failed", policy::WRONG_CODE_MAILS_OF_ACCOUNT),
            Self::PasskeyCopied => ("passkey_copied", policy::COPIED_PASSKEY_MAILS_OF_ACCOUNT),
        }
    }
}

/// Writes a warning into the outbox, unless the limit of these mails is reached.
pub async fn warn(db: &Database, user: &User, warning: Warning, notice: MailId) -> Result<(), DbError> {
    let (kind, limit) = warning.kind();
    let counter = CounterKey::of(&[kind, "warning", "user", &user.id.to_string()]);
    let values = [
        &user.id.0 as _,
        &counter.as_bytes() as _,
        &limit.attempts as _,
        &seconds(limit.window) as _,
        &notice.0 as _,
        &seconds(policy::NOTICE_LIFETIME) as _,
        &kind as _,
    ];
    db.query_opt(&WARN, values).await.map(drop)
}
