//! From an empty account to two stacks, with a creation that fails.

use anyhow::{Result, ensure};
use serde_json::json;

use super::super::{
    aws_stand_in::{DATA_STACK, STACK},
    rehearsal::Rehearsal,
};

/// The arguments of a first deployment: the packages are built already, and the parameters have no default.
pub const REQUIRED: [&str; 5] =
    ["--built", "--set", "MailFrom=no-reply@example.com", "--set", "MailDomain=example.com"];

pub fn play(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.write_packages("first", &[])?;
    requests_that_are_refused(rehearsal)?;

    // The template gives the log group of the access log a fixed name. If a group with this name exists, CloudFormation cannot create the stack.
    let log_group = json!({ "logGroupName": format!("/aws/vendedlogs/{STACK}") });
    rehearsal.aws("logs", "create_log_group", &log_group)?;
    rehearsal.deploy_fails(&REQUIRED, &["sam deploy", "There was no alias `live` before"])?;
    ensure!(
        rehearsal.stack(DATA_STACK)?["description"]["StackStatus"] == "CREATE_COMPLETE",
        "the database should have been created first"
    );
    rehearsal.without_touching(DATA_STACK, |rehearsal| {
        rehearsal.deploy_fails(&REQUIRED, &[STACK, "ROLLBACK_COMPLETE", "Delete this stack first"])?;
        rehearsal.sam(&["delete", "--stack-name", STACK, "--no-prompts"], true)?;
        rehearsal.aws("logs", "delete_log_group", &log_group)?;
        rehearsal.deploy(&REQUIRED)?;
        Ok(())
    })?;
    rehearsal
        .end_scene("after a creation that failed, the application is deployed beside the same database", "first")?;
    rehearsal.deploy_fails(&["--rollback"], &["no earlier version"])?;
    check_parameters_of_the_database(rehearsal)
}

/// These requests are refused before anything is created.
fn requests_that_are_refused(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.deploy_fails(&["--built"], &["MailDomain", "MailFrom"])?;
    rehearsal.deploy_fails(&["--built", "--set", "Databaseclass=db.t4g.large"], &["DatabaseClass"])?;
    let reserve = ["--set", "ReserveConcurrency=on"];
    rehearsal.deploy_fails(&[&REQUIRED[..], &reserve].concat(), &["200 connections", "DatabaseClass=db.t4g.medium"])?;
    let no_database = ["--set", "DatabaseUrlSecret=jwt-auth/database", "--set", "DatabaseMultiAz=true"];
    rehearsal.deploy_fails(&[&REQUIRED[..], &no_database].concat(), &["DatabaseMultiAz", "DatabaseUrlSecret"])?;
    for stack in [STACK, DATA_STACK] {
        ensure!(rehearsal.stack(stack)?.is_null(), "the stack {stack} should not exist yet");
    }
    Ok(())
}

/// Checks that the application's parameters are the outputs of the database's stack, and that the deployment chose two zones in which AWS offers the
/// endpoint of SES.
pub fn check_parameters_of_the_database(rehearsal: &mut Rehearsal) -> Result<()> {
    let outputs =
        ["DatabaseAddress", "DatabaseResourceId", "DatabaseOwnerSecret", "DatabaseSubnets", "DatabaseSecurityGroups"];
    for name in outputs {
        let output = rehearsal.value(DATA_STACK, "Outputs", name)?;
        let parameter = rehearsal.value(STACK, "Parameters", name)?;
        ensure!(parameter == output, "{name} of the application is {parameter} instead of {output}");
    }
    let zones = rehearsal.value(DATA_STACK, "Parameters", "Zones")?;
    ensure!(zones == "us-east-1a,us-east-1b", "the zones are {zones}");
    Ok(())
}
