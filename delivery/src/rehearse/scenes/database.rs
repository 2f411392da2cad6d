//! Changes of the database's stack.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    super::{
        aws_stand_in::{DATA_STACK, STACK},
        rehearsal::Rehearsal,
    },
    first_deployment::check_parameters_of_the_database,
};

pub fn play(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.without_touching(STACK, another_class)?;
    enough_connections(rehearsal)?;
    another_snapshot(rehearsal)?;
    changed_by_somebody_else(rehearsal)?;
    rehearsal.without_touching(DATA_STACK, the_template_alone)
}

fn another_class(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.without_touching(DATA_STACK, |rehearsal| {
        rehearsal.deploy_fails(
            &["--built", "--set", "ReserveConcurrency=on"],
            &["200 connections", "DatabaseClass=db.t4g.medium"],
        )?;
        rehearsal.deploy_fails(&["--built", "--set", "DatabaseSubnets=subnet-1"], &[DATA_STACK, "Leave it out"])?;
        rehearsal.deploy_fails(&["--built", "--set", "DatabaseClass=db.t4g.nano"], &["the database was not deployed"])
    })?;
    let database = rehearsal.stack(DATA_STACK)?;
    rehearsal.deploy_fails(&["--built", "--set", "PostgresVersion=15"], &["the database was not deployed"])?;
    let now = rehearsal.stack(DATA_STACK)?;
    ensure!(
        now["resources"] == database["resources"],
        "the failed change to an older version of PostgreSQL should have been undone"
    );
    ensure!(rehearsal.value(DATA_STACK, "Parameters", "PostgresVersion")? == "18", "the version should be the same");

    rehearsal.deploy(&["--built", "--set", "DatabaseClass=db.t4g.medium"])?;
    let instance = rehearsal.resource(DATA_STACK, "Postgres")?;
    ensure!(database["resources"]["Postgres"] == instance, "the instance should not have been replaced");
    ensure!(rehearsal.value(DATA_STACK, "Outputs", "MaxConnections")? == "200", "the class should be larger");
    rehearsal.end_scene("another class of the database changes only the database's stack", "later")
}

fn enough_connections(rehearsal: &mut Rehearsal) -> Result<()> {
    rehearsal.without_touching(DATA_STACK, |rehearsal| {
        rehearsal.deploy(&["--built", "--set", "ReserveConcurrency=on"])?;
        rehearsal.deploy_fails(
            &["--built", "--set", "DatabaseClass=db.t4g.small"],
            &["200 connections", "DatabaseClass=db.t4g.medium"],
        )
    })?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("a larger database has enough connections for reserved concurrency", "later")
}

fn another_snapshot(rehearsal: &mut Rehearsal) -> Result<()> {
    let before = create_snapshot(rehearsal, "auth-at-0930")?;
    let replacement = ["--built", "--set", "DatabaseSnapshot=auth-at-0930"];
    rehearsal
        .without_touching(DATA_STACK, |rehearsal| rehearsal.deploy_fails(&replacement, &["--sign-everybody-out"]))?;
    let said = rehearsal.deploy(&[&replacement[..], &["--sign-everybody-out"]].concat())?;
    ensure!(said.contains("the database has another DatabaseAddress"), "the reason should have been printed");
    ensure!(said.matches("Migrating the database").count() == 1, "only the new database should have been migrated");
    ensure!(rehearsal.resource(DATA_STACK, "Postgres")? != before, "the database should have been replaced");
    let old = rehearsal.aws("rds", "describe_db_instances", &json!({ "DBInstanceIdentifier": before }))?;
    ensure!(old["DBInstances"][0]["DeletionProtection"] == true, "the old database should have been kept");
    check_parameters_of_the_database(rehearsal)?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene("a database from a snapshot replaces the database, and the application uses it", "later")
}

/// Creates a snapshot of the database, and returns the database's name.
fn create_snapshot(rehearsal: &mut Rehearsal, name: &str) -> Result<String> {
    let database = rehearsal.resource(DATA_STACK, "Postgres")?;
    let arguments = json!({ "DBInstanceIdentifier": database, "DBSnapshotIdentifier": name });
    rehearsal.aws("rds", "create_db_snapshot", &arguments)?;
    Ok(database)
}

fn changed_by_somebody_else(rehearsal: &mut Rehearsal) -> Result<()> {
    create_snapshot(rehearsal, "auth-at-1030")?;
    rehearsal.sam(
        &[
            "deploy",
            "--template-file",
            "database.yaml",
            "--stack-name",
            DATA_STACK,
            "--resolve-s3",
            "--no-confirm-changeset",
            "--tags",
            "template=another",
            "--parameter-overrides",
            "DatabaseSnapshot=auth-at-1030",
        ],
        true,
    )?;
    rehearsal.without_touching(DATA_STACK, |rehearsal| {
        rehearsal.without_touching(STACK, |rehearsal| {
            rehearsal.deploy_fails(&["--built"], &["the database was replaced", "--sign-everybody-out"])
        })?;
        let said = rehearsal.deploy(&["--built", "--sign-everybody-out"])?;
        ensure!(
            said.contains("the database has another DatabaseAddress"),
            "the output should say that the address of the database has changed"
        );
        ensure!(
            said.contains("cargo delivery deploy --stage production --database"),
            "the output should say that database.yaml has changed"
        );
        check_parameters_of_the_database(rehearsal)
    })?;
    rehearsal.expect_new_versions("later");
    rehearsal.end_scene(
        "if somebody else replaced the database, the application uses the new one after the next deployment",
        "later",
    )?;

    rehearsal.deploy(&["--built", "--database"])?;
    let said = rehearsal.deploy(&["--built"])?;
    ensure!(!said.contains("--database"), "database.yaml should have been deployed");
    rehearsal.end_scene("database.yaml is deployed on request", "later")
}

/// Without `cargo delivery`, `sam deploy` can deploy `template.yaml`, which needs only a database.
fn the_template_alone(rehearsal: &mut Rehearsal) -> Result<()> {
    const ALONE: &str = "alone";
    let names =
        ["DatabaseAddress", "DatabaseResourceId", "DatabaseOwnerSecret", "DatabaseSubnets", "DatabaseSecurityGroups"];
    let mut parameters = vec!["MailFrom=no-reply@example.com".to_owned(), "MailDomain=example.com".to_owned()];
    for name in names {
        parameters.push(format!("{name}={}", rehearsal.value(DATA_STACK, "Outputs", name)?));
    }
    let mut arguments =
        vec!["deploy", "--template-file", ".aws-sam/packaged.yaml", "--stack-name", ALONE, "--resolve-s3"];
    arguments.extend(["--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--parameter-overrides"]);
    arguments.extend(parameters.iter().map(String::as_str));
    rehearsal.sam(&arguments, true)?;
    ensure!(rehearsal.stack(ALONE)?["description"]["StackStatus"] == "CREATE_COMPLETE", "the stack should exist");
    rehearsal.aws("cloudformation", "delete_stack", &json!({ "StackName": ALONE }))?;
    rehearsal.end_scene("sam deploy alone deploys the application for an existing database", "later")
}
