//! Everything that the tables contain about one person, for a copy that the person may ask for (GDPR Article 15).

use serde_json::Value;
use tokio_postgres::types::Type;

use super::{AnyStatement, Database, DbError, statement::Statement};
use crate::domain::User;

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 1] = [&EXPORT];

/// The rows of a table that belong to the user `u`, as a JSON array, without the columns in `$secrets`.
macro_rules! rows_of {
    ($table:literal where $owner:literal, without $secrets:literal) => {
        concat!(
            "'",
            $table,
            "', (SELECT coalesce(jsonb_agg(to_jsonb(t) - ",
            $secrets,
            "::text[]), '[]') FROM ",
            $table,
            " t WHERE t.",
            $owner,
            " = u.id)"
        )
    };
}

/// New columns are in the export without a change here. A test compares the tables with the database's catalogue. Hashes and ids from which a secret
/// could be guessed or forged are left out. The table `throttle` does not name users: its keys are hashes.
static EXPORT: Statement<2> = Statement {
    sql: concat!(
        // `users.created_at` is a time in UTC without an offset.
        "SELECT jsonb_build_object(
        'users', jsonb_build_array(to_jsonb(u) - 'password' || jsonb_build_object('created_at', u.created_at AT TIME ZONE 'utc')), ",
        rows_of!("sessions" where "user_id", without "'{refresh_id,previous_refresh_id}'"),
        ", ",
        rows_of!("password_resets" where "user_id", without "'{token_hash}'"),
        ", ",
        // The mail to the new address of a requested change is left out, because its absence would show that the new address has an account.
        rows_of!("outbox" where "kind <> 'email_change' AND t.user_id", without "'{}'"),
        ", ",
        rows_of!("email_verifications" where "user_id", without "'{token_hash,code_hash}'"),
        ", ",
        rows_of!("email_changes" where "user_id", without "'{token_hash}'"),
        ", ",
        rows_of!("email_undos" where "user_id", without "'{token_hash}'"),
        ", ",
        rows_of!("reserved_addresses" where "user_id", without "'{}'"),
        ", ",
        rows_of!("account_deletions" where "user_id", without "'{token_hash}'"),
        ", ",
        rows_of!("totp" where "user_id", without "'{secret}'"),
        ", ",
        rows_of!("passkeys" where "user_id", without "'{}'"),
        ", ",
        rows_of!("user_handles" where "user_id", without "'{}'"),
        ", ",
        rows_of!("recovery_codes" where "user_id", without "'{code_hash}'"),
        ", ",
        rows_of!("mfa_tokens" where "user_id", without "'{token_hash}'"),
        ", ",
        rows_of!("factor_undos" where "user_id", without "'{token_hash}'"),
        ", ",
        rows_of!("factor_changes" where "user_id", without "'{}'"),
        ", ",
        rows_of!("session_endings" where "user_id", without "'{}'"),
        ")::text AS export FROM users u WHERE u.id = $1 AND u.credential_version = $2"
    ),
    types: [Type::INT8, Type::INT4],
};

/// All rows about a user, by the name of their table. `None` if the user's credentials have changed, or if the user does not exist any more.
pub async fn export(db: &Database, user: &User) -> Result<Option<Value>, DbError> {
    let row = db.query_opt(&EXPORT, [&user.id.0, &user.credential_version]).await?;
    let export = row.map(|row| serde_json::from_str(row.get("export"))).transpose();
    export.map_err(|malformed| DbError::Failed(malformed.into()))
}
