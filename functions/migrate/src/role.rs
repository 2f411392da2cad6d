//! The role that the other functions log in as: made here where it is missing, because only the owner of the tables has a password.

use tokio_postgres::types::Type;

use crate::{error::Error, transaction::Transaction};

const GRANTS: &str = include_str!("../../../migrations/grants.sql");

/// Makes the role if it is not there, lets it log in by IAM where the server knows that, and grants it what migrations/grants.sql says. All of
/// it may be run again. `role` is a plain name (`config::Migrate` has seen to it).
pub async fn grant(transaction: &Transaction<'_>, role: &str) -> Result<(), Error> {
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
