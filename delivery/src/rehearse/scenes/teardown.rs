//! Stacks are deleted and created again.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    super::{
        aws_stand_in::{DATA_STACK, STACK},
        rehearsal::Rehearsal,
    },
    first_deployment::{REQUIRED, check_parameters_of_the_database},
    one_stack,
};

pub fn play(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.write_packages("sixth", &[])?;
    let snapshot = application_first(rehearsal)?;
    from_the_last_snapshot(rehearsal, &snapshot)?;
    database_first(rehearsal)?;
    one_stack::play(rehearsal)?;
    both(rehearsal)
}

/// Deletes a stack with `sam delete`.
pub(super) fn delete(rehearsal: &Rehearsal, stack: &str, succeeds: bool) -> Result<()> {
    rehearsal.sam(&["delete", "--stack-name", stack, "--no-prompts"], succeeds)
}

/// Deletes the databases that were replaced, and removes the protection of the stack's database. Returns its name.
pub(super) fn unprotect(rehearsal: &mut Rehearsal) -> Result<String> {
    let current = rehearsal.resource(DATA_STACK, "Postgres")?;
    let databases = rehearsal.aws("rds", "describe_db_instances", &json!({}))?;
    for database in databases["DBInstances"].as_array().into_iter().flatten() {
        let name = &database["DBInstanceIdentifier"];
        let protection = json!({ "DBInstanceIdentifier": name, "DeletionProtection": false, "ApplyImmediately": true });
        rehearsal.aws("rds", "modify_db_instance", &protection)?;
        if *name != current {
            let deletion = json!({ "DBInstanceIdentifier": name, "SkipFinalSnapshot": true });
            rehearsal.aws("rds", "delete_db_instance", &deletion)?;
        }
    }
    Ok(current)
}

/// Deletes both stacks in the right order. Returns the snapshot that remains.
fn application_first(rehearsal: &mut Rehearsal) -> Result<String> {
    let logs = rehearsal.value(STACK, "Outputs", "LogGroup")?;
    let secret = rehearsal.value(DATA_STACK, "Outputs", "DatabaseOwnerSecret")?;
    rehearsal.without_touching(DATA_STACK, |rehearsal| delete(rehearsal, STACK, true))?;
    let groups = rehearsal.aws("logs", "describe_log_groups", &json!({}))?["logGroups"].to_string();
    ensure!(groups.contains(&logs), "the log of the functions should have been kept");
    ensure!(!groups.contains("/aws/vendedlogs/"), "the access log should have been deleted");

    delete(rehearsal, DATA_STACK, false)?;
    rehearsal.deploy_fails(&REQUIRED, &[DATA_STACK, "DELETE_FAILED", "Delete this stack first"])?;
    let database = unprotect(rehearsal)?;
    delete(rehearsal, DATA_STACK, true)?;
    ensure!(
        !rehearsal.aws("secretsmanager", "describe_secret", &json!({ "SecretId": secret }))?.is_null(),
        "{secret} should have been kept"
    );
    Ok(format!("{database}-final"))
}

/// Deletes both stacks, and ensures that they are gone.
fn both(rehearsal: &mut Rehearsal) -> Result<()> {
    delete(rehearsal, STACK, true)?;
    unprotect(rehearsal)?;
    delete(rehearsal, DATA_STACK, true)?;
    for stack in [STACK, DATA_STACK] {
        ensure!(rehearsal.stack(stack)?.is_null(), "the stack {stack} should have been deleted");
    }
    Ok(())
}

fn from_the_last_snapshot(rehearsal: &mut Rehearsal, snapshot: &str) -> Result<()> {
    let snapshot = format!("DatabaseSnapshot={snapshot}");
    rehearsal.deploy(&[&REQUIRED[..], &["--set", &snapshot]].concat())?;
    rehearsal.forget_versions();
    check_parameters_of_the_database(rehearsal)?;
    rehearsal.end_scene("after both stacks were deleted, they are created from the last snapshot", "sixth")
}

/// While functions are in the network of the database's stack, this network cannot be deleted, so deleting the stack fails.
fn database_first(rehearsal: &mut Rehearsal) -> Result<()> {
    unprotect(rehearsal)?;
    delete(rehearsal, DATA_STACK, false)?;
    delete(rehearsal, STACK, true)?;
    delete(rehearsal, DATA_STACK, true)
}
