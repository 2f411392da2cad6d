//! The translated template agrees with the functions' Cargo.toml files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toolkit::endpoints::Endpoint;

use super::translation::Translation;

/// The functions, memory, reserved concurrency, permissions and routes of a translation that differ from the Cargo.toml files.
pub fn differences(translation: &Translation, endpoints: &[Endpoint]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut endpoints_by_name: BTreeMap<&str, &Endpoint> =
        endpoints.iter().map(|endpoint| (endpoint.name.as_str(), endpoint)).collect();
    for function in translation.functions() {
        let Some(endpoint) = endpoints_by_name.remove(function.name) else {
            problems.push(format!("functions/{} does not exist", function.name));
            continue;
        };
        let mut compare = |what: &str, found: &Value, wanted: Value| {
            if *found != wanted {
                problems.push(format!("{} has {what} {found}, its Cargo.toml {wanted}", function.name));
            }
        };
        compare("the memory", &function.properties["MemorySize"], endpoint.memory.into());
        let reserved = endpoint.reserved.filter(|_| translation.switches["ReserveConcurrency"] == "on");
        compare("the reserved concurrency", &function.properties["ReservedConcurrentExecutions"], reserved.into());

        let role = function.properties["Role"]["Fn::GetAtt"][0].as_str().unwrap_or_default();
        let mut allowed = BTreeSet::new();
        actions(&translation.resource(role)["Properties"]["Policies"], &mut allowed);
        let by_password = translation.switches["Database"] == "existing";
        let needed: BTreeSet<&str> =
            endpoint.actions().into_iter().filter(|action| !(by_password && *action == "rds-db:connect")).collect();
        if allowed != needed {
            problems.push(format!("{} may call {allowed:?}, its needs call {needed:?}", function.name));
        }
    }
    problems.extend(endpoints_by_name.into_keys().map(|name| format!("the function {name} is missing")));
    problems.extend(wrong_routes(translation, endpoints));
    problems
}

/// Every action in a list of policies.
fn actions<'a>(node: &'a Value, found: &mut BTreeSet<&'a str>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| actions(item, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "Action" {
                    let one = value.as_str();
                    found.extend(
                        one.into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_str)),
                    );
                } else {
                    actions(value, found);
                }
            }
        }
        _ => {}
    }
}

fn wrong_routes(translation: &Translation, endpoints: &[Endpoint]) -> Vec<String> {
    let paths = &translation.resource("Api")["Properties"]["Body"]["paths"];
    let mut found = BTreeSet::new();
    for (path, operations) in paths.as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let is_behind = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
            found.insert((method.to_uppercase(), path.clone(), is_behind));
        }
    }
    let routes = endpoints.iter().flat_map(|endpoint| &endpoint.routes);
    let wanted: BTreeSet<_> =
        routes.map(|route| (route.method.clone(), route.path.clone(), route.authorizer.is_some())).collect();
    let text = |(method, path, is_behind): &(String, String, bool)| {
        format!("{method} {path}{}", if *is_behind { ", behind the authorizer" } else { "" })
    };
    let missing = wanted.difference(&found).map(|route| format!("API Gateway has no route {}", text(route)));
    let unknown = found.difference(&wanted).map(|route| format!("no Cargo.toml has the route {}", text(route)));
    missing.chain(unknown).collect()
}
