//! Deployments that sign everybody out: with new secrets that sign tokens, or with sessions in another place.

use std::time::SystemTime;

use anyhow::{Result, bail};
use serde_json::json;
use time::{OffsetDateTime, macros::format_description};

use crate::{
    aws::Aws,
    cloudformation::Description,
    data_stack::ADDRESS,
    request::Request,
    templates::{Parameters, Template},
};

/// The parameters of `template.yaml` that get a new value when everybody is signed out: one for each signing secret, and one for the table of sessions.
const GENERATIONS: [&str; 3] = ["JwtGenerationA", "JwtGenerationB", "StateGeneration"];

/// New values for the parameters that sign everybody out.
pub fn new_generations() -> Parameters {
    let format = format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]");
    #[expect(clippy::disallowed_methods, reason = "the time makes the new values unique")]
    let now = OffsetDateTime::from(SystemTime::now()).format(format).expect("a time has all parts");
    GENERATIONS.map(|name| (name.to_owned(), now.clone())).into()
}

/// Returns an error if a deployment would move the sessions and was not asked to sign everybody out, or if it would use a table that exists already.
/// `parameters` are those of the application after the deployment.
pub fn check(
    request: &Request,
    aws: &mut Aws,
    stack: &str,
    application: &Description,
    parameters: &Parameters,
) -> Result<()> {
    let after = generation_of_table(&request.application, parameters);
    if *application == Description::default() {
        return after.map_or(Ok(()), |generation| refuse_existing_table(aws, stack, &generation));
    }
    if after == generation_of_table(&request.application, &application.parameters) {
        return Ok(());
    }
    refuse_without_consent(request)?;
    after.map_or(Ok(()), |generation| refuse_existing_table(aws, stack, &generation))
}

/// Returns an error if the stack of the database has another database than before, and the deployment was not asked to sign everybody out. A replaced
/// database usually comes from a snapshot. `moved` names the parameters that the database sets to another value.
pub fn check_moved(request: &Request, moved: &[String], application: &Description) -> Result<()> {
    let had_database = !request.application.value(&application.parameters, ADDRESS).is_empty();
    if had_database && moved.iter().any(|name| name == ADDRESS) && !request.signs_everybody_out {
        bail!(
            "the database was replaced, as in a restore, so everybody must sign in again. The application was not changed. Add --sign-everybody-out \
             (docs/deploying.md, A restore)"
        );
    }
    Ok(())
}

/// The `StateGeneration` of the table in which sessions are. `None` if they are in the database.
fn generation_of_table(template: &Template, parameters: &Parameters) -> Option<String> {
    let is_in_table = template.value(parameters, "StateStore") == "dynamodb";
    is_in_table.then(|| template.value(parameters, "StateGeneration").to_owned())
}

fn refuse_without_consent(request: &Request) -> Result<()> {
    if !request.signs_everybody_out {
        bail!(
            "this deployment moves the sessions, so everybody must sign in again. Add --sign-everybody-out (docs/deploying.md, Sessions in DynamoDB)"
        );
    }
    Ok(())
}

/// A table that was out of use must not be used again: sessions that ended in the meantime would be live in it.
fn refuse_existing_table(aws: &mut Aws, stack: &str, generation: &str) -> Result<()> {
    let table = format!("{stack}-state-{generation}");
    if !aws.call("dynamodb", "describe_table", &json!({ "TableName": table }))?.is_null() {
        bail!(
            "the table {table} exists already. It may contain sessions that have ended in the meantime, so it must not be used again. Choose another \
             one: --set StateGeneration=…, or --sign-everybody-out"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Parameters, Template, generation_of_table, new_generations};

    #[test]
    fn a_generation_is_a_value_that_the_template_allows() {
        let generations = new_generations();
        assert_eq!(generations.keys().collect::<Vec<_>>(), ["JwtGenerationA", "JwtGenerationB", "StateGeneration"]);
        let is_allowed = |value: &String| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        assert!(generations.values().all(|value| value.len() == 19 && is_allowed(value)), "{generations:?}");
    }

    #[test]
    fn the_generation_matters_only_with_a_table() {
        let template = Template::parse(
            "template.yaml",
            "Parameters: { StateStore: { Default: postgresql }, StateGeneration: { Default: '1' } }",
        );
        let generation = |given: &[(&str, &str)]| {
            let given: Parameters =
                given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            generation_of_table(&template, &given)
        };
        assert_eq!(generation(&[]), None);
        assert_eq!(generation(&[("StateGeneration", "2")]), None);
        assert_eq!(generation(&[("StateStore", "dynamodb")]).as_deref(), Some("1"));
        assert_eq!(generation(&[("StateStore", "dynamodb"), ("StateGeneration", "2")]).as_deref(), Some("2"));
    }
}
