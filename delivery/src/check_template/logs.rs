//! Checks of the log groups.

use serde_json::json;

use super::{
    rule::{Rule, Violation},
    translation::Translation,
};

pub const RULE: Rule = Rule {
    says: "every function writes JSON to one log group, which outlives the stack and keeps its lines for a number of days",
    problems: |translation, _| wrong_logs(translation),
    violations: &[
        Violation("/Resources/Signin/Properties/LoggingConfig/LogGroup/Ref", r#""ApiLogs""#),
        Violation("/Resources/Signin/Properties/LoggingConfig/LogFormat", r#""Text""#),
        Violation("/Resources/Logs/DeletionPolicy", r#""Delete""#),
        Violation("/Resources/Logs/UpdateReplacePolicy", "null"),
        Violation("/Resources/Logs/Properties/RetentionInDays", "null"),
        Violation("/Resources/ApiLogs/Properties/RetentionInDays", "null"),
        Violation("/Resources/MailsOwed/Properties/LogGroupName/Ref", r#""ApiLogs""#),
    ],
};

fn wrong_logs(translation: &Translation) -> Vec<String> {
    let wanted = json!({ "LogFormat": "JSON", "LogGroup": { "Ref": "Logs" } });
    let elsewhere = translation.functions().filter(|function| function.properties["LoggingConfig"] != wanted);
    let mut problems: Vec<_> =
        elsewhere.map(|function| format!("{} does not write JSON to the log group Logs", function.name)).collect();
    // `RetainExceptOnCreate`: if the stack cannot be created, CloudFormation deletes the log group, so that the next attempt can create it.
    for (policy, wanted) in [("DeletionPolicy", "RetainExceptOnCreate"), ("UpdateReplacePolicy", "Retain")] {
        if translation.resource("Logs")[policy] != wanted {
            problems.push(format!("Logs should have {policy}: {wanted}"));
        }
    }
    for (id, group) in translation.of_type("AWS::Logs::LogGroup") {
        if group["RetentionInDays"].is_null() {
            problems.push(format!("{id} keeps its lines for ever"));
        }
    }
    for (id, filter) in translation.of_type("AWS::Logs::MetricFilter") {
        if filter["LogGroupName"]["Ref"] != "Logs" {
            problems.push(format!("{id} does not read the log group Logs"));
        }
    }
    problems
}
