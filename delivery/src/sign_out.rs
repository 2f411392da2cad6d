//! Deployments that sign everybody out: with new secrets that sign tokens, or with sessions in another place.

use std::time::SystemTime;

use anyhow::{Result, bail};
use serde_json::json;
use time::{OffsetDateTime, macros::format_description};

use crate::{
    alias::Aliases, cloudformation::Description, data_stack::ADDRESS, deployed_stack::DeployedStack, request::Request,
    templates::Parameters,
};

/// A function that uses sessions. All functions use the same ones.
const FUNCTION: &str = "refresh";

/// The parameters of `template.yaml` that get a new value when everybody is signed out: one for each signing secret, and one for the table of
/// sessions.
const GENERATIONS: [&str; 3] = ["JwtGenerationA", "JwtGenerationB", "StateGeneration"];

/// New values for the parameters that sign everybody out.
pub fn new_generations() -> Parameters {
    let format = format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]");
    #[expect(clippy::disallowed_methods, reason = "the time makes the new values unique")]
    let now = OffsetDateTime::from(SystemTime::now()).format(format).expect("a time has all parts");
    GENERATIONS.map(|name| (name.to_owned(), now.clone())).into()
}

/// Whether a deployment moves the sessions to a new table. Returns an error if it would move them and was not asked to sign everybody out, or if it
/// would use a table that exists already and is not the live one. `before` is what was live before, and `parameters` are those of the application
/// after the deployment.
pub fn check(
    request: &Request,
    stack: &mut DeployedStack<'_>,
    before: &Aliases,
    parameters: &Parameters,
) -> Result<bool> {
    let live = match before.get(FUNCTION) {
        Some(live) => stack.session_table(FUNCTION, &live.function_version)?,
        None => None,
    };
    let template = &request.application;
    let after = match template.value(parameters, "StateStore") {
        "dynamodb" => stack.name_of_session_table(template.value(parameters, "StateGeneration")),
        _ => String::new(),
    };
    if live.as_ref() == Some(&after) {
        return Ok(false);
    }
    if live.is_some() && !request.signs_everybody_out {
        bail!(
            "this deployment moves the sessions, so everybody must sign in again. Add --sign-everybody-out (docs/deploying.md, Sessions in DynamoDB)"
        );
    }
    // In a table that was out of use, sessions that ended in the meantime would be live.
    if !after.is_empty() && !stack.aws.call("dynamodb", "describe_table", &json!({ "TableName": after }))?.is_null() {
        bail!(
            "the table {after} exists already. It may contain sessions that have ended in the meantime, so it must not be used again. Choose another \
             name (--set StateGeneration=…), or use --sign-everybody-out without --set StateGeneration: then the deployment chooses a new name"
        );
    }
    Ok(!after.is_empty())
}

/// Returns an error if the stack of the database has another database than before, and the deployment was not asked to sign everybody out. A replaced
/// database usually comes from a snapshot. `moved` contains the names of the application's parameters that the database's stack sets, and
/// whose new value differs from that of the application.
pub fn refuse_replaced_database(request: &Request, moved: &[String], application: &Description) -> Result<()> {
    let had_database = !request.application.value(&application.parameters, ADDRESS).is_empty();
    if had_database && moved.iter().any(|name| name == ADDRESS) && !request.signs_everybody_out {
        bail!(
            "the database was replaced, as in a restore, so everybody must sign in again. The application was not changed. Add --sign-everybody-out \
             (docs/deploying.md, A restore)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::new_generations;

    #[test]
    fn a_generation_is_a_value_that_the_template_allows() {
        let generations = new_generations();
        assert_eq!(generations.keys().collect::<Vec<_>>(), ["JwtGenerationA", "JwtGenerationB", "StateGeneration"]);
        let is_allowed = |value: &String| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        assert!(generations.values().all(|value| value.len() == 19 && is_allowed(value)), "{generations:?}");
    }
}
