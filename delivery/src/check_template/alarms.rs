//! Checks of the alarms.

use serde_json::{Value, json};
use toolkit::endpoints::{AUTHORIZER, Endpoint};

use super::{
    rule::{Rule, Violation},
    translation::Translation,
};

pub const OF_THE_APPLICATION: Rule = Rule {
    says: "alarms report a failing or slow API, failing functions that have no route, and mails that stay in the outbox",
    problems: |translation, endpoints| {
        let mut problems =
            wrong_alarms(translation, &["ApiFails", "ApiIsSlow", "SweepOrMigrateFails", "MailsStayOwed"]);
        problems.extend(wrong_metrics(translation));
        problems.extend(functions_without_alarm(translation, endpoints));
        problems
    },
    violations: &[
        Violation("/Resources/ApiFails", "null"),
        Violation("/Resources/ApiIsSlow/Properties/AlarmActions", "null"),
        Violation("/Resources/SweepOrMigrateFails/Properties/OKActions", "[]"),
        Violation("/Resources/SweepOrMigrateFails/Properties/Metrics/2/MetricStat/Metric/MetricName", r#""Errors""#),
        Violation("/Resources/SweepOrMigrateFails/Properties/Metrics/0/Expression", r#""e1 + t1 + e2""#),
        Violation("/Resources/MailsStayOwed/Properties/MetricName", r#""MailsSent""#),
        Violation("/Resources/MailsStayOwed/Properties/TreatMissingData", r#""notBreaching""#),
        Violation("/Resources/ApiFails/Properties/Dimensions/0/Value", r#""another""#),
    ],
};

pub const OF_THE_DATABASE: Rule = Rule {
    says: "alarms report a database without free connections, processor time, credits, memory or disk",
    problems: |translation, _| {
        let expected = ["Crowded", "Busy", "HasFewCredits", "HasLittleMemory", "Full"];
        let expected = expected.map(|end| format!("Database{}{end}", if end.starts_with("Has") { "" } else { "Is" }));
        wrong_alarms(translation, &expected.each_ref().map(String::as_str))
    },
    violations: &[
        Violation("/Resources/DatabaseIsFull", "null"),
        Violation("/Resources/DatabaseIsBusy/Properties/AlarmActions", r#"[{ "Ref": "Another" }]"#),
    ],
};

/// Finds alarms that are missing, and alarms that notify nobody.
fn wrong_alarms(translation: &Translation, expected: &[&str]) -> Vec<String> {
    let alarms = || translation.of_type("AWS::CloudWatch::Alarm");
    let missing = expected.iter().filter(|name| alarms().all(|(id, _)| id != **name));
    let topic = json!([{ "Ref": "Alarms" }]);
    let silent = alarms().filter(|(_, alarm)| alarm["AlarmActions"] != topic || alarm["OKActions"] != topic);
    let missing = missing.map(|name| format!("the alarm {name} is missing"));
    missing
        .chain(silent.map(|(id, _)| format!("{id} does not notify the topic Alarms when it begins and ends")))
        .collect()
}

/// Finds alarms of the API that look at another API, and an alarm of unsent mails that looks at another metric than `sweep` reports.
fn wrong_metrics(translation: &Translation) -> Vec<String> {
    let properties = |id| &translation.resource(id)["Properties"];
    let api = json!([{ "Name": "ApiId", "Value": { "Ref": "Api" } }]);
    let others = ["ApiFails", "ApiIsSlow"].into_iter().filter(|id| properties(id)["Dimensions"] != api);
    let mut problems: Vec<_> = others.map(|id| format!("{id} is not an alarm of the API")).collect();
    let owed = properties("MailsStayOwed");
    let reported = &properties("MailsOwed")["MetricTransformations"][0];
    if owed["MetricName"] != reported["MetricName"] || owed["Namespace"] != reported["MetricNamespace"] {
        problems.push("MailsStayOwed does not look at the metric of the filter MailsOwed".to_owned());
    }
    if owed["TreatMissingData"] != "breaching" {
        problems.push("MailsStayOwed does not go off when sweep does not run".to_owned());
    }
    problems
}

/// Finds functions whose failures no alarm reports. API Gateway reports those of functions with a route, and of the authorizer.
fn functions_without_alarm(translation: &Translation, endpoints: &[Endpoint]) -> Vec<String> {
    let without_route = endpoints.iter().filter(|endpoint| endpoint.routes.is_empty() && endpoint.name != AUTHORIZER);
    let names: Vec<_> = without_route.map(|endpoint| endpoint.name.as_str()).collect();
    let metrics = &translation.resource("SweepOrMigrateFails")["Properties"]["Metrics"];
    let (sum, summands): (Vec<&Value>, Vec<&Value>) =
        metrics.as_array().into_iter().flatten().partition(|metric| metric["Expression"].is_string());
    let expression = sum.first().and_then(|sum| sum["Expression"].as_str()).unwrap_or_default();
    let is_counted = |function: &str, metric: &str| {
        let dimensions = json!([{ "Name": "FunctionName", "Value": { "Ref": function } }]);
        summands.iter().any(|summand| {
            let (counted, id) = (&summand["MetricStat"]["Metric"], summand["Id"].as_str().unwrap_or_default());
            let in_sum = expression.contains(&format!("FILL({id}, 0)"));
            in_sum && counted["Dimensions"] == dimensions && counted["MetricName"] == metric
        })
    };
    let functions = translation.functions().filter(|function| names.contains(&function.name));
    let pairs =
        functions.flat_map(|function| ["Errors", "Throttles"].map(|metric| (function.id, function.name, metric)));
    let missing = pairs.filter(|(id, _, metric)| !is_counted(id, metric));
    missing
        .map(|(_, name, metric)| format!("SweepOrMigrateFails does not count the metric {metric} of {name}"))
        .collect()
}
