//! Stacks in CloudFormation: what a stack was made from, and the command that deploys a template to it.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use toolkit::{process, workspace::Workspace};

use crate::{
    aws::Aws,
    templates::{BUILD, Parameters, Template},
    tools,
};

/// The stack's tag that holds the fingerprint of its template.
const TAG: &str = "template";

/// What CloudFormation says about a stack.
#[derive(Debug, Default, PartialEq)]
pub struct Description {
    /// Its parameters without `Build`, which `cargo delivery deploy` computes.
    pub parameters: Parameters,
    pub outputs: Parameters,
    /// The fingerprint of its template, if `cargo delivery deploy` deployed it.
    pub fingerprint: Option<String>,
    /// When the last update failed and was rolled back. Empty if it succeeded.
    pub failed_at: String,
}

impl Description {
    /// Whether the stack was made from this template.
    pub fn is_of(&self, template: &Template) -> bool {
        self.fingerprint.as_deref() == Some(&template.fingerprint)
    }

    fn of(stack: &Value) -> Self {
        let mut parameters = table(&stack["Parameters"], "ParameterKey", "ParameterValue");
        parameters.remove(BUILD);
        Self {
            parameters,
            outputs: table(&stack["Outputs"], "OutputKey", "OutputValue"),
            fingerprint: table(&stack["Tags"], "Key", "Value").remove(TAG),
            failed_at: if status(stack) == "UPDATE_ROLLBACK_COMPLETE" {
                stack["LastUpdatedTime"].as_str().unwrap_or_default().to_owned()
            } else {
                String::new()
            },
        }
    }
}

/// The status of a stack whose first change set was not executed. CloudFormation changes nothing in this state.
const ANNOUNCED: &str = "REVIEW_IN_PROGRESS";

/// Describes a stack. `None` if there is no stack. Returns an error if nothing can be deployed to it now.
pub fn describe_ready(aws: &mut Aws, name: &str) -> Result<Option<Description>> {
    let stack = describe(aws, name)?;
    match status(&stack) {
        "" | ANNOUNCED => Ok(None),
        unusable @ ("CREATE_FAILED" | "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "DELETE_FAILED") => bail!(
            "the stack {name} is {unusable}, so nothing can be deployed to it. Delete this stack first, and only this one (docs/deploying.md, Tearing it down). \
             Then try again"
        ),
        busy if busy == "UPDATE_ROLLBACK_FAILED" || is_in_progress(busy) => {
            bail!("the stack {name} is {busy}. Repair it in CloudFormation, or wait; then try again")
        }
        _ => Ok(Some(Description::of(&stack))),
    }
}

/// Whether CloudFormation is changing a stack now.
pub fn is_changing(aws: &mut Aws, name: &str) -> Result<bool> {
    Ok(is_in_progress(status(&describe(aws, name)?)))
}

/// What `sam deploy` deploys.
pub struct StackUpdate<'a> {
    /// The section of samconfig.toml.
    pub stage: &'a str,
    pub stack: &'a str,
    pub template: &'a Template,
    /// A file with the template's text.
    pub file: &'a Path,
    /// New values. Other parameters keep their values.
    pub parameters: &'a Parameters,
}

impl StackUpdate<'_> {
    /// Deploys the template, and waits for CloudFormation.
    pub fn run(&self, workspace: &Workspace) -> Result<()> {
        let mut sam = tools::sam_in_account(workspace)?;
        sam.args(["deploy", "--template-file"]).arg(self.file);
        sam.arg("--config-file").arg(workspace.root.join("samconfig.toml"));
        let tag = format!("{TAG}={}", self.template.fingerprint);
        sam.args(["--config-env", self.stage, "--stack-name", self.stack, "--tags", &tag]);
        sam.args([
            "--resolve-s3",
            "--capabilities",
            "CAPABILITY_IAM",
            "--no-confirm-changeset",
            "--no-fail-on-empty-changeset",
        ]);
        add_parameters(&mut sam, self.parameters);
        process::run("sam deploy", &mut sam)
    }
}

fn add_parameters(sam: &mut Command, parameters: &Parameters) {
    if !parameters.is_empty() {
        sam.arg("--parameter-overrides");
    }
    for (name, value) in parameters {
        sam.arg(format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
    }
}

/// CloudFormation's description of a stack. Null if there is no stack.
fn describe(aws: &mut Aws, name: &str) -> Result<Value> {
    let stacks = aws.call("cloudformation", "describe_stacks", &json!({ "StackName": name }))?;
    Ok(stacks["Stacks"][0].clone())
}

fn status(stack: &Value) -> &str {
    stack["StackStatus"].as_str().unwrap_or_default()
}

fn is_in_progress(status: &str) -> bool {
    status.ends_with("_IN_PROGRESS") && status != ANNOUNCED
}

/// The values of a list of objects, by their names.
fn table(list: &Value, name: &str, value: &str) -> Parameters {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| Some((item[name].as_str()?.to_owned(), item[value].as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Description, Template, is_in_progress};

    #[test]
    fn a_stack_that_was_only_announced_is_not_in_progress() {
        assert!(is_in_progress("CREATE_IN_PROGRESS") && is_in_progress("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"));
        assert!(!is_in_progress("REVIEW_IN_PROGRESS") && !is_in_progress("UPDATE_COMPLETE"));
    }

    #[test]
    fn a_description_has_parameters_outputs_and_the_template_of_the_tag() {
        let template = Template::parse("template.yaml", "Parameters: {}");
        let stack = |tag: &str| {
            Description::of(&json!({
                "Parameters": [
                    { "ParameterKey": "Build", "ParameterValue": "before" },
                    { "ParameterKey": "MailFrom", "ParameterValue": "no-reply@example.com" },
                ],
                "Outputs": [{ "OutputKey": "ApiUrl", "OutputValue": "https://example.com" }],
                "Tags": [{ "Key": "template", "Value": tag }],
            }))
        };
        let described = stack(&template.fingerprint);
        assert_eq!(described.parameters, [("MailFrom".to_owned(), "no-reply@example.com".to_owned())].into());
        assert_eq!(described.outputs["ApiUrl"], "https://example.com");
        assert!(described.is_of(&template));
        assert!(!stack("another").is_of(&template));
    }
}
