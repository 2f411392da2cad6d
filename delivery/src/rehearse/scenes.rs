//! The deployments that are rehearsed. This file has those of functions and of the application's template.

mod another_database;
mod database;
mod first_deployment;
mod one_stack;
mod sessions;
mod teardown;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    aws_stand_in::{DATA_STACK, STACK},
    fake_packages::{ARM64, X86_64, healthy},
    rehearsal::Rehearsal,
};
use crate::deployed_stack::Versions;

/// Plays every scene. Each one ends with a check of every alias `live`. A scene begins where the one before it ended.
pub fn play(rehearsal: &mut Rehearsal) -> Result<()> {
    first_deployment::play(rehearsal)?;
    rehearsal.without_touching(DATA_STACK, |rehearsal| {
        deployments_that_succeed_or_fail(rehearsal)?;
        rollbacks(rehearsal)?;
        changes_of_the_template(rehearsal)?;
        let before_last = parameters(rehearsal)?;
        old_versions(rehearsal, &before_last)?;
        examples(rehearsal)
    })?;
    database::play(rehearsal)?;
    sessions::play(rehearsal)?;
    functions_beside_the_template(rehearsal)?;
    teardown::play(rehearsal)?;
    another_database::play(rehearsal)
}

fn deployments_that_succeed_or_fail(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.write_packages("second", &[])?;
    rehearsal.deploy(&["--built"])?;
    rehearsal.end_scene("a deployment points every `live` to what was built", "second")?;

    rehearsal.write_packages("third", &[("signin", json!({ "answer": { "statusCode": 503 } }))])?;
    rehearsal
        .deploy_fails(&["--built"], &["signin", "503", "Every alias `live` points to the same version as before"])?;
    rehearsal.end_scene("a version that answers 503 gets no requests", "second")?;

    rehearsal.write_packages("third", &[("dashboard", json!({ "error": "exited with error: exit status: 1" }))])?;
    rehearsal.deploy_fails(
        &["--built"],
        &["dashboard", "exit status: 1", "Every alias `live` points to the same version as before"],
    )?;
    rehearsal.end_scene("a version that does not start gets no requests", "second")?;

    rehearsal.write_packages("third", &[("migrate", json!({ "error": "the schema is newer" }))])?;
    rehearsal.deploy_fails(&["--built"], &["the database was not migrated", "the schema is newer"])?;
    rehearsal.end_scene("if the migration fails, the other functions stay as they are", "second")?;

    rehearsal.write_packages("third", &[("sweep", json!({ "answer": {}, "stuck": true }))])?;
    rehearsal
        .deploy_fails(&["--built"], &["sweep is stuck", "Every alias `live` points to the same version as before"])?;
    rehearsal.end_scene("if one `live` cannot be moved, those that were moved are restored", "second")?;

    rehearsal.write_packages("third", &[])?;
    rehearsal.write_package("refresh", X86_64, &healthy("third"))?;
    rehearsal.deploy_fails(&["--built"], &["refresh", "x86_64"])?;
    rehearsal.end_scene("a package for another machine is not deployed", "second")?;

    rehearsal.write_packages("third", &[])?;
    rehearsal.deploy(&["--built"])?;
    rehearsal.end_scene("a deployment after failed ones succeeds", "third")?;
    rehearsal.deploy(&["--built"])?;
    rehearsal.end_scene(
        "deploying the same build again publishes no version and keeps the record of the last deployment",
        "third",
    )?;
    Ok(())
}

fn rollbacks(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.deploy(&["--rollback"])?;
    rehearsal.end_scene("a rollback restores the versions that were live before the last deployment", "second")?;
    rehearsal.deploy(&["--rollback"])?;
    rehearsal.end_scene("a second rollback undoes the first", "third")?;
    Ok(())
}

fn changes_of_the_template(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.deploy_fails(
        &["--built", "--set", "JwtSigner=c"],
        &["sam deploy", "Every alias `live` points to the same version as before"],
    )?;
    rehearsal.end_scene("a value that the template does not allow changes nothing", "third")?;

    rehearsal.write_packages("fourth", &[("refresh", json!({ "answer": { "statusCode": 502 } }))])?;
    rehearsal.deploy_fails(
        &["--built", "--set", "JwtSigner=b"],
        &["refresh", "502", "Every alias `live` points to the same version as before"],
    )?;
    rehearsal.end_scene("aliases that CloudFormation had already moved are restored", "third")?;

    rehearsal.write_packages("fourth", &[])?;
    rehearsal.deploy(&["--built", "--template"])?;
    rehearsal.end_scene("template and functions are deployed together", "fourth")?;
    rehearsal.deploy(&["--rollback"])?;
    rehearsal.end_scene(
        "a rollback of a deployment with the template restores the versions that were live before it",
        "third",
    )?;
    rehearsal.deploy(&["--rollback"])?;
    rehearsal.end_scene("a second rollback undoes that, too", "fourth")?;

    rehearsal.write_packages("later", &[])?;
    rehearsal.deploy(&["--built"])?;
    rehearsal.end_scene("functions are deployed without the template", "later")?;
    rehearsal.deploy(&["--built", "--set", "AlarmMail=operations@example.com"])?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("after that, the template is deployed with the same functions", "later")?;
    Ok(())
}

/// Returns the versions that a rollback restores afterwards.
fn parameters(rehearsal: &mut Rehearsal) -> Result<Versions> {
    let [private, public] = ["JwtPrivateKeySecret", "JwtPublicKeysSecret"].map(|parameter| {
        let secret = json!({ "Name": format!("jwt-auth/production/{parameter}"), "SecretString": "-----BEGIN …" });
        let arn =
            rehearsal.aws("secretsmanager", "create_secret", &secret)?["ARN"].as_str().unwrap_or_default().to_owned();
        anyhow::Ok(format!("{parameter}={arn}"))
    });
    rehearsal.deploy(&["--built", "--set", &private?, "--set", &public?])?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("secrets are named by their ARNs", "later")?;

    let before = rehearsal.live()?;
    rehearsal.deploy(&["--built", "--set", "PasswordMinLength=16"])?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("a changed parameter alone publishes new versions", "later")?;
    rehearsal.deploy(&["--rollback"])?;
    rehearsal.check_live(&before)?;
    rehearsal.deploy(&["--rollback"])?;
    rehearsal.end_scene("the earlier versions still exist for a rollback", "later")?;
    Ok(before)
}

fn old_versions(rehearsal: &mut Rehearsal, before: &Versions) -> Result<()> {
    rehearsal.prune(&["--keep", "1"])?;
    rehearsal.deploy(&["--rollback"])?;
    rehearsal.check_live(before)?;
    rehearsal.deploy(&["--rollback"])?;
    rehearsal.end_scene("prune keeps the versions that are live and that a rollback needs", "later")?;
    rehearsal.prune(&["--all"])?;
    rehearsal.deploy_fails(&["--rollback"], &["does not exist any more, so nothing was changed"])?;
    rehearsal.end_scene("prune --all keeps only what is live, and a rollback then changes nothing", "later")?;
    Ok(())
}

fn examples(rehearsal: &mut Rehearsal) -> Result<()> {
    let function = format!("{STACK}-example");
    let trust = json!({ "Statement": { "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" } });
    let role = json!({ "RoleName": "somebody", "AssumeRolePolicyDocument": trust.to_string() });
    let role = rehearsal.aws("iam", "create_role", &role)?["Role"]["Arn"].clone();
    let somebodys =
        json!({ "FunctionName": function, "Role": role, "Code": { "ImageUri": "somebody" }, "PackageType": "Image" });
    rehearsal.aws("lambda", "create_function", &somebodys)?;
    rehearsal.deploy_fails(
        &["--built", "--set", "Examples=on"],
        &["sam deploy", "Every alias `live` points to the same version as before"],
    )?;
    rehearsal.end_scene("an update that fails is rolled back, and changes no alias", "later")?;

    rehearsal.aws("lambda", "delete_function", &json!({ "FunctionName": function }))?;
    rehearsal.deploy(&["--built", "--set", "Examples=on"])?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("after the cause is removed, the same deployment works", "later")?;
    ensure!(rehearsal.live()?.contains_key("example"), "the examples should have been deployed");
    rehearsal.deploy(&["--built", "--set", "Examples=off"])?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("the examples are deleted, and the other functions are deployed without them", "later")?;
    ensure!(!rehearsal.live()?.contains_key("example"), "the examples should have been deleted");
    Ok(())
}

fn functions_beside_the_template(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.write_package("welcome", ARM64, &healthy("fifth"))?;
    rehearsal.cargo_lambda_deploy("welcome")?;
    rehearsal.check_answer("welcome", "fifth")?;
    rehearsal.write_packages("fifth", &[])?;
    rehearsal.deploy(&["--built"])?;
    rehearsal.end_scene(
        "`cargo lambda deploy` deploys a single function of the stack, and the next deployment works",
        "fifth",
    )?;

    rehearsal.delete_live("jwks")?;
    rehearsal.deploy_fails(&["--built"], &["jwks", "--template"])?;
    rehearsal.end_scene("if the stack lacks a function, a deployment stops before it changes anything", "fifth")?;
    Ok(())
}
