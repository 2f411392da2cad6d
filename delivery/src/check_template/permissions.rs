//! Checks of the functions' IAM roles.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use toolkit::{
    endpoints::{Endpoint, SessionStore},
    needs::Need,
};

use super::{
    rule::{Rule, Violation},
    translation::{Function, Translation, list},
};

pub const RULE: Rule = Rule {
    says: "every function has a role of its own, with exactly the permissions of its needs",
    problems: wrong_permissions,
    violations: &[
        Violation("/Resources/Signin/Properties/Role/Fn::GetAtt/0", r#""RefreshRole""#),
        Violation("/Resources/SigninRole/Properties/AssumeRolePolicyDocument/Statement/0/Principal", r#""*""#),
        Violation(
            "/Resources/SigninRole/Properties/ManagedPolicyArns/0",
            r#""arn:aws:iam::aws:policy/AdministratorAccess""#,
        ),
        Violation("/Resources/SigninRole/Properties/Policies", "null"),
        Violation("/Resources/RefreshRole/Properties/Policies/0/PolicyDocument", "null"),
        Violation(
            "/Resources/SigninRole/Properties/Policies/1/PolicyDocument/Statement/Condition/ForAllValues:StringLike/dynamodb:LeadingKeys",
            r#""*""#,
        ),
        Violation("/Resources/RefreshRole/Properties/Policies/0/PolicyDocument/Statement/Action", r#""rds-db:*""#),
        Violation("/Resources/RefreshRole/Properties/Policies/0/PolicyDocument/Statement/Resource", r#""*""#),
        Violation("/Resources/SweepRole/Properties/Policies/1/PolicyDocument/Statement/Condition", "null"),
        Violation(
            "/Resources/WelcomeRole/Properties/Policies",
            r#"[{ "PolicyDocument": { "Statement": { "Effect": "Allow", "Action": "ses:SendRawEmail", "Resource": "*" } } }]"#,
        ),
    ],
};

fn wrong_permissions(translation: &Translation, endpoints: &[Endpoint]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut roles = BTreeSet::new();
    for function in translation.functions() {
        let role = function.properties["Role"]["Fn::GetAtt"][0].as_str().unwrap_or_default();
        if !roles.insert(role) {
            problems.push(format!("{} shares its role with another function", function.name));
        }
        let role = &translation.resource(role)["Properties"];
        problems.extend(wrong_role(&function, role));
        if let Some(endpoint) = function.endpoint(endpoints) {
            problems.extend(wrong_statements(translation, endpoint, role));
        }
    }
    problems
}

fn wrong_role(function: &Function, role: &Value) -> Vec<String> {
    const MANAGED: [&str; 2] = ["AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole"];
    let mut problems = Vec::new();
    if list(&role["Policies"]).any(|policy| policy["PolicyDocument"]["Statement"].is_null()) {
        problems.push(format!("the role of {} has a policy without a statement", function.name));
    }
    if role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] != json!({ "Service": ["lambda.amazonaws.com"] }) {
        problems.push(format!("the role of {} can be assumed by others than Lambda", function.name));
    }
    let managed = list(&role["ManagedPolicyArns"]).filter_map(Value::as_str);
    let unknown = managed.filter(|arn| !MANAGED.iter().any(|known| arn.ends_with(&format!("/{known}"))));
    problems.extend(unknown.map(|arn| format!("{} has the policy {arn}", function.name)));
    problems
}

fn wrong_statements(translation: &Translation, endpoint: &Endpoint, role: &Value) -> Vec<String> {
    let logs_in_with_iam = !translation.parameters["DatabaseResourceId"].is_null();
    let connects = (logs_in_with_iam && endpoint.uses_database(SessionStore::PostgreSql)).then_some(&Need::Database);
    let needs = endpoint.needs.iter().filter(|need| **need != Need::Database).chain(connects);
    let needed: BTreeSet<_> =
        needs.flat_map(|need| need.actions().iter().map(|action| (*action, need.partitions()))).collect();
    let statements = || list(&role["Policies"]).flat_map(|policy| list(&policy["PolicyDocument"]["Statement"]));
    let allowed: BTreeSet<_> = statements()
        .flat_map(|statement| actions(statement).map(move |action| (action, partitions(statement))))
        .collect();
    let mut problems = Vec::new();
    if allowed != needed {
        problems.push(format!("the role of {} allows {allowed:?}, but its needs require {needed:?}", endpoint.name));
    }
    for statement in statements() {
        if !actions(statement).all(|action| is_limited(action, statement, translation, endpoint)) {
            problems.push(format!(
                "{} has a permission whose resource or condition is too wide or unknown: {statement}",
                endpoint.name
            ));
        }
    }
    problems
}

/// The partitions of the state table that a statement is limited to.
fn partitions(statement: &Value) -> Option<&str> {
    statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"].as_str()
}

fn actions(statement: &Value) -> impl Iterator<Item = &str> {
    list(&statement["Action"]).filter_map(Value::as_str)
}

/// Whether a statement allows an action only for the resources and conditions that a function needs.
fn is_limited(action: &str, statement: &Value, translation: &Translation, endpoint: &Endpoint) -> bool {
    let arn = |service: &str, resource: &str| json!({ "Fn::Sub": format!("arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{resource}") });
    let (resource, condition) = match action.split(':').next() {
        Some("rds-db") => {
            let database = translation.parameters["DatabaseResourceId"].as_str().unwrap_or_default();
            // The template cannot name the tables' owner, because the name is in a secret.
            let user = if endpoint.needs.contains(&Need::TableOwner) { "*" } else { "jwt_auth" };
            (arn("rds-db", &format!("dbuser:{database}/{user}")), Value::Null)
        }
        Some("dynamodb") => {
            let keys = json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": partitions(statement) } });
            (arn("dynamodb", "table/${AWS::StackName}-state-*"), keys)
        }
        Some("ses") => {
            let set = arn("ses", "configuration-set/${MailConfiguration}");
            let from = json!({ "StringEquals": { "ses:FromAddress": "no-reply@example.com" } });
            // In SES's sandbox, the function also needs permission for the recipient's identity.
            (json!([arn("ses", "identity/*"), set]), from)
        }
        _ => return false,
    };
    statement["Effect"] == "Allow" && statement["Resource"] == resource && statement["Condition"] == condition
}
