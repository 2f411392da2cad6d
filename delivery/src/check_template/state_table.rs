//! Checks of the table of sessions and counters.

use serde_json::{Value, json};

use super::{
    rule::{Rule, Violation},
    translation::Translation,
};

pub const RULE: Rule = Rule {
    says: "there is a state table only for sessions in DynamoDB; its items expire, it is protected, and its name ends in the parameter StateGeneration",
    problems: |translation, _| wrong_table(translation),
    violations: &[
        Violation("/Resources/StateTable/DeletionPolicy", r#""Delete""#),
        Violation("/Resources/StateTable/Properties/DeletionProtectionEnabled", "null"),
        Violation("/Resources/StateTable/Properties/TimeToLiveSpecification", "null"),
        Violation("/Resources/StateTable/Properties/TableName", "null"),
        Violation("/Resources/StateTable", "null"),
    ],
};

fn wrong_table(translation: &Translation) -> Vec<String> {
    let table = translation.resource("StateTable");
    if !translation.has("StateStore", "dynamodb") {
        return if table.is_null() { Vec::new() } else { vec!["there is a StateTable that nothing uses".to_owned()] };
    }
    let wanted = [
        ("/DeletionPolicy", json!("Retain")),
        ("/UpdateReplacePolicy", json!("Retain")),
        ("/Properties/TableName", json!({ "Fn::Sub": "${AWS::StackName}-state-1" })),
        ("/Properties/DeletionProtectionEnabled", json!(true)),
        ("/Properties/BillingMode", json!("PAY_PER_REQUEST")),
        ("/Properties/KeySchema/0/AttributeName", json!("pk")),
        ("/Properties/KeySchema/1/AttributeName", json!("sk")),
        ("/Properties/TimeToLiveSpecification", json!({ "AttributeName": "expires_at", "Enabled": true })),
    ];
    let wrong = wanted.iter().filter(|(place, value)| table.pointer(place).unwrap_or(&Value::Null) != value);
    wrong.map(|(place, value)| format!("StateTable{place} should be {value}")).collect()
}
