//! The number of database connections must suffice for all functions. The documents must give the number of connections, and about the
//! number of alarms, because each alarm costs money.
//!
//! Each process of a function has one connection. During a deployment, there are processes of the old and of the new version.

use serde_json::Value;
use tests::documents;
use toolkit::endpoints::Endpoint;

/// Connections for people, and for RDS itself.
const OTHERS: u64 = 10;

pub(crate) fn problems(endpoints: &[Endpoint]) -> Vec<String> {
    let mut problems = Vec::new();
    let template = documents::template();
    let settings = &template["Resources"]["PostgresSettings"]["Properties"]["Parameters"]["max_connections"];
    let connections: u64 = settings.as_str().and_then(|number| number.parse().ok()).expect("a number of connections");
    let reserved: u64 = endpoints.iter().filter_map(|endpoint| endpoint.reserved).sum();
    let needed = 2 * reserved + OTHERS;
    if needed > connections {
        problems.push(format!(
            "template.yaml: the functions can take 2 × {reserved} + {OTHERS} connections, the database has {connections}. Lower `reserved` in \
             a Cargo.toml, or write `max_connections: \"{needed}\"` under `Resources/PostgresSettings/Properties/Parameters`."
        ));
    }
    let alarm = &template["Resources"]["DatabaseIsCrowded"]["Properties"]["Threshold"];
    if *alarm != connections * 4 / 5 {
        problems.push(format!(
            "template.yaml: the alarm goes off at {alarm} connections instead of four fifths. Write `Threshold: {}` under \
             `Resources/DatabaseIsCrowded/Properties`.",
            connections * 4 / 5
        ));
    }
    let description = template["Parameters"]["ReserveConcurrency"]["Description"].as_str().unwrap_or_default();
    if !description.contains(&format!("reserves {reserved} ")) {
        problems.push(format!(
            "template.yaml: the reserved shares of all functions add up to {reserved}. Write `reserves {reserved} of the account's` in \
             `Parameters/ReserveConcurrency/Description`."
        ));
    }
    let most = (connections - OTHERS) / 2;
    for text in [format!("max_connections = {connections}"), format!("2 × {most} + {OTHERS} = {connections}")] {
        if !documents::read("docs/database.md").contains(&text) {
            problems.push(format!(
                "docs/database.md: the template's database has {connections} connections. Write `{text}` where the page calculates them."
            ));
        }
    }
    problems.extend(alarms(template));
    problems
}

/// The document gives the number of alarms only approximately, so that a new function does not change the calculated price.
fn alarms(template: &Value) -> Option<String> {
    let resources = template["Resources"].as_object().expect("resources").values();
    let alarms = resources.filter(|resource| resource["Type"] == "AWS::CloudWatch::Alarm").count();
    let near = (alarms.saturating_sub(10)..=alarms + 10)
        .any(|count| documents::read("docs/deploying.md").contains(&format!("about {count} alarms")));
    (!near).then(|| {
        format!(
            "docs/deploying.md: the template has {alarms} alarms at 0.10 dollars. Write `about {alarms} alarms` in the table under \
             `## What it costs`, and calculate the sum again."
        )
    })
}
