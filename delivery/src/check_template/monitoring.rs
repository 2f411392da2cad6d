//! Checks of the functions' logs and alarms.

use serde_json::json;

use super::translation::{Function, Translation};

/// Finds functions whose log group does not exist or keeps logs for ever.
pub fn missing_logs(translation: &Translation) -> Vec<String> {
    let has_log = |function: &Function| {
        let log = function.properties["LoggingConfig"]["LogGroup"]["Ref"].as_str().unwrap_or_default();
        let log = translation.resource(log);
        log["Type"] == "AWS::Logs::LogGroup" && !log["Properties"]["RetentionInDays"].is_null()
    };
    translation.functions().filter(|function| !has_log(function)).map(|function| function.name.to_owned()).collect()
}

/// Finds metrics of functions that have no alarm. The threshold for `Duration` must be four fifths of the timeout.
pub fn missing_alarms(translation: &Translation) -> Vec<String> {
    let has_alarm = |function: &Function, metric: &str| {
        let dimensions = json!([{ "Name": "FunctionName", "Value": { "Ref": function.id } }]);
        // Four fifths of the timeout, converted from seconds to milliseconds.
        let threshold =
            if metric == "Duration" { function.properties["Timeout"].as_u64().unwrap_or_default() * 800 } else { 0 };
        translation.of_type("AWS::CloudWatch::Alarm").any(|(_, alarm)| {
            let is_for_metric = alarm["Dimensions"] == dimensions && alarm["MetricName"] == metric;
            is_for_metric && alarm["Threshold"] == threshold && alarm["AlarmActions"] == json!([{ "Ref": "Alarms" }])
        })
    };
    let missing = |function: Function<'_>| {
        let metrics = ["Errors", "Throttles", "Duration"].into_iter().filter(|metric| !has_alarm(&function, metric));
        metrics.map(|metric| format!("{} ({metric})", function.name)).collect::<Vec<_>>()
    };
    translation.functions().flat_map(missing).collect()
}
