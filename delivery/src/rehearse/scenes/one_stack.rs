//! From one stack, as earlier versions of `template.yaml` made it, to two stacks.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    super::{
        aws_stand_in::{DATA_STACK, STACK},
        rehearsal::Rehearsal,
    },
    first_deployment::check_parameters_of_the_database,
};

/// Parameters of the earlier template that `database.yaml` does not have.
const EARLIER: &str = "  Database: { Type: String, Default: create }
  MailFrom: { Type: String }
  MailDomain: { Type: String }
";

pub fn play(rehearsal: &mut Rehearsal) -> Result<()> {
    deploy_earlier_template(rehearsal)?;
    let old = rehearsal.resource(STACK, "Postgres")?;
    rehearsal.without_touching(STACK, |rehearsal| {
        rehearsal.deploy_fails(&["--built"], &["Nothing was changed", "From one stack to two"])
    })?;
    ensure!(rehearsal.stack(DATA_STACK)?.is_null(), "no empty database should have been created");

    let snapshot = json!({ "DBInstanceIdentifier": old, "DBSnapshotIdentifier": "auth-moves" });
    rehearsal.aws("rds", "create_db_snapshot", &snapshot)?;
    rehearsal.deploy(&["--built", "--set", "DatabaseSnapshot=auth-moves", "--set", "PostgresVersion=15"])?;
    check_parameters_of_the_database(rehearsal)?;
    let old = rehearsal.aws("rds", "describe_db_instances", &json!({ "DBInstanceIdentifier": old }))?;
    ensure!(old["DBInstances"][0]["DeletionProtection"] == true, "the old database should have been kept");
    rehearsal.deploy(&["--built"])?;
    rehearsal.forget_versions();
    rehearsal.end_scene(
        "a copy of the database, made from a snapshot, replaces the database in the application's stack, which is kept",
        "sixth",
    )
}

/// Deploys a template with a database and the parameters of the earlier template. Its functions are not needed here.
fn deploy_earlier_template(rehearsal: &Rehearsal) -> Result<()> {
    let database = rehearsal.read("database.yaml")?;
    let (head, rest) = database.split_once("Parameters:\n").context("database.yaml has no parameters")?;
    let template = rehearsal.write("earlier.yaml", &format!("{head}Parameters:\n{EARLIER}{rest}"))?;
    let mut arguments = vec!["deploy", "--template-file", &template, "--stack-name", STACK, "--resolve-s3"];
    arguments.extend(["--no-confirm-changeset", "--parameter-overrides", "Zones=us-east-1a,us-east-1b"]);
    arguments.extend(["PostgresVersion=15", "MailFrom=no-reply@example.com", "MailDomain=example.com"]);
    rehearsal.sam(&arguments, true)
}
