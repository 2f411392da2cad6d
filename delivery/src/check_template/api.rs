//! Checks of API Gateway's settings.

use serde_json::Value;

use super::{
    rule::{Rule, Violation},
    translation::Translation,
};

pub const RULE: Rule = Rule {
    says: "API Gateway caches no decision of the authorizer, logs no path, and throttles",
    problems: |translation, _| wrong_settings(translation),
    violations: &[
        Violation(
            "/Resources/Api/Properties/Body/components/securitySchemes/Authorizer/x-amazon-apigateway-authorizer/authorizerResultTtlInSeconds",
            "300",
        ),
        Violation(
            "/Resources/ApiApiGatewayDefaultStage/Properties/AccessLogSettings/Format",
            r#""$context.requestId""#,
        ),
        Violation(
            "/Resources/ApiApiGatewayDefaultStage/Properties/AccessLogSettings/Format",
            r#""$context.routeKey $context.path""#,
        ),
        Violation("/Resources/ApiApiGatewayDefaultStage/Properties/DefaultRouteSettings", "null"),
    ],
};

/// Returns the settings of the authorizer.
pub fn authorizer(translation: &Translation) -> &Value {
    let schemes = &translation.resource("Api")["Properties"]["Body"]["components"]["securitySchemes"];
    &schemes["Authorizer"]["x-amazon-apigateway-authorizer"]
}

/// Finds a cache for the authorizer's decisions, access logs that could contain secrets, and missing throttling.
fn wrong_settings(translation: &Translation) -> Vec<String> {
    let mut problems = Vec::new();
    // Without this setting, API Gateway caches a decision for five minutes.
    let cached = &authorizer(translation)["authorizerResultTtlInSeconds"];
    if cached != 0 {
        problems.push(format!(
            "a decision of the authorizer is cached for {cached} seconds, so a token would still work after a logout"
        ));
    }
    for (_, stage) in translation.of_type("AWS::ApiGatewayV2::Stage") {
        let format = stage["AccessLogSettings"]["Format"].as_str().unwrap_or_default();
        if !format.contains("$context.routeKey") {
            problems.push("the access log does not contain the route of a request".to_owned());
        }
        if ["path", "protocol", "$input", "$request"].iter().any(|word| format.to_lowercase().contains(word)) {
            problems.push("the access log may contain reset tokens".to_owned());
        }
        if stage["DefaultRouteSettings"]["ThrottlingRateLimit"].is_null() {
            problems.push("requests are not throttled".to_owned());
        }
    }
    problems
}
