//! The removal of a second factor in a session.

use tokio_postgres::types::Type;

use super::{has_factor, is_confirmed, is_remembered, remember_change};
use crate::{
    db::{
        AnyStatement, Database, DbError, Value, outbox::owe_factor_notice, rules::session_is_presented, seconds,
        session_endings::owe_session_ending, statement::Statement,
    },
    domain::{FactorChangeId, FactorId, MailId, PresentedSession},
    security::policy,
};

/// All statements of this module.
pub(in crate::db) static STATEMENTS: [&dyn AnyStatement; 1] = [&REMOVE];

/// The higher credential version ends every session of the user. A sign-in with the removed factor at the same time opens no live session. The session of the request gets this
/// version, too, so it stays live. With the last factor, the recovery codes are deleted.
///
/// The link that undoes the factor keeps working. Otherwise a thief could add a factor, remove it and add another, and the owner's link would be useless.
static REMOVE: Statement<9> = Statement {
    sql: concat!(
        "
    WITH named AS (
        SELECT coalesce($4, (SELECT t.factor_id FROM totp t WHERE t.user_id = $1 AND ",
        is_confirmed!(),
        ")) AS factor_id
    ), changed AS (
        UPDATE users u SET credential_version = u.credential_version + 1
        WHERE NOT ",
        is_remembered!("$5"),
        " AND ",
        session_is_presented!(),
        " AND CASE WHEN $4 IS NULL
            THEN (SELECT factor_id FROM named) IS NOT NULL
            ELSE EXISTS (SELECT FROM passkeys p WHERE p.factor_id = $4 AND p.user_id = u.id)
        END
        RETURNING u.id, u.email, u.credential_version
    ), ",
        owe_session_ending!("changed"),
        ", totp_removed AS (
        DELETE FROM totp t USING changed WHERE t.user_id = changed.id AND t.factor_id = (SELECT factor_id FROM named)
    ), passkey_removed AS (
        DELETE FROM passkeys p USING changed WHERE p.user_id = changed.id AND p.factor_id = $4
    ), codes_removed AS (
        DELETE FROM recovery_codes r USING changed WHERE r.user_id = changed.id AND NOT ",
        has_factor!("changed.id", except: "(SELECT factor_id FROM named)"),
        "
    ), kept AS (
        UPDATE sessions s SET credential_version = changed.credential_version FROM changed WHERE s.id = $2 AND $3 IS NULL
    ), ",
        remember_change!("changed", id: "$5", lifetime: "$6"),
        ", ",
        owe_factor_notice!("notice", "$9 || ' ' || $7", for "changed", id: "$7", page: "NULL", lifetime: "$8"),
        "
    SELECT EXISTS (SELECT FROM changed) OR ",
        is_remembered!("$5"),
        " AS is_removed FROM users u WHERE (",
        session_is_presented!(),
        ") OR u.id = $1 AND ",
        is_remembered!("$5")
    ),
    types: [
        Type::INT8,
        Type::UUID,
        Type::INT4,
        Type::UUID,
        Type::UUID,
        Type::FLOAT8,
        Type::UUID,
        Type::FLOAT8,
        Type::TEXT,
    ],
};

/// A factor that its user removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovedFactor {
    /// The authenticator.
    Totp,
    /// The passkey with this id.
    Passkey(FactorId),
}

/// Removes a factor of the user of a session, and with the last factor the recovery codes. Ends the other sessions in PostgreSQL, and writes the notice
/// into the outbox. Also writes that the sessions in DynamoDB must end. Returns whether the user had this factor. If not, nothing changes. `None` if the
/// session is not live.
pub async fn remove(
    db: &Database,
    session: PresentedSession,
    factor: RemovedFactor,
    change: FactorChangeId,
    notice: MailId,
) -> Result<Option<bool>, DbError> {
    let (id, kind) = match factor {
        RemovedFactor::Totp => (None, "totp_removed"),
        RemovedFactor::Passkey(id) => (Some(id.0), "passkey_removed"),
    };
    let values = [
        &session.user_id.0 as Value<'_>,
        &session.session_id.0 as _,
        &session.version() as _,
        &id as _,
        &change.0 as _,
        &seconds(policy::USED_PROOF_KEPT) as _,
        &notice.0 as _,
        &seconds(policy::NOTICE_LIFETIME) as _,
        &kind as _,
    ];
    let mut is_removed = None;
    // If a connection dies, `query_opt` runs the statement again. This run may begin before the first one commits. Then it does not see the change of the
    // first one, and one more run does.
    for _ in 0..2 {
        is_removed = db.query_opt(&REMOVE, values).await?.map(|row| row.get("is_removed"));
        if is_removed != Some(false) {
            break;
        }
    }
    Ok(is_removed)
}
