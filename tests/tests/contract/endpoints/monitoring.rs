//! The function's log group, its alarms and its place on the dashboard, in `template.yaml`.

use serde_json::{Value, json};
use tests::documents;
use toolkit::endpoints::Endpoint;

use super::logical_id;

/// The alarms of a function: the end of their name, the metric, and the anchor of their common properties.
const ALARMS: [(&str, &str, &str); 3] =
    [("Fails", "Errors", "fails"), ("Throttled", "Throttles", "throttled"), ("Slow", "Duration", "slow")];

pub(crate) fn problems(endpoints: &[Endpoint]) -> Vec<String> {
    let mut problems = Vec::new();
    let resources = &documents::template()["Resources"];
    let dashboard = resources["Overview"]["Properties"]["DashboardBody"][0].as_str().expect("a dashboard");
    for Endpoint { name, .. } in endpoints {
        let id = logical_id(name);
        let group = format!("{id}Logs");
        let log_name = format!("/aws/lambda/${{AWS::StackName}}-{name}");
        if resources[&group]["Properties"]["LogGroupName"] != log_name {
            problems.push(format!(
                "template.yaml: the function `{name}` has no log group. Add under `Resources`: `{group}: {{ Type: AWS::Logs::LogGroup, \
                 Properties: {{ <<: *logs, LogGroupName: !Sub \"{log_name}\" }} }}`."
            ));
        }
        let function = &resources[&id]["Properties"];
        if !function.is_null() && function["LoggingConfig"]["LogGroup"] != group {
            problems.push(format!(
                "template.yaml: the function `{name}` does not write to its log group. Write `LoggingConfig: {{ LogGroup: !Ref {group} }}` \
                 under `Resources/{id}/Properties`."
            ));
        }
        problems.extend(ALARMS.iter().filter_map(|alarm| alarm_problem(name, &id, resources, *alarm)));
        if !dashboard.contains(&format!("\"${{{id}}}\"")) {
            problems.push(format!(
                "template.yaml: the dashboard does not show the function `{name}`. Add `[\"...\", \"${{{id}}}\"]` to the list \
                 \"Functions that failed\" under `Resources/Overview/Properties/DashboardBody`."
            ));
        }
    }
    problems
}

fn alarm_problem(name: &str, id: &str, resources: &Value, (end, metric, anchor): (&str, &str, &str)) -> Option<String> {
    let alarm = format!("{id}{end}");
    let found = &resources[&alarm]["Properties"];
    let seconds = documents::timeout(name).as_secs();
    let threshold = if metric == "Duration" { seconds * 800 } else { 0 };
    let complete = found["MetricName"] == metric
        && found["Dimensions"] == json!([{ "Name": "FunctionName", "Value": id }])
        && found["Threshold"] == threshold;
    if complete {
        return None;
    }
    let own =
        if metric == "Duration" && threshold != 12_000 { format!(", Threshold: {threshold}") } else { String::new() };
    Some(format!(
        "template.yaml: the function `{name}` has no alarm for the metric `{metric}` with the threshold {threshold}. Add under `Resources`: \
         `{alarm}: {{ Type: AWS::CloudWatch::Alarm, Properties: {{ <<: *{anchor}, Dimensions: [{{ Name: FunctionName, Value: !Ref {id} }}]{own} }} }}`."
    ))
}
