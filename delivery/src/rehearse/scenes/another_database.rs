//! An application with a database that no stack of this project contains.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    super::{
        aws_stand_in::{DATA_STACK, STACK},
        rehearsal::Rehearsal,
    },
    first_deployment::{REQUIRED, check_parameters_of_the_database},
    teardown::{delete, unprotect},
};

pub fn play(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.aws(
        "secretsmanager",
        "create_secret",
        &json!({ "Name": "jwt-auth/database", "SecretString": "postgres://…" }),
    )?;
    rehearsal.aws(
        "secretsmanager",
        "create_secret",
        &json!({ "Name": "jwt-auth/owner", "SecretString": "postgres://…" }),
    )?;
    let vpc = rehearsal.aws("ec2", "create_vpc", &json!({ "CidrBlock": "10.1.0.0/24" }))?["Vpc"]["VpcId"].clone();
    let subnet = rehearsal.aws("ec2", "create_subnet", &json!({ "VpcId": vpc, "CidrBlock": "10.1.0.0/24" }))?;
    let group = json!({ "VpcId": vpc, "GroupName": "functions", "Description": "functions" });
    let group = rehearsal.aws("ec2", "create_security_group", &group)?;
    let [subnet, group] = [&subnet["Subnet"]["SubnetId"], &group["GroupId"]].map(|id| id.as_str().unwrap_or_default());
    let [subnets, groups] = [format!("DatabaseSubnets={subnet}"), format!("DatabaseSecurityGroups={group}")];
    let secrets = ["--set", "DatabaseUrlSecret=jwt-auth/database", "--set", "MigrateDatabaseUrlSecret=jwt-auth/owner"];
    let network = ["--set", &subnets, "--set", &groups];
    rehearsal.deploy(&[&REQUIRED[..], &secrets, &network].concat())?;
    let migrate = json!({ "FunctionName": format!("{STACK}-migrate") });
    let role =
        rehearsal.aws("lambda", "get_function_configuration", &migrate)?["Environment"]["Variables"]["FUNCTIONS_ROLE"]
            .clone();
    ensure!(
        role == "jwt_auth",
        "the template should set FUNCTIONS_ROLE=jwt_auth for migrate, which then grants rights to this role"
    );
    rehearsal.deploy(&["--built"])?;
    rehearsal.deploy_fails(&["--built", "--set", "DatabaseMultiAz=true"], &["DatabaseMultiAz", "DatabaseUrlSecret"])?;
    ensure!(rehearsal.stack(DATA_STACK)?.is_null(), "no database should have been created");
    rehearsal.forget_versions();
    rehearsal.end_scene("for an application that uses a database of your own, no database is created", "sixth")?;

    rehearsal.without_touching(STACK, |rehearsal| {
        rehearsal.deploy(&["--built", "--database"])?;
        ensure!(!rehearsal.stack(DATA_STACK)?.is_null(), "the database should have been created");
        Ok(())
    })?;
    rehearsal.deploy(&["--built", "--set", "DatabaseUrlSecret=", "--set", "MigrateDatabaseUrlSecret="])?;
    check_parameters_of_the_database(rehearsal)?;
    rehearsal.expect_new_versions("sixth");
    rehearsal.end_scene("the application changes to a database that was created before", "sixth")?;

    let back = [&["--built", "--set", "DatabaseAddress="], &secrets[..]].concat();
    rehearsal.without_touching(DATA_STACK, |rehearsal| {
        rehearsal.deploy_fails(&back, &["--set DatabaseSubnets=… --set DatabaseSecurityGroups=…"])?;
        rehearsal.deploy(&[&back[..], &network].concat())?;
        rehearsal.deploy(&["--built"])?;
        Ok(())
    })?;
    ensure!(
        rehearsal.value(STACK, "Parameters", "DatabaseAddress")?.is_empty(),
        "the address should have been removed"
    );
    rehearsal.expect_new_versions("sixth");
    rehearsal.end_scene("the application changes back to the database of your own", "sixth")?;

    rehearsal.prune(&["--all"])?;
    delete(rehearsal, DATA_STACK, false)?;
    rehearsal.deploy(&["--built", "--template"])?;
    unprotect(rehearsal)?;
    delete(rehearsal, DATA_STACK, true)?;
    rehearsal.deploy(&["--built", "--template"])?;
    rehearsal.end_scene(
        "the stack of the unused database is deleted; the first attempt fails, because the database is protected",
        "sixth",
    )
}
