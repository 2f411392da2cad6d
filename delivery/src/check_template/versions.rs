//! Checks of the function versions that callers invoke.

use super::{
    api::authorizer,
    translation::{Translation, list},
};

/// Finds callers that do not invoke the alias `live`, and functions for which changed settings would not publish a new version.
pub fn not_live(translation: &Translation) -> Vec<String> {
    let mut problems = Vec::new();
    for function in translation.functions() {
        let alias = &translation.resource(&format!("{}Aliaslive", function.id))["Properties"];
        let version = alias["FunctionVersion"]["Fn::GetAtt"][0].as_str().unwrap_or_default();
        let version = &translation.resource(version)["Properties"];
        if alias["Name"] != "live" || version["FunctionName"]["Ref"] != function.id {
            problems.push(format!("{} has no alias `live`", function.name));
        }
        let settings = &function.properties["Description"];
        if settings.is_null() || version["Description"] != *settings {
            problems.push(format!("changed settings would not publish a new version of {}", function.name));
        }
    }
    let is_live = |id: Option<&str>| id.is_some_and(|id| id.ends_with("Aliaslive"));
    let paths = &translation.resource("Api")["Properties"]["Body"]["paths"];
    for (path, operations) in paths.as_object().into_iter().flatten() {
        for operation in operations.as_object().into_iter().flatten().map(|(_, operation)| operation) {
            let uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"].as_str().unwrap_or_default();
            if !uri.ends_with("Aliaslive}/invocations") {
                problems.push(format!("{path} invokes {uri} instead of the alias `live`"));
            }
        }
    }
    if !authorizer(translation)["authorizerUri"].to_string().ends_with("-authorizer:live\"}}]}") {
        problems.push("API Gateway does not invoke the alias `live` of the authorizer".to_owned());
    }
    for (id, permission) in translation.of_type("AWS::Lambda::Permission") {
        if !is_live(permission["FunctionName"]["Ref"].as_str()) {
            problems.push(format!("{id} does not permit invoking the alias `live`"));
        }
    }
    for (id, rule) in translation.of_type("AWS::Events::Rule") {
        if !list(&rule["Targets"]).all(|target| is_live(target["Arn"]["Ref"].as_str())) {
            problems.push(format!("{id} does not invoke the alias `live`"));
        }
    }
    problems
}
