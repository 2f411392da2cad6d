//! The tables `passkeys`, `user_handles` and `used_challenges`.

use tokio_postgres::{Row, types::Type};

use super::{factor_counter_keys, factor_counters, has_factor, is_remembered, recovery_codes, remember_change};
use crate::{
    db::{
        AnyStatement, Database, DbError, Value,
        outbox::owe_factor_notice,
        rules::{is_deleted, session_is_presented, user_columns},
        seconds,
        session_endings::owe_session_ending,
        statement::Statement,
        users::user,
    },
    domain::{
        FactorChangeId, FactorCounters, FactorId, MailId, Methods, Name, Passkey, PresentedSession, Source, UnixTime,
        User,
    },
    security::{
        LinkTokenHash, RecoveryCode, policy,
        webauthn::{Challenge, KnownPasskey, NewCredential, StoredCredential, UserHandle},
    },
};

/// All statements of this module.
pub(in crate::db) static STATEMENTS: [&dyn AnyStatement; 7] = [&BEGIN, &ADD, &OBSTACLE, &KNOWN, &LIST, &RENAME, &FIND];

/// The passkeys of the user `$user` as two arrays: `credential_ids`, and `transports`, each a list separated by commas. With `$rp_id`, only those of
/// this relying party.
macro_rules! known_passkeys {
    ($user:literal) => {
        $crate::db::factors::passkeys::known_passkeys!($user, "")
    };
    ($user:literal, of: $rp_id:literal) => {
        $crate::db::factors::passkeys::known_passkeys!($user, concat!(" AND p.rp_id = ", $rp_id))
    };
    ($user:literal, $condition:expr) => {
        concat!(
            "ARRAY(SELECT p.credential_id FROM passkeys p WHERE p.user_id = ",
            $user,
            $condition,
            " ORDER BY p.created_at, p.factor_id) AS credential_ids,
        ARRAY(SELECT array_to_string(p.transports, ',') FROM passkeys p WHERE p.user_id = ",
            $user,
            $condition,
            " ORDER BY p.created_at, p.factor_id) AS transports"
        )
    };
}
pub(in crate::db) use known_passkeys;

/// The columns of a [`Passkey`], from a row `p` of `passkeys`.
macro_rules! passkey_columns {
    () => {
        "p.factor_id, p.name AS passkey_name, p.backed_up, p.created_at AS added_at, p.last_used_at"
    };
}

/// A user who begins gets a handle. A user who began before keeps the handle.
static BEGIN: Statement<4> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT ",
        user_columns!(),
        " FROM users u WHERE ",
        session_is_presented!(),
        "
    ), named AS (
        INSERT INTO user_handles AS h (user_id, handle) SELECT id, $4 FROM account
        ON CONFLICT (user_id) DO UPDATE SET handle = h.handle
        RETURNING h.handle
    )
    SELECT account.*, named.handle, ",
        known_passkeys!("account.id"),
        " FROM account CROSS JOIN named"
    ),
    types: [Type::INT8, Type::UUID, Type::INT4, Type::BYTEA],
};

/// The account to which a passkey is to be added.
pub struct Begun {
    /// The account.
    pub user: User,
    /// Its handle.
    pub handle: UserHandle,
    /// The passkeys that it has already.
    pub known: Vec<KnownPasskey>,
}

/// The account of a session, for options for a new passkey. `handle` becomes its handle if it has none. `None` if the session is not live.
pub async fn begin(db: &Database, session: PresentedSession, handle: &UserHandle) -> Result<Option<Begun>, DbError> {
    let values = [&session.user_id.0 as Value<'_>, &session.session_id.0 as _, &session.version() as _, &handle.0 as _];
    match db.query_opt(&BEGIN, values).await {
        Err(error) if error.is_foreign_key_violation() => Ok(None),
        row => {
            Ok(row?.map(|row| Begun { user: user(&row), handle: UserHandle(row.get("handle")), known: known(&row) }))
        }
    }
}

/// The higher credential version ends every session of the user. The session of the request gets this version, too, so it stays live. Concurrent
/// statements of the user wait for the row of `users`. Then they do not find the session live as they saw it, and run once more.
///
/// The first factor of the account brings recovery codes. If the answer of an earlier run was lost, the `SELECT` after `UNION ALL` finds what it did.
static ADD: Statement<23> = Statement {
    sql: concat!(
        "
    WITH changed AS (
        UPDATE users u SET credential_version = u.credential_version + 1
        WHERE u.email_verified_at IS NOT NULL AND NOT ",
        is_remembered!("$21"),
        " AND ",
        session_is_presented!(),
        " AND NOT EXISTS (SELECT FROM used_challenges c WHERE c.challenge = $14)
            AND NOT EXISTS (SELECT FROM passkeys p WHERE p.credential_id = $6)
            AND (SELECT count(*) FROM passkeys p WHERE p.user_id = u.id) < $23
        RETURNING u.id, u.email, u.credential_version
    ), ",
        owe_session_ending!("changed"),
        ", spent AS (
        INSERT INTO used_challenges (challenge, expires_at) SELECT $14, now() + $15 * interval '1 second' FROM changed
    ), added AS (
        INSERT INTO passkeys (factor_id, user_id, name, credential_id, public_key, rp_id, sign_count, backup_eligible, backed_up, transports)
        SELECT $4, id, $5, $6, $7, $8, $9, $10, $11, $12 FROM changed
    ), kept AS (
        UPDATE sessions s SET credential_version = changed.credential_version, amr = coalesce(s.amr, 1) | $13 FROM changed
        WHERE s.id = $2 AND $3 IS NULL
    ), first_factor AS (
        SELECT id FROM changed WHERE NOT ",
        has_factor!("changed.id"),
        "
    ), ",
        recovery_codes::set_recovery_codes!("$16" for "first_factor"),
        ", undo AS (
        INSERT INTO factor_undos (factor_id, user_id, kind, token_hash, expires_at)
        SELECT $4, id, 'passkey', $17, now() + $18 * interval '1 second' FROM changed
    ), ",
        remember_change!("changed", id: "$21", lifetime: "$22"),
        ", ",
        owe_factor_notice!("notice", "'passkey_added ' || $4", for "changed", id: "$19", page: "$20", lifetime: "$18"),
        "
    SELECT EXISTS (SELECT FROM first_factor) AS has_codes, now() AS added_at FROM changed
    UNION ALL
    SELECT EXISTS (SELECT FROM recovery_codes r WHERE r.user_id = f.user_id AND r.code_hash = ANY ($16)),
        p.created_at
    FROM factor_changes f JOIN passkeys p ON p.factor_id = $4 WHERE f.id = $21"
    ),
    types: [
        Type::INT8,
        Type::UUID,
        Type::INT4,
        Type::UUID,
        Type::TEXT,
        Type::BYTEA,
        Type::BYTEA,
        Type::TEXT,
        Type::INT8,
        Type::BOOL,
        Type::BOOL,
        Type::TEXT_ARRAY,
        Type::INT4,
        Type::BYTEA,
        Type::FLOAT8,
        Type::BYTEA_ARRAY,
        Type::BYTEA,
        Type::FLOAT8,
        Type::UUID,
        Type::TEXT,
        Type::UUID,
        Type::FLOAT8,
        Type::INT8,
    ],
};

/// A new passkey of an account.
pub struct NewPasskey<'a> {
    /// The session that the request presents.
    pub session: PresentedSession,
    /// Its id.
    pub factor: FactorId,
    /// Its name.
    pub name: &'a Name,
    /// What the authenticator said about it.
    pub credential: &'a NewCredential,
    /// The domain that it belongs to.
    pub rp_id: &'a str,
    /// The challenge that the authenticator has answered.
    pub challenge: &'a Challenge,
    /// The recovery codes that the account gets if this is its first factor.
    pub codes: &'a [RecoveryCode],
    /// The hash of the token that removes the passkey again.
    pub undo: &'a LinkTokenHash,
    /// The URL of the page of the link that removes the passkey, without the token.
    pub undo_page: &'a str,
    /// The id of the notice with this link.
    pub notice: MailId,
    /// The id of this request.
    pub change: FactorChangeId,
}

/// An added passkey.
pub struct Added {
    /// Whether the account has got the recovery codes.
    pub has_codes: bool,
    /// When it was added, by PostgreSQL's clock.
    pub at: UnixTime,
}

/// Adds a passkey, uses its challenge up, ends every other session of the user, and writes the notice into the outbox. Also writes that the sessions in
/// DynamoDB must end. `None` if something prevents it: [`obstacle`].
pub async fn add(db: &Database, new: &NewPasskey<'_>) -> Result<Option<Added>, DbError> {
    let NewPasskey { session, factor, name, credential, rp_id, challenge, codes, undo, undo_page, notice, change } =
        new;
    let hashes = recovery_codes::hashes(codes);
    let values = [
        &session.user_id.0 as Value<'_>,
        &session.session_id.0 as _,
        &session.version() as _,
        &factor.0 as _,
        &name.as_str() as _,
        &credential.id as _,
        &credential.public_key as _,
        rp_id as _,
        &i64::from(credential.sign_count) as _,
        &credential.backup_eligible as _,
        &credential.backed_up as _,
        &credential.transports as _,
        &Methods::PASSKEY.to_stored() as _,
        &challenge.as_bytes() as _,
        &seconds(policy::USED_CHALLENGE_KEPT) as _,
        &hashes as _,
        &undo.as_bytes() as _,
        &seconds(policy::FACTOR_UNDO_LIFETIME) as _,
        &notice.0 as _,
        undo_page as _,
        &change.0 as _,
        &seconds(policy::USED_PROOF_KEPT) as _,
        &policy::PASSKEYS_OF_ACCOUNT as _,
    ];
    match db.query_in_session(&ADD, values).await {
        // Another account has added a passkey with this credential id at the same time.
        Err(error) if error.is_unique_violation() => Ok(None),
        row => Ok(row?.map(|row| Added { has_codes: row.get("has_codes"), at: row.get("added_at") })),
    }
}

static OBSTACLE: Statement<4> = Statement {
    sql: "
    SELECT EXISTS (SELECT FROM used_challenges WHERE challenge = $2) AS is_replayed,
        EXISTS (SELECT FROM passkeys WHERE credential_id = $3) AS exists,
        (SELECT count(*) FROM passkeys WHERE user_id = $1) >= $4 AS are_too_many",
    types: [Type::INT8, Type::BYTEA, Type::BYTEA, Type::INT8],
};

/// Why a passkey was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The challenge was used before.
    Replayed,
    /// An account has a passkey with this credential id.
    Exists,
    /// The account has [`policy::PASSKEYS_OF_ACCOUNT`] passkeys.
    TooMany,
    /// The session is not live.
    SessionEnded,
}

/// Why [`add`] has not added this passkey.
pub async fn obstacle(db: &Database, new: &NewPasskey<'_>) -> Result<Obstacle, DbError> {
    let values = [
        &new.session.user_id.0 as Value<'_>,
        &new.challenge.as_bytes() as _,
        &new.credential.id as _,
        &policy::PASSKEYS_OF_ACCOUNT as _,
    ];
    let row = db.query_one(&OBSTACLE, values).await?;
    Ok(if row.get("is_replayed") {
        Obstacle::Replayed
    } else if row.get("exists") {
        Obstacle::Exists
    } else if row.get("are_too_many") {
        Obstacle::TooMany
    } else {
        Obstacle::SessionEnded
    })
}

static KNOWN: Statement<4> = Statement {
    sql: concat!("SELECT u.id, ", known_passkeys!("u.id", of: "$4"), " FROM users u WHERE ", session_is_presented!()),
    types: [Type::INT8, Type::UUID, Type::INT4, Type::TEXT],
};

/// The passkeys of the user of a session at this relying party, for options. `None` if the session is not live.
pub async fn known_in_session(
    db: &Database,
    session: PresentedSession,
    rp_id: &str,
) -> Result<Option<Vec<KnownPasskey>>, DbError> {
    let values = [&session.user_id.0 as Value<'_>, &session.session_id.0 as _, &session.version() as _, &rp_id as _];
    Ok(db.query_opt(&KNOWN, values).await?.as_ref().map(known))
}

/// The passkeys of a row that has [`known_passkeys!`].
pub(super) fn known(row: &Row) -> Vec<KnownPasskey> {
    let ids: Vec<Vec<u8>> = row.get("credential_ids");
    let transports: Vec<String> = row.get("transports");
    let split = |list: String| list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    ids.into_iter().zip(transports).map(|(id, list)| KnownPasskey { id, transports: split(list) }).collect()
}

static LIST: Statement<3> = Statement {
    sql: concat!(
        "SELECT ",
        passkey_columns!(),
        " FROM users u LEFT JOIN passkeys p ON p.user_id = u.id WHERE ",
        session_is_presented!(),
        " ORDER BY p.created_at, p.factor_id"
    ),
    types: [Type::INT8, Type::UUID, Type::INT4],
};

/// The passkeys of the user of a session. The oldest comes first. `None` if the session is not live.
pub async fn list(db: &Database, session: PresentedSession) -> Result<Option<Vec<Passkey>>, DbError> {
    let rows = db.query(&LIST, [&session.user_id.0, &session.session_id.0, &session.version()]).await?;
    Ok((!rows.is_empty()).then(|| rows.iter().filter_map(passkey).collect()))
}

static RENAME: Statement<5> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT u.id FROM users u WHERE ",
        session_is_presented!(),
        "
    ), renamed AS (
        UPDATE passkeys p SET name = $5 FROM account WHERE p.factor_id = $4 AND p.user_id = account.id RETURNING p.*
    )
    SELECT ",
        passkey_columns!(),
        " FROM account LEFT JOIN renamed p ON true"
    ),
    types: [Type::INT8, Type::UUID, Type::INT4, Type::UUID, Type::TEXT],
};

/// Gives a passkey of the user of a session another name. Returns it, or `None` if the user has no such passkey. The outer `None` means that the session
/// is not live.
pub async fn rename(
    db: &Database,
    session: PresentedSession,
    passkey: FactorId,
    name: &Name,
) -> Result<Option<Option<Passkey>>, DbError> {
    let values = [
        &session.user_id.0 as Value<'_>,
        &session.session_id.0 as _,
        &session.version() as _,
        &passkey.0 as _,
        &name.as_str() as _,
    ];
    Ok(db.query_opt(&RENAME, values).await?.as_ref().map(self::passkey))
}

/// The passkey of a row that has [`passkey_columns!`], if it has one.
fn passkey(row: &Row) -> Option<Passkey> {
    Some(Passkey {
        id: FactorId(row.get::<_, Option<_>>("factor_id")?),
        name: row.get("passkey_name"),
        created_at: row.get("added_at"),
        last_used_at: row.get("last_used_at"),
        backed_up: row.get("backed_up"),
    })
}

static FIND: Statement<4> = Statement {
    sql: concat!(
        "
    WITH found AS (
        SELECT p.user_id AS owner, p.factor_id, p.public_key, p.sign_count, p.backup_eligible, h.handle
        FROM passkeys p JOIN user_handles h ON h.user_id = p.user_id WHERE p.credential_id = $1 AND p.rp_id = $2
    ), account AS (
        SELECT ",
        user_columns!(),
        " FROM users u WHERE u.id = (SELECT owner FROM found) AND NOT ",
        is_deleted!("u.id"),
        "
    ), named AS (
        SELECT ",
        factor_counter_keys!(source: "$3"),
        " FROM account
    )
    SELECT account.*, found.*, named.*, EXISTS (SELECT FROM used_challenges c WHERE c.challenge = $4) AS is_replayed
    FROM account CROSS JOIN found CROSS JOIN named"
    ),
    types: [Type::BYTEA, Type::TEXT, Type::TEXT, Type::BYTEA],
};

/// A passkey that an authenticator has named, and its account.
pub struct FoundPasskey {
    /// Its id.
    pub id: FactorId,
    /// The account.
    pub user: User,
    /// The handle of the account.
    pub handle: UserHandle,
    /// Against what an assertion is verified.
    pub credential: StoredCredential,
    /// The counters of wrong codes for this account.
    pub counters: FactorCounters,
    /// Whether the challenge was used before.
    pub is_replayed: bool,
}

/// The passkey with this credential id at this relying party, which has answered this challenge. `None` if there is none, or if its account is deleted.
pub async fn find(
    db: &Database,
    credential_id: &[u8],
    rp_id: &str,
    source: &Source,
    challenge: &Challenge,
) -> Result<Option<FoundPasskey>, DbError> {
    let row = db.query_opt(&FIND, [&credential_id, &rp_id, &source.as_str(), &challenge.as_bytes()]).await?;
    Ok(row.map(|row| FoundPasskey {
        id: FactorId(row.get("factor_id")),
        user: user(&row),
        handle: UserHandle(row.get("handle")),
        credential: StoredCredential {
            public_key: row.get("public_key"),
            sign_count: u32::try_from(row.get::<_, i64>("sign_count")).unwrap_or(u32::MAX),
            backup_eligible: row.get("backup_eligible"),
        },
        counters: factor_counters(&row),
        is_replayed: row.get("is_replayed"),
    }))
}
