//! An application with a database that no stack of this project contains.

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
    rehearsal.end_scene("it changes to a database that was created before", "sixth")?;

    rehearsal.without_touching(DATA_STACK, |rehearsal| {
        rehearsal.deploy(&["--built", "--set", "DatabaseUrlSecret=jwt-auth/database", "--set", "DatabaseAddress="])?;
        rehearsal.deploy(&["--built"])?;
        Ok(())
    })?;
    ensure!(
        rehearsal.value(STACK, "Parameters", "DatabaseAddress")?.is_empty(),
        "the address should have been removed"
    );
    rehearsal.expect_new_versions("sixth");
    rehearsal.end_scene("it changes back to its own database", "sixth")
}
