//! The sample event of each function, `events/<name>.json`.

use std::fs;

use serde_json::{Value, json};
use tests::documents::{self, Route};
use toolkit::endpoints::Endpoint;

pub(crate) fn problems(endpoints: &[Endpoint]) -> Vec<String> {
    let mut problems: Vec<String> = endpoints.iter().filter_map(problem).collect();
    for file in fs::read_dir(documents::root().join("events")).expect("a folder `events`") {
        let file = file.expect("a file").path();
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if endpoints.iter().all(|endpoint| endpoint.name != name) {
            problems.push(format!("events/{name}.json: there is no folder `functions/{name}`. Delete the event."));
        }
    }
    problems
}

fn problem(endpoint: &Endpoint) -> Option<String> {
    let Endpoint { name, routes, .. } = endpoint;
    let file = format!("events/{name}.json");
    let Ok(text) = fs::read_to_string(documents::root().join(&file)) else {
        return Some(match routes.first() {
            Some(route) => {
                format!(
                    "{file}: the function `{name}` has no sample event. This command creates one: `{}`.",
                    command(route)
                )
            }
            None => format!(
                "{file}: the function `{name}` has no sample event. Write the event that invokes it, or `{{}}`."
            ),
        });
    };
    let Ok(event) = serde_json::from_str::<Value>(&text) else {
        return Some(format!("{file}: this is not JSON. Correct it."));
    };
    if routes.is_empty() || routes.iter().any(|route| leads_to(&event, route)) {
        return None;
    }
    let Route { method, path, .. } = &routes[0];
    Some(format!(
        "{file}: the event does not lead to a route of `{name}`. Write `\"version\": \"2.0\"`, `\"routeKey\": \"{method} {path}\"` at the top \
         and under `requestContext`, a `rawPath` of that route, and the values of its parameters under `pathParameters` if it has some."
    ))
}

fn leads_to(event: &Value, route: &Route) -> bool {
    let key = format!("{} {}", route.method, route.path);
    let parameters = route.matches(&route.method, event["rawPath"].as_str().unwrap_or_default());
    event["version"] == "2.0"
        && event["routeKey"] == key
        && event["requestContext"]["routeKey"] == key
        && parameters.is_some_and(|parameters| {
            event["pathParameters"].as_object().map_or(parameters.is_empty(), |given| json!(given) == json!(parameters))
        })
}

/// A shell command that creates the event of a route from the event of another route.
fn command(route: &Route) -> String {
    let (from, from_path) = match (route.authorizer.is_some(), route.method.as_str(), route.path.contains("{token}")) {
        (true, _, _) => ("example", "/api/example"),
        (_, "GET", false) => ("dashboard", "/api/dashboard"),
        (_, _, false) => ("forgot-password", "/api/forgot-password"),
        (_, _, true) => ("reset-password", "/api/reset-password"),
    };
    let method = if from == "dashboard" || from == "example" { "GET" } else { "POST" };
    let path = route.path.trim_end_matches("/{token}");
    let method = if method == route.method { String::new() } else { format!(" -e 's/{method}/{}/'", route.method) };
    format!("sed -e 's#{from_path}#{path}#'{method} events/{from}.json > events/{}.json", route.function)
}
