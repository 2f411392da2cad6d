//! The database role of the other functions. `migrate` creates it and grants its rights, because only the owner of the tables may grant rights on them.

use shared::environment::{ConfigError, Environment};
use tokio_postgres::types::Type;

use crate::{error::Error, transaction::Transaction};

const GRANTS: &str = include_str!("../../../migrations/grants.sql");

/// The name of the role: lower-case ASCII letters, digits and `_`. It is inserted into SQL text, because a name cannot be a
/// parameter.
pub struct FunctionsRole(String);

impl FunctionsRole {
    /// Reads `FUNCTIONS_ROLE`. `None` if the variable is not set. Then `migrate` creates no role.
    ///
    /// # Errors
    /// If the name has another character, begins with a digit or `pg_`, or is longer than 63 characters.
    pub fn from_env(env: &Environment) -> Result<Option<Self>, ConfigError> {
        let Some(name) = env.optional("FUNCTIONS_ROLE") else { return Ok(None) };
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins_well = !name.starts_with("pg_") && !name.starts_with(|first: char| first.is_ascii_digit());
        if name.len() < 64 && name.bytes().all(is_plain) && begins_well {
            Ok(Some(Self(name.to_owned())))
        } else {
            let expected = "the name of a role: at most 63 lower-case ASCII letters, digits and _, not beginning with a digit or pg_";
            Err(ConfigError::Malformed { name: "FUNCTIONS_ROLE", expected })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Creates the role if it does not exist, and grants it the privileges in `migrations/grants.sql`. If the owner is configured for
/// IAM (`with_iam`), both log in with IAM from now on. A second call changes nothing.
///
/// RDS refuses the password of every direct or indirect member of `rds_iam`. From PostgreSQL 16 on, the owner is a member of the
/// role that it creates. So if the role logs in with IAM, the owner must do so, too (docs/decisions/0009).
pub async fn grant(transaction: &Transaction<'_>, role: &FunctionsRole, with_iam: bool) -> Result<(), Error> {
    let role = role.as_str();
    if transaction.query(ROLE, &[(&role, Type::TEXT)]).await?.is_empty() {
        transaction.execute(&format!("CREATE ROLE {role} LOGIN")).await?;
    }
    if with_iam {
        for row in transaction.query(ROLES_WITHOUT_IAM, &[(&role, Type::TEXT)]).await? {
            let name: String = row.get("name");
            transaction.execute(&format!("GRANT rds_iam TO {name}")).await?;
        }
    }
    let grants = GRANTS.replace("jwt_auth", role);
    transaction.execute(&grants).await.map_err(|problem| problem.in_file("grants.sql"))?;
    Ok(())
}

const ROLE: &str = "SELECT FROM pg_roles WHERE rolname = $1";

/// The role and the owner, each if it was not granted `rds_iam`. No rows on a server without IAM, which has no role `rds_iam`.
const ROLES_WITHOUT_IAM: &str = "
    SELECT quote_ident(login.rolname) AS name
    FROM pg_roles login, pg_roles iam
    WHERE login.rolname IN ($1, current_user) AND iam.rolname = 'rds_iam'
        AND NOT pg_has_role(login.oid, iam.oid, 'USAGE')";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_has_a_plain_name() {
        let role = |name: &str| {
            let env: Environment = [("FUNCTIONS_ROLE".to_owned(), name.to_owned())].into_iter().collect();
            FunctionsRole::from_env(&env).map(|role| role.map(|role| role.0))
        };
        assert_eq!(role(""), Ok(None));
        assert_eq!(role("jwt_auth2"), Ok(Some("jwt_auth2".to_owned())));
        for odd in ["2jwt", "Jwt", "jwt auth", "jwt;--", "jwt-auth", "jwt\"", "pg_jwt", &"a".repeat(64)] {
            assert!(role(odd).is_err(), "{odd}");
        }
    }
}
