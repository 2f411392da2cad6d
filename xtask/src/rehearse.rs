//! `cargo xtask rehearse`: the command that deploys, for real, to an AWS in one process (`xtask/tools/rehearsal.py`).

mod stage;
mod story;

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use self::stage::{ARM64, Stage, X86_64, fine};
use crate::{console::say, stack::home::Home, workspace::Workspace};

/// Rehearse deployments that succeed, that fail half-way and that are taken back, without an AWS account.
///
/// `cargo xtask deploy`, with the `sam deploy` in it, makes the stack in moto from an empty account, and ships stand-ins to it: packages
/// that say what their function is to answer. After each deployment, which version is behind each `live` has to be the right one. Then
/// the commands of docs/deploying.md are run, one after the other. What is left out is in docs/unproven.md.
#[derive(clap::Args)]
pub struct Args;

pub fn run(_: &Args) -> Result<ExitCode> {
    let scenes = rehearse(&Workspace::load()?)?;
    say(format_args!("\n{scenes} scenes, each as it should be"));
    Ok(ExitCode::SUCCESS)
}

/// Plays every scene, and returns how many there are.
pub fn rehearse(workspace: &Workspace) -> Result<u64> {
    let home = Home::ephemeral(workspace)?;
    let mut stage = Stage::open(workspace, &home)?;
    deployments(&mut stage)?;
    let scenes = stage.scenes();
    drop(stage);
    Ok(scenes + story::follow(workspace, &Stage::open(workspace, &home)?)?)
}

fn deployments(stage: &mut Stage) -> Result<()> {
    stage.packages("first", &[])?;
    stage.fails(&["--built"], &["MailDomain", "MailFrom"])?;
    stage.deploys(&["--built", "--set", "MailFrom=no-reply@example.com", "--set", "MailDomain=example.com"])?;
    stage.scene("the first deployment makes the stack, migrates, and asks every function", "first")?;

    stage.packages("second", &[])?;
    stage.deploys(&["--built"])?;
    stage.scene("a deployment leads every `live` to what was built", "second")?;

    stage.packages("third", &[("signin", json!({ "answer": { "statusCode": 503 } }))])?;
    stage.fails(&["--built"], &["signin", "503", "every `live` leads where it led before"])?;
    stage.scene("a version that answers 503 is not let near a request", "second")?;

    stage.packages("third", &[("dashboard", json!({ "error": "exited with error: exit status: 1" }))])?;
    stage.fails(&["--built"], &["dashboard", "exit status: 1", "every `live` leads where it led before"])?;
    stage.scene("nor is one that does not start", "second")?;

    stage.packages("third", &[("migrate", json!({ "error": "the schema is newer" }))])?;
    stage.fails(&["--built"], &["the database was not migrated", "the schema is newer"])?;
    stage.scene("where migrate refuses, the other functions stay as they are", "second")?;

    stage.packages("third", &[("sweep", json!({ "answer": {}, "stuck": true }))])?;
    stage.fails(&["--built"], &["sweep is stuck", "every `live` leads where it led before"])?;
    stage.scene("where one `live` does not move, those that did are put back", "second")?;

    stage.packages("third", &[])?;
    stage.package("refresh", X86_64, &fine("third"))?;
    stage.fails(&["--built"], &["refresh", "x86_64"])?;
    stage.scene("a package for another machine is not shipped", "second")?;

    stage.packages("third", &[])?;
    stage.deploys(&["--built"])?;
    stage.scene("what was broken is mended", "third")?;
    stage.deploys(&["--built"])?;
    stage.scene("deploying the same again makes no version, and forgets nothing", "third")?;

    stage.deploys(&["--rollback"])?;
    stage.scene("and taken back on demand", "second")?;
    stage.deploys(&["--rollback"])?;
    stage.scene("and forth again", "third")?;

    stage.fails(&["--built", "--set", "JwtSigner=c"], &["sam deploy", "every `live` leads where it led before"])?;
    stage.scene("a value that the template does not allow changes nothing", "third")?;

    stage.packages("fourth", &[("refresh", json!({ "answer": { "statusCode": 502 } }))])?;
    stage.fails(&["--built", "--set", "JwtSigner=b"], &["refresh", "502", "every `live` leads where it led before"])?;
    stage.scene("what CloudFormation had let near requests already is put back", "third")?;

    stage.packages("fourth", &[])?;
    stage.deploys(&["--built", "--template"])?;
    stage.scene("template and functions in one go", "fourth")?;
    stage.deploys(&["--rollback"])?;
    stage.scene("which is taken back as well", "third")?;
    stage.deploys(&["--rollback"])?;
    stage.scene("and forth again, too", "fourth")?;

    stage.packages("later", &[])?;
    stage.deploys(&["--built"])?;
    stage.scene("functions alone", "later")?;
    stage.deploys(&["--built", "--set", "AlarmMail=operations@example.com"])?;
    stage.begins_anew("later");
    stage.scene("and after that the template, with the same functions", "later")?;

    // Names of secrets may be ARNs, which are long.
    let secret = |name: &str| {
        format!("{name}=arn:aws:secretsmanager:eu-central-1:123456789012:secret:jwt-auth/production/{name}-AbCdEf")
    };
    let secrets = ["DatabaseUrlSecret", "JwtPrivateKeySecret", "JwtPublicKeysSecret"].map(secret);
    stage.deploys(&["--built", "--set", &secrets[0], "--set", &secrets[1], "--set", &secrets[2]])?;
    stage.begins_anew("later");
    stage.scene("secrets that are named by their ARNs", "later")?;

    let before = stage.live()?;
    stage.deploys(&["--built", "--set", "PasswordMinLength=16"])?;
    stage.begins_anew("later");
    stage.scene("a parameter alone makes new versions", "later")?;
    stage.deploys(&["--rollback"])?;
    stage.is_live(&before)?;
    stage.deploys(&["--rollback"])?;
    stage.scene("and the versions before are still there to go back to", "later")?;

    stage.prunes(&["--keep", "1"])?;
    stage.deploys(&["--rollback"])?;
    stage.is_live(&before)?;
    stage.deploys(&["--rollback"])?;
    stage.scene("deleting old versions keeps what is live and what a rollback needs", "later")?;
    stage.prunes(&["--all"])?;
    stage.fails(&["--rollback"], &["is not there any more, so nothing was changed"])?;
    stage.scene("after a leak nothing but what is live is kept, and no rollback begins that cannot end", "later")?;

    stage.package("public", ARM64, &fine("fifth"))?;
    stage.cargo_lambda_deploy("public")?;
    stage.answers("public", "fifth")?;
    stage.packages("fifth", &[])?;
    stage.deploys(&["--built"])?;
    stage.scene(
        "`cargo lambda deploy` ships a single function of the stack, and the next deployment bears it",
        "fifth",
    )?;

    stage.loses("example")?;
    stage.fails(&["--built"], &["example", "--template"])?;
    stage.scene("a function that the stack lacks stops a deployment before it begins", "fifth")?;
    Ok(())
}
