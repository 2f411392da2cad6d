//! Checks of the functions' IAM roles.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::translation::{Translation, list};

/// Finds permissions of functions that differ from the permissions that their environment variables require.
pub fn wrong_permissions(translation: &Translation) -> Vec<String> {
    const MANAGED: [&str; 2] = ["AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole"];
    let mut problems = Vec::new();
    let mut roles = BTreeSet::new();
    for function in translation.functions() {
        let name = function.name;
        let role = function.properties["Role"]["Fn::GetAtt"][0].as_str().unwrap_or_default();
        if !roles.insert(role) {
            problems.push(format!("{name} shares its role with another function"));
        }
        let role = &translation.resource(role)["Properties"];
        if role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
            != json!({ "Service": ["lambda.amazonaws.com"] })
        {
            problems.push(format!("the role of {name} can be assumed by others than Lambda"));
        }
        let managed = list(&role["ManagedPolicyArns"]).filter_map(Value::as_str);
        let unknown = managed.filter(|arn| !MANAGED.iter().any(|known| arn.ends_with(&format!("/{known}"))));
        problems.extend(unknown.map(|arn| format!("{name} has the policy {arn}")));

        let mut services = BTreeSet::new();
        for statement in list(&role["Policies"]).flat_map(|policy| list(&policy["PolicyDocument"]["Statement"])) {
            for action in list(&statement["Action"]).filter_map(Value::as_str) {
                services.insert(action.split(':').next().unwrap_or_default());
                if !is_needed(action, statement) {
                    problems.push(format!(
                        "{name} has a permission that it does not need, {action}, from the statement {statement}"
                    ));
                }
            }
        }
        let uses = [
            ("dynamodb", function.has("STATE_TABLE")),
            ("rds-db", function.variable("DATABASE_AUTH") == "iam"),
            ("ses", function.has("MAIL_FROM")),
        ];
        let required = uses.into_iter().filter(|(_, used)| *used).map(|(service, _)| service).collect();
        if services != required {
            problems.push(format!(
                "{name} has permissions for {services:?}, but its environment variables require {required:?}"
            ));
        }
    }
    problems
}

/// Whether a function can need this action with these resources and conditions.
fn is_needed(action: &str, statement: &Value) -> bool {
    const SES: &str = "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}";
    const LOGIN: &str =
        "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${Postgres.DbiResourceId}/jwt_auth";
    let sub = |text: String| json!({ "Fn::Sub": text });
    let (resource, condition) = match action {
        "rds-db:connect" => (sub(LOGIN.to_owned()), Value::Null),
        "dynamodb:BatchGetItem" | "dynamodb:UpdateItem" | "dynamodb:DeleteItem" => {
            (json!({ "Fn::GetAtt": ["StateTable", "Arn"] }), Value::Null)
        }
        "ses:SendEmail" => {
            let set = sub(format!("{SES}:configuration-set/${{MailConfiguration}}"));
            let from = json!({ "StringEquals": { "ses:FromAddress": "no-reply@example.com" } });
            // In SES's sandbox, the function also needs permission for the recipient's identity.
            (json!([sub(format!("{SES}:identity/*")), set]), from)
        }
        _ => return false,
    };
    statement["Effect"] == "Allow" && statement["Resource"] == resource && statement["Condition"] == condition
}
