//! The database role of the other functions. `migrate` creates it, because only the owner of the tables has a password.

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
    /// If the name has another character, begins with a digit, or is longer than 63 characters.
    pub fn from_env(env: &Environment) -> Result<Option<Self>, ConfigError> {
        let Some(name) = env.optional("FUNCTIONS_ROLE") else { return Ok(None) };
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.len() < 64 && name.bytes().all(is_plain) && !name.starts_with(|first: char| first.is_ascii_digit()) {
            Ok(Some(Self(name.to_owned())))
        } else {
            let expected = "the name of a role: lower-case ASCII letters, digits and _";
            Err(ConfigError::Malformed { name: "FUNCTIONS_ROLE", expected })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Creates the role if it does not exist, allows it to log in with IAM if the server supports IAM, and grants it the privileges
/// in `migrations/grants.sql`. A second call changes nothing.
pub async fn grant(transaction: &Transaction<'_>, role: &FunctionsRole) -> Result<(), Error> {
    let role = role.as_str();
    if !exists(transaction, role).await? {
        transaction.execute(&format!("CREATE ROLE {role} LOGIN")).await?;
    }
    if exists(transaction, "rds_iam").await? {
        transaction.execute(&format!("GRANT rds_iam TO {role}")).await?;
    }
    transaction.execute(&GRANTS.replace("jwt_auth", role)).await?;
    Ok(())
}

async fn exists(transaction: &Transaction<'_>, role: &str) -> Result<bool, Error> {
    let found = transaction.query("SELECT FROM pg_roles WHERE rolname = $1", &[(&role, Type::TEXT)]).await?;
    Ok(!found.is_empty())
}

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
        for odd in ["2jwt", "Jwt", "jwt auth", "jwt;--", "jwt-auth", "jwt\"", &"a".repeat(64)] {
            assert!(role(odd).is_err(), "{odd}");
        }
    }
}
