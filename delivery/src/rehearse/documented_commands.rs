//! The commands of `docs/deploying.md`, in their order, in one shell.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use toolkit::{
    console::{say, step},
    process,
    workspace::Workspace,
};

use super::rehearsal::Rehearsal;
use crate::tools;

const DOCUMENT: &str = "docs/deploying.md";

/// The document that lists the commands which are not run.
const UNPROVEN: &str = "docs/unproven.md";

/// The beginnings of commands that are not run: they need an account, or they would replace the fake packages.
const NOT_RUN: [&str; 3] = ["aws sso login", "curl $api", "cargo lambda build"];

/// Runs the document's commands on an empty account, and returns how many it ran.
pub fn run(workspace: &Workspace, rehearsal: &Rehearsal) -> Result<u64> {
    step(format_args!("Running the commands of {DOCUMENT}"));
    rehearsal.write_packages("first", &[])?;
    let unproven = fs::read_to_string(workspace.root.join(UNPROVEN))?;
    let delivery = workspace.binary("delivery");
    let mut script = String::new();
    let mut count = 0;
    for command in commands(&fs::read_to_string(workspace.root.join(DOCUMENT))?) {
        if let Some(word) = NOT_RUN.iter().find(|word| command.starts_with(**word)) {
            ensure!(unproven.contains(word), "`{word}` of {DOCUMENT} is not run, but {UNPROVEN} does not list it");
            say(format_args!("  not run: {command}"));
            continue;
        }
        // Building would replace the fake packages by real ones.
        let builds = command.starts_with("cargo delivery deploy") && !command.contains("--rollback");
        let command = command.replace("cargo delivery", &delivery.display().to_string());
        let command = if builds { command.replacen(" deploy", " deploy --built", 1) } else { command };
        script += &command;
        script += "\n";
        count += 1;
    }
    ensure!(count > 0, "{DOCUMENT} has no commands");
    let mut shell = Command::new("bash");
    shell.args(["-e", "-u", "-x", "-c", &script]);
    rehearsal.configure(&mut shell);
    shell.env("PATH", tools::path_to_aws_and_cargo_lambda(workspace)?);
    process::run(DOCUMENT, &mut shell)?;
    Ok(count)
}

/// The commands in a document's code blocks of the language `sh`. An indented line, and a line `}` or `done`, belong to the command before.
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
                let continues = line.starts_with(' ') || ["}", "done"].contains(&line);
                match commands.last_mut() {
                    Some(command) if continues => *command = [&**command, line].join("\n"),
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
    fn a_command_includes_its_continuation_lines() {
        let document = "1. Do\n\n   ```sh\n   a b \\\n     c\n   d\n   ```\n\n```sh\nfor e in f; do\n  g\ndone\nh\n```\n\n```json\ni\n```\n";
        assert_eq!(commands(document), ["a b \\\n  c", "d", "for e in f; do\n  g\ndone", "h"]);
    }
}
