//! The table `recovery_codes`.

use tokio_postgres::types::Type;

use super::has_factor;
use crate::{
    db::{
        AnyStatement, Database, DbError, outbox::owe_factor_notice, rules::session_is_presented, seconds,
        statement::Statement,
    },
    domain::{MailId, PresentedSession, UnixTime, UserId},
    security::{RecoveryCode, policy},
};

/// All statements of this module.
pub(in crate::db) static STATEMENTS: [&dyn AnyStatement; 3] = [&COUNT, &REPLACE, &DELETE];

static COUNT: Statement<3> = Statement {
    sql: concat!(
        "
    SELECT ",
        has_factor!("u.id"),
        " AS has_factor, count(r.user_id) AS codes, min(r.created_at) AS made_at
    FROM users u LEFT JOIN recovery_codes r ON r.user_id = u.id
    WHERE ",
        session_is_presented!(),
        " GROUP BY u.id"
    ),
    types: [Type::INT8, Type::UUID, Type::INT4],
};

/// The recovery codes of an account.
pub struct RecoveryCodesLeft {
    /// How many are left.
    pub left: i64,
    /// When they were made. `None` if there are none.
    pub created_at: Option<UnixTime>,
}

/// Counts the recovery codes of the user of a session. `None` if the session is not live.
pub async fn count(db: &Database, session: PresentedSession) -> Result<Option<RecoveryCodesLeft>, DbError> {
    let row = db.query_opt(&COUNT, [&session.user_id.0, &session.session_id.0, &session.version()]).await?;
    Ok(row.map(|row| {
        // Without a factor, codes that a removal has left behind do not count.
        let made_at = row.get::<_, bool>("has_factor").then(|| row.get::<_, Option<UnixTime>>("made_at")).flatten();
        RecoveryCodesLeft { left: made_at.map_or(0, |_| row.get("codes")), created_at: made_at }
    }))
}

/// The part of a `WITH` that gives the codes with the hashes `$hashes` to the user in the row of `$owner`. If the user has codes already, these codes
/// take their places. Concurrent statements do so one after the other, so all codes that remain are from one of them.
macro_rules! set_recovery_codes {
    ($hashes:literal for $owner:literal) => {
        concat!(
            "codes AS (
        INSERT INTO recovery_codes (user_id, number, code_hash)
        SELECT id, code.number, code.hash FROM ",
            $owner,
            " CROSS JOIN unnest(",
            $hashes,
            ") WITH ORDINALITY AS code (hash, number) ORDER BY code.number
        ON CONFLICT (user_id, number) DO UPDATE SET code_hash = excluded.code_hash, created_at = excluded.created_at
        RETURNING user_id
    )"
        )
    };
}
pub(super) use set_recovery_codes;

/// The statement writes the row of `users`, although it changes nothing there. So an undo that waited for it runs again, and deletes the new codes.
///
/// If a concurrent statement removes the last factor, the codes may remain. They are not counted, no request accepts them, and the codes of the next
/// factor take their places.
///
/// The second run of this statement sets the same codes again. It finds the notice of the first run, and writes no other one.
static REPLACE: Statement<6> = Statement {
    sql: concat!(
        "
    WITH account AS (
        UPDATE users u SET credential_version = u.credential_version WHERE ",
        session_is_presented!(),
        "
        RETURNING u.id, u.email
    ), due AS (
        SELECT id, email FROM account WHERE ",
        has_factor!("account.id"),
        "
    ), ",
        set_recovery_codes!("$4" for "due"),
        ", told AS (
        SELECT id, email FROM due WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.user_id = due.id AND o.id = $5)
    ), ",
        owe_factor_notice!("notice", "'recovery_codes_replaced ' || $5", for "told", id: "$5", page: "NULL", lifetime: "$6"),
        "
    SELECT EXISTS (SELECT FROM due) AS has_factor FROM account"
    ),
    types: [Type::INT8, Type::UUID, Type::INT4, Type::BYTEA_ARRAY, Type::UUID, Type::FLOAT8],
};

/// Replaces the recovery codes of the user of a session, and writes the notice into the outbox. Returns whether the account has a second factor. If not,
/// nothing changes. `None` if the session is not live.
pub async fn replace(
    db: &Database,
    session: PresentedSession,
    codes: &[RecoveryCode],
    notice: MailId,
) -> Result<Option<bool>, DbError> {
    let hashes = hashes(codes);
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &hashes as _,
        &notice.0 as _,
        &seconds(policy::NOTICE_LIFETIME) as _,
    ];
    Ok(db.query_in_session(&REPLACE, values).await?.map(|row| row.get("has_factor")))
}

static DELETE: Statement<2> = Statement {
    sql: "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = ANY ($2) RETURNING user_id",
    types: [Type::INT8, Type::BYTEA_ARRAY],
};

/// Deletes these recovery codes of a user.
pub async fn delete(db: &Database, user: UserId, codes: &[RecoveryCode]) -> Result<(), DbError> {
    db.query(&DELETE, [&user.0, &hashes(codes)]).await.map(drop)
}

/// The hashes of the codes, as the database stores them.
pub(super) fn hashes(codes: &[RecoveryCode]) -> Vec<Vec<u8>> {
    codes.iter().map(|code| code.hash().as_bytes().to_vec()).collect()
}
