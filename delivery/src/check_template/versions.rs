//! Checks of the function versions that callers invoke.

use super::{
    api::authorizer,
    rule::{Rule, Violation},
    translation::{Translation, list},
};

pub const RULE: Rule = Rule {
    says: "callers use the alias `live`, and changed settings publish a new version",
    problems: |translation, _| not_live(translation),
    violations: &[
        Violation("/Resources/SigninAliaslive/Properties/Name", r#""latest""#),
        Violation("/Resources/Signin/Properties/Description", r#""another""#),
        Violation("/Resources/Signin/Properties/Description", "null"),
        Violation(
            "/Resources/Api/Properties/Body/paths/~1api~1signin/post/x-amazon-apigateway-integration/uri/Fn::Sub",
            r#""arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Signin.Arn}/invocations""#,
        ),
        Violation("/Resources/SigninHttpPermission/Properties/FunctionName/Ref", r#""Signin""#),
        Violation("/Resources/SweepEveryMinute/Properties/Targets/0/Arn", r#"{ "Fn::GetAtt": ["Sweep", "Arn"] }"#),
        Violation(
            "/Resources/Api/Properties/Body/components/securitySchemes/Authorizer/x-amazon-apigateway-authorizer/authorizerUri",
            r#""arn:aws:lambda:us-east-1:123456789012:function:authorizer""#,
        ),
    ],
};

/// Finds callers that do not invoke the alias `live`, and functions for which changed settings would not publish a new version.
fn not_live(translation: &Translation) -> Vec<String> {
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
