//! Both stacks are deleted and created again, and an application uses a database that is not in a stack.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    super::{
        aws_stand_in::{DATA_STACK, STACK},
        rehearsal::Rehearsal,
    },
    first_deployment::{REQUIRED, check_parameters_of_the_database},
};

pub fn play(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.write_packages("sixth", &[])?;
    let snapshot = application_first(rehearsal)?;
    from_the_last_snapshot(rehearsal, &snapshot)?;
    database_first(rehearsal)?;
    another_database(rehearsal)
}

/// Deletes a stack with `sam delete`.
fn delete(rehearsal: &Rehearsal, stack: &str, succeeds: bool) -> Result<()> {
    rehearsal.sam(&["delete", "--stack-name", stack, "--no-prompts"], succeeds)
}

/// Removes the protection of the database, and returns its name.
fn unprotect(rehearsal: &mut Rehearsal) -> Result<String> {
    let database = rehearsal.resource(DATA_STACK, "Postgres")?;
    let arguments = json!({ "DBInstanceIdentifier": database, "DeletionProtection": false, "ApplyImmediately": true });
    rehearsal.aws("rds", "modify_db_instance", &arguments)?;
    Ok(database)
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
    rehearsal.deploy_fails(&REQUIRED, &[DATA_STACK, "DELETE_FAILED", "Delete this stack only"])?;
    let database = unprotect(rehearsal)?;
    delete(rehearsal, DATA_STACK, true)?;
    ensure!(
        !rehearsal.aws("secretsmanager", "describe_secret", &json!({ "SecretId": secret }))?.is_null(),
        "{secret} should have been kept"
    );
    Ok(format!("{database}-final"))
}

fn from_the_last_snapshot(rehearsal: &mut Rehearsal, snapshot: &str) -> Result<()> {
    let snapshot = format!("DatabaseSnapshot={snapshot}");
    rehearsal.deploy(&[&REQUIRED[..], &["--set", &snapshot]].concat())?;
    rehearsal.forget_versions();
    check_parameters_of_the_database(rehearsal)?;
    rehearsal.end_scene("after both stacks were deleted, they are created from the last snapshot", "sixth")
}

/// A database cannot be deleted completely while functions are in its network.
fn database_first(rehearsal: &mut Rehearsal) -> Result<()> {
    unprotect(rehearsal)?;
    delete(rehearsal, DATA_STACK, false)?;
    delete(rehearsal, STACK, true)?;
    delete(rehearsal, DATA_STACK, true)?;
    for stack in [STACK, DATA_STACK] {
        ensure!(rehearsal.stack(stack)?.is_null(), "the stack {stack} should have been deleted");
    }
    Ok(())
}

fn another_database(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.aws(
        "secretsmanager",
        "create_secret",
        &json!({ "Name": "jwt-auth/database", "SecretString": "postgres://…" }),
    )?;
    let vpc = rehearsal.aws("ec2", "create_vpc", &json!({ "CidrBlock": "10.1.0.0/24" }))?["Vpc"]["VpcId"].clone();
    let subnet = rehearsal.aws("ec2", "create_subnet", &json!({ "VpcId": vpc, "CidrBlock": "10.1.0.0/24" }))?;
    let group = json!({ "VpcId": vpc, "GroupName": "functions", "Description": "functions" });
    let group = rehearsal.aws("ec2", "create_security_group", &group)?;
    let [subnet, group] = [&subnet["Subnet"]["SubnetId"], &group["GroupId"]].map(|id| id.as_str().unwrap_or_default());
    let [subnets, groups] = [format!("DatabaseSubnets={subnet}"), format!("DatabaseSecurityGroups={group}")];
    let database = ["--set", "DatabaseUrlSecret=jwt-auth/database", "--set", &subnets, "--set", &groups];
    rehearsal.deploy(&[&REQUIRED[..], &database].concat())?;
    rehearsal.deploy(&["--built"])?;
    rehearsal.deploy_fails(&["--built", "--set", "DatabaseMultiAz=true"], &["DatabaseMultiAz", "DatabaseUrlSecret"])?;
    ensure!(rehearsal.stack(DATA_STACK)?.is_null(), "no database should have been created");
    rehearsal.forget_versions();
    rehearsal.end_scene("an application with a database of its own gets no other", "sixth")?;

    rehearsal.without_touching(STACK, |rehearsal| {
        rehearsal.deploy(&["--built", "--database"])?;
        ensure!(!rehearsal.stack(DATA_STACK)?.is_null(), "the database should have been created");
        Ok(())
    })?;
    rehearsal.deploy(&["--built", "--set", "DatabaseUrlSecret="])?;
    check_parameters_of_the_database(rehearsal)?;
    rehearsal.expect_new_versions("sixth");
    rehearsal.end_scene("it changes to a database that was created before", "sixth")
}
