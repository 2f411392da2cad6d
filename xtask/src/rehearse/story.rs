//! `docs/deploying.md` as a script: the commands of its blocks, in their order, in one shell.

use std::{fs, process::Command};

use anyhow::{Result, ensure};

use super::stage::Stage;
use crate::{
    console::{say, step},
    stack::{process, tools},
    workspace::Workspace,
};

const DOCUMENT: &str = "docs/deploying.md";

/// Where those that need an account are named.
const UNPROVEN: &str = "docs/unproven.md";

/// Commands that are not run: those that need an account, and those that would build what stand-ins stand in for.
const NOT_RUN: [&str; 3] = ["aws sso login", "curl $api", "cargo lambda build"];

/// Runs the document's commands on an empty account, and returns how many there were.
pub fn follow(workspace: &Workspace, stage: &Stage) -> Result<u64> {
    step(format_args!("Following {DOCUMENT}"));
    stage.packages("first", &[])?;
    let unproven = fs::read_to_string(workspace.root.join(UNPROVEN))?;
    let xtask = workspace.binary("xtask");
    let mut script = String::new();
    let mut run = 0;
    for command in commands(&fs::read_to_string(workspace.root.join(DOCUMENT))?) {
        if let Some(word) = NOT_RUN.iter().find(|word| command.starts_with(**word)) {
            ensure!(unproven.contains(word), "`{word}` of {DOCUMENT} is not run, and {UNPROVEN} does not say so");
            say(format_args!("  not run: {command}"));
            continue;
        }
        // The packages are stand-ins: building would put the real ones in their place.
        let builds = command.starts_with("cargo xtask deploy") && !command.contains("--rollback");
        let command = command.replace("cargo xtask", &xtask.display().to_string());
        let command = if builds { command.replacen(" deploy", " deploy --built", 1) } else { command };
        script += &command;
        script += "\n";
        run += 1;
    }
    ensure!(run > 0, "{DOCUMENT} has no commands");
    let mut shell = Command::new("bash");
    shell.args(["-e", "-u", "-x", "-c", &script]);
    let mut shell = stage.on(shell);
    shell.env("PATH", tools::path_to_aws_and_cargo_lambda(workspace)?);
    process::run(DOCUMENT, &mut shell)?;
    Ok(run)
}

/// The commands in a document's blocks of shell: those that go on in the next line, or in an indented one up to its end, are one.
fn commands(document: &str) -> Vec<String> {
    let mut commands = Vec::<String>::new();
    let mut block = None;
    for line in document.lines() {
        let indent = line.len() - line.trim_start().len();
        match block {
            None if line.trim() == "```sh" => block = Some(indent),
            None => {}
            Some(_) if line.trim() == "```" => block = None,
            Some(margin) => {
                let line = line.get(margin..).unwrap_or_default();
                let goes_on = line.starts_with(' ') || ["}", "done"].contains(&line);
                match commands.last_mut() {
                    Some(command) if goes_on => *command = [&**command, line].join("\n"),
                    _ => commands.push(line.to_owned()),
                }
            }
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn a_command_is_as_long_as_it_goes_on() {
        let document = "1. Do\n\n   ```sh\n   a b \\\n     c\n   d\n   ```\n\n```sh\nfor e in f; do\n  g\ndone\nh\n```\n\n```json\ni\n```\n";
        assert_eq!(commands(document), ["a b \\\n  c", "d", "for e in f; do\n  g\ndone", "h"]);
    }
}
