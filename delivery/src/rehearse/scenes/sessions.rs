//! Sessions move from the database to DynamoDB and back.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::super::{
    aws_stand_in::{DATA_STACK, STACK},
    rehearsal::Rehearsal,
};

const OUT: &str = "--sign-everybody-out";

pub fn play(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.without_touching(DATA_STACK, |rehearsal| {
        failed_move(rehearsal)?;
        let first = to_dynamodb(rehearsal)?;
        back(rehearsal, &first)?;
        to_another_table(rehearsal, &first)
    })
}

/// After a failed move, the earlier versions are live. Some requests may have used the new table, so the next move needs another one.
fn failed_move(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.write_packages("later", &[("refresh", json!({ "answer": { "statusCode": 503 } }))])?;
    let to_dynamodb = ["--built", "--set", "StateStore=dynamodb", OUT];
    rehearsal
        .deploy_fails(&to_dynamodb, &["refresh", "503", "Every alias `live` points to the same version as before"])?;
    rehearsal.write_packages("later", &[])?;
    ensure!(state_table(rehearsal)?.is_empty(), "sessions should be in the database");
    rehearsal.deploy_fails(&["--built"], &["everybody must sign in again", OUT])?;
    rehearsal.end_scene("if a move of sessions fails, they stay where they were", "later")
}

fn to_dynamodb(rehearsal: &mut Rehearsal) -> Result<String> {
    let to_dynamodb = ["--built", "--set", "StateStore=dynamodb"];
    rehearsal.without_touching(STACK, |rehearsal| {
        rehearsal.deploy_fails(&to_dynamodb, &["everybody must sign in again", OUT])
    })?;
    let secrets = secrets(rehearsal)?;
    rehearsal.deploy(&[&to_dynamodb[..], &[OUT]].concat())?;
    ensure!(secrets != self::secrets(rehearsal)?, "both secrets should have changed");
    let table = check_table(rehearsal)?;
    rehearsal.deploy(&["--built", "--template"])?;
    ensure!(check_table(rehearsal)? == table, "a deployment should keep the table");
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("sessions move to a table in DynamoDB", "later")?;
    Ok(table)
}

fn back(rehearsal: &mut Rehearsal, table: &str) -> Result<()> {
    let to_database = ["--built", "--set", "StateStore=postgresql"];
    rehearsal.without_touching(STACK, |rehearsal| rehearsal.deploy_fails(&to_database, &[OUT]))?;
    rehearsal.deploy(&[&to_database[..], &[OUT]].concat())?;
    ensure!(state_table(rehearsal)?.is_empty(), "no function should use a table");
    ensure!(exists(rehearsal, table)?, "the table should have been kept");
    rehearsal.deploy_fails(&["--rollback"], &["moved the sessions"])?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("sessions move back to the database, and a rollback does not move them again", "later")
}

fn to_another_table(rehearsal: &mut Rehearsal, first: &str) -> Result<()> {
    let generation = first.rsplit("-state-").next().unwrap_or_default();
    let generation = format!("StateGeneration={generation}");
    let again = ["--built", "--set", "StateStore=dynamodb", OUT];
    rehearsal.without_touching(STACK, |rehearsal| {
        rehearsal.deploy_fails(&[&again[..], &["--set", &generation]].concat(), &[first, "exists already"])
    })?;
    rehearsal.deploy(&again)?;
    let second = check_table(rehearsal)?;
    ensure!(second != first, "a table that was out of use should not be used again");
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("sessions never move to a table that was out of use", "later")?;

    let unprotected = json!({ "TableName": second, "DeletionProtectionEnabled": false });
    rehearsal.aws("dynamodb", "update_table", &unprotected)?;
    rehearsal.aws("dynamodb", "delete_table", &json!({ "TableName": second }))?;
    rehearsal.deploy(&["--built", OUT])?;
    ensure!(check_table(rehearsal)? != second, "a new table should have been created");
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("a new table replaces one that was lost", "later")?;

    rehearsal.deploy(&["--built", "--set", "StateStore=postgresql", OUT])?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("sessions are in the database again", "later")
}

/// The table that the functions use. It must exist, be protected, and be the output of the stack.
fn check_table(rehearsal: &mut Rehearsal) -> Result<String> {
    let table = state_table(rehearsal)?;
    let described = rehearsal.aws("dynamodb", "describe_table", &json!({ "TableName": table }))?;
    ensure!(described["Table"]["DeletionProtectionEnabled"] == true, "{table} should be protected");
    ensure!(rehearsal.value(STACK, "Outputs", "StateTableName")? == table, "{table} should be the output of the stack");
    Ok(table)
}

fn exists(rehearsal: &mut Rehearsal, table: &str) -> Result<bool> {
    Ok(!rehearsal.aws("dynamodb", "describe_table", &json!({ "TableName": table }))?.is_null())
}

/// The variable `STATE_TABLE` of a function that uses sessions.
fn state_table(rehearsal: &mut Rehearsal) -> Result<String> {
    variable(rehearsal, "STATE_TABLE")
}

/// The references to both signing secrets.
fn secrets(rehearsal: &mut Rehearsal) -> Result<[String; 2]> {
    Ok([variable(rehearsal, "JWT_SECRET_KEY")?, variable(rehearsal, "JWT_ADDITIONAL_SECRET_KEYS")?])
}

fn variable(rehearsal: &mut Rehearsal, name: &str) -> Result<String> {
    let function = json!({ "FunctionName": format!("{STACK}-refresh"), "Qualifier": "live" });
    let function = rehearsal.aws("lambda", "get_function_configuration", &function)?;
    let value = function["Environment"]["Variables"][name].as_str();
    value.map(str::to_owned).with_context(|| format!("refresh has no variable {name}"))
}
