//! How the owner and the functions log in on RDS, on every version of PostgreSQL that `database.yaml` offers.

use rstest::rstest;
use serde_json::{Value, json};
use tests::{LoginToken, Rds, Stack, StackBuilder, database::TestDatabase, documents};
use time::Duration;
use tokio_postgres::error::SqlState;
use toolkit::postgres;

use crate::MIGRATIONS;

const ROLE: &str = "jwt_auth";

/// A stack for a database on RDS, with the variables that `template.yaml` sets.
fn stack_with_iam(rds: &Rds, database: TestDatabase) -> StackBuilder {
    Stack::builder()
        .with("DATABASE_AUTH", "iam")
        .with("DATABASE_URL", &rds.url(ROLE, &database))
        .with_for("migrate", "DATABASE_URL", &rds.url(Rds::OWNER, &database))
        .with_for("migrate", "DATABASE_PASSWORD", Rds::PASSWORD)
        .with_for("migrate", "FUNCTIONS_ROLE", ROLE)
        .with_unprepared_database(database)
}

async fn migrate(stack: &Stack) -> Value {
    stack.invoke("migrate", &json!({})).await.expect("the database can be migrated")["applied"].clone()
}

/// Asserts that the server refuses this login with this code.
async fn assert_refused(rds: &Rds, stack: &Stack, user: &str, password: &str, code: SqlState) {
    assert_eq!(rds.log_in(&stack.database, user, password).await.err(), Some(code), "{user} with {password}");
}

/// The code for a member of `rds_iam` without a valid login token.
const NO_TOKEN: SqlState = SqlState::INVALID_AUTHORIZATION_SPECIFICATION;
/// The code for any other user without the right password.
const NO_PASSWORD: SqlState = SqlState::INVALID_PASSWORD;

#[rstest]
#[tokio::test]
async fn after_the_first_migrate_everybody_logs_in_with_iam(#[values(15, 16, 17, 18)] version: u32) {
    let rds = Rds::start(version).await;
    let stack = stack_with_iam(&rds, rds.database().await).start().await;
    assert_refused(&rds, &stack, Rds::OWNER, &rds.token(Rds::OWNER).sign(), NO_PASSWORD).await;
    assert_eq!(migrate(&stack).await, json!(MIGRATIONS));

    assert_refused(&rds, &stack, Rds::OWNER, Rds::PASSWORD, NO_TOKEN).await;
    let owner = rds.log_in(&stack.database, Rds::OWNER, &rds.token(Rds::OWNER).sign()).await.unwrap();
    assert_eq!(migrate(&stack).await, json!([]));
    let log = stack.log_of("migrate");
    assert_eq!(log.matches("this login uses DATABASE_PASSWORD").count(), 1, "{log}");

    owner.batch_execute(&format!("ALTER ROLE {ROLE} PASSWORD '{}'", Rds::PASSWORD)).await.unwrap();
    assert_refused(&rds, &stack, ROLE, Rds::PASSWORD, NO_TOKEN).await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    for _ in 0..2 {
        assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
        // The next request needs another connection, and a token for it.
        stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jwt-auth'").await;
    }
    assert!(!stack.logs().contains("X-Amz-Signature") && !stack.logs().contains(Rds::PASSWORD));
}

#[rstest]
#[tokio::test]
async fn a_login_needs_a_token_for_this_user_and_server_that_is_not_expired(#[values(15, 18)] version: u32) {
    let rds = Rds::start(version).await;
    let stack = stack_with_iam(&rds, rds.database().await).start().await;
    migrate(&stack).await;
    let valid = rds.token(ROLE);
    rds.log_in(&stack.database, ROLE, &valid.sign()).await.unwrap();
    let signed_at = valid.signed_at;
    for refused in [
        LoginToken { user: Rds::OWNER.to_owned(), ..valid.clone() },
        LoginToken { address: "127.0.0.1:5432".to_owned(), ..valid.clone() },
        LoginToken { signed_at: signed_at - Duration::minutes(16), ..valid.clone() },
        LoginToken { signed_at: signed_at + Duration::minutes(16), ..valid.clone() },
        LoginToken { secret_key: "another".to_owned(), ..valid.clone() },
    ] {
        assert_refused(&rds, &stack, ROLE, &refused.sign(), NO_TOKEN).await;
    }
    assert_refused(&rds, &stack, ROLE, &valid.sign().replace("Expires=900", "Expires=9000"), NO_TOKEN).await;
}

// Requirement 43.
#[rstest]
#[tokio::test]
async fn the_functions_role_can_change_rows_and_nothing_else(#[values(15, 16, 17, 18)] version: u32) {
    let rds = Rds::start(version).await;
    let stack = stack_with_iam(&rds, rds.database().await).start().await;
    migrate(&stack).await;
    let role = rds.log_in(&stack.database, ROLE, &rds.token(ROLE).sign()).await.unwrap();
    role.batch_execute("DELETE FROM sessions").await.unwrap();
    for statement in [
        "DROP TABLE sessions",
        "TRUNCATE sessions",
        "ALTER TABLE sessions ADD more text",
        "CREATE TABLE more ()",
        "CREATE SCHEMA more",
        "CREATE ROLE more",
        "UPDATE users SET id = id + 1",
        "SET ROLE owner",
        "SELECT pg_read_file('PG_VERSION')",
    ] {
        let refusal = role.batch_execute(statement).await.err().and_then(|problem| problem.code().cloned());
        assert_eq!(refusal, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{statement}");
    }
}

/// So `migrate` grants `rds_iam` to the owner too, or to nobody (docs/decisions/0009).
#[rstest]
#[tokio::test]
async fn from_version_16_on_the_creator_of_a_role_with_iam_cannot_log_in_with_a_password(
    #[values(15, 16, 17, 18)] version: u32,
) {
    let rds = Rds::start(version).await;
    let database = rds.database().await;
    let owner = rds.log_in(&database, Rds::OWNER, Rds::PASSWORD).await.unwrap();
    owner.batch_execute("CREATE ROLE jwt_auth LOGIN; GRANT rds_iam TO jwt_auth").await.unwrap();
    let refusal = rds.log_in(&database, Rds::OWNER, Rds::PASSWORD).await.err();
    assert_eq!(refusal, (version >= 16).then_some(NO_TOKEN));
}

#[rstest]
#[tokio::test]
async fn with_passwords_nobody_is_granted_iam(#[values(15, 16, 17, 18)] version: u32) {
    let rds = Rds::start(version).await;
    let database = rds.database().await;
    let password = Rds::PASSWORD;
    let stack = Stack::builder()
        .with("DATABASE_URL", &rds.url(&format!("{ROLE}:{password}"), &database))
        .with_for("migrate", "DATABASE_URL", &rds.url(&format!("{}:{password}", Rds::OWNER), &database))
        .with_for("migrate", "FUNCTIONS_ROLE", ROLE)
        .with_unprepared_database(database);
    let stack = stack.start().await;
    assert_eq!(migrate(&stack).await, json!(MIGRATIONS));
    assert_eq!(migrate(&stack).await, json!([]));
    let owner = rds.log_in(&stack.database, Rds::OWNER, password).await.unwrap();
    owner.batch_execute(&format!("ALTER ROLE {ROLE} PASSWORD '{password}'")).await.unwrap();
    stack.user("Ada").await;
}

/// An upgrade from version 15 keeps all memberships. But then the superuser is their grantor, and the owner cannot grant `rds_iam` any more.
#[rstest]
#[tokio::test]
async fn after_an_upgrade_migrate_grants_nothing(#[values(16, 17, 18)] version: u32) {
    let rds = Rds::start(version).await;
    let stack = stack_with_iam(&rds, rds.database().await).start().await;
    migrate(&stack).await;
    stack.sql("REVOKE rds_iam FROM owner CASCADE; GRANT rds_iam TO owner, jwt_auth").await;
    let owner = rds.log_in(&stack.database, Rds::OWNER, &rds.token(Rds::OWNER).sign()).await.unwrap();
    assert!(owner.batch_execute("GRANT rds_iam TO jwt_auth").await.is_err());
    assert_eq!(migrate(&stack).await, json!([]));
}

#[test]
fn database_yaml_offers_the_versions_that_are_tested() {
    let template = documents::read("database.yaml");
    let (_, parameter) = template.split_once("\n  PostgresVersion:\n").expect("the parameter");
    let (parameter, _) = parameter.split_once("\n  DatabaseSnapshot:\n").expect("the next parameter");
    let versions = postgres::VERSIONS.map(|version| version.to_string());
    assert!(parameter.contains(&format!("AllowedValues: {versions:?}")), "{parameter}");
    assert!(parameter.ends_with(&format!("Default: \"{}\"", postgres::NEWEST)), "{parameter}");
}

#[tokio::test]
async fn an_error_says_what_to_check_if_the_server_refuses_the_owner() {
    let rds = Rds::start(postgres::NEWEST).await;
    let wrong = [("DATABASE_PASSWORD", "hunter2"), ("AWS_SECRET_ACCESS_KEY", "another")];
    for (name, value) in wrong {
        let stack = stack_with_iam(&rds, rds.database().await).with_for("migrate", name, value).start().await;
        let error = stack.invoke("migrate", &json!({})).await.expect_err("the server refuses the login");
        assert_eq!(error["errorType"], "LoginRefused", "{error}");
        let printed = format!("{error} {}", stack.log_of("migrate"));
        assert!(
            printed.contains("may call rds-db:connect") && printed.contains("with DATABASE_PASSWORD: "),
            "{printed}"
        );
        assert!(!printed.contains("hunter2") && !printed.contains("X-Amz-Signature"), "{printed}");
        let stack = stack_with_iam(&rds, rds.database().await).start().await;
        migrate(&stack).await;
    }
}
