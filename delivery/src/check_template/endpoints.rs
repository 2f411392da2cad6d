//! The translated template agrees with the functions' Cargo.toml files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toolkit::{
    endpoints::{AUTHORIZER, Endpoint},
    route::Route,
};

use super::{
    rule::{Rule, Violation},
    translation::{Function, Translation},
};

pub const RULE: Rule = Rule {
    says: "functions, routes, memory and reserved concurrent executions are those of the Cargo.toml files; no function may run longer than API Gateway waits",
    problems: differences,
    violations: &[
        Violation("/Resources/Signin", "null"),
        Violation("/Resources/Signin/Properties/FunctionName/Fn::Sub", r#""${AWS::StackName}-sessions""#),
        Violation("/Resources/Signin/Properties/MemorySize", "256"),
        Violation("/Resources/Signin/Properties/Timeout", "30"),
        Violation("/Resources/Authorizer/Properties/Timeout", "15"),
        Violation("/Resources/Signin/Properties/ReservedConcurrentExecutions", "1"),
        Violation("/Resources/Example/Properties/MemorySize", "256"),
        Violation("/Resources/Public", "null"),
        Violation("/Resources/Api/Properties/Body/paths/~1api~1signin", "null"),
        Violation("/Resources/Api/Properties/Body/paths/~1api~1example/get/security", "[]"),
    ],
};

/// How long API Gateway waits for a function with a route and for the authorizer, in seconds.
const GATEWAY_WAITS: (u64, u64) = (30, 10);

fn differences(translation: &Translation, endpoints: &[Endpoint]) -> Vec<String> {
    let is_deployed = |endpoint: &&Endpoint| !endpoint.example || translation.has("Examples", "on");
    let mut missing: BTreeMap<&str, &Endpoint> =
        endpoints.iter().filter(is_deployed).map(|endpoint| (endpoint.name.as_str(), endpoint)).collect();
    let mut problems = wrong_routes(translation, missing.values().flat_map(|endpoint| &endpoint.routes));
    for function in translation.functions() {
        match missing.remove(function.name) {
            Some(endpoint) => problems.extend(wrong_settings(translation, &function, endpoint)),
            None => problems.push(format!(
                "the function {} is an example that should not be deployed, or has no Cargo.toml",
                function.name
            )),
        }
    }
    problems.extend(missing.into_keys().map(|name| format!("the function {name} is missing")));
    problems
}

fn wrong_settings(translation: &Translation, function: &Function, endpoint: &Endpoint) -> Vec<String> {
    let reserved = endpoint.reserved.filter(|_| translation.has("ReserveConcurrency", "on"));
    let settings = [("MemorySize", endpoint.memory.into()), ("ReservedConcurrentExecutions", reserved.into())];
    let wrong = settings.into_iter().filter_map(|(property, wanted): (_, Value)| {
        let found = &function.properties[property];
        (*found != wanted).then(|| format!("{} has {property} {found}, its Cargo.toml {wanted}", function.name))
    });
    let mut problems: Vec<_> = wrong.collect();
    let (function_waits, authorizer_waits) = GATEWAY_WAITS;
    let waits = if endpoint.name == AUTHORIZER { Some(authorizer_waits) } else { None };
    let waits = waits.or((!endpoint.routes.is_empty()).then_some(function_waits));
    let timeout = function.properties["Timeout"].as_u64().unwrap_or_default();
    if waits.is_some_and(|waits| timeout >= waits) {
        problems
            .push(format!("{} may run for {timeout} seconds, but API Gateway does not wait that long", function.name));
    }
    problems
}

fn wrong_routes<'a>(translation: &Translation, routes: impl Iterator<Item = &'a Route>) -> Vec<String> {
    let paths = &translation.resource("Api")["Properties"]["Body"]["paths"];
    let mut found = BTreeSet::new();
    for (path, operations) in paths.as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let is_behind = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
            found.insert((method.to_uppercase(), path.clone(), is_behind));
        }
    }
    let wanted: BTreeSet<_> =
        routes.map(|route| (route.method.clone(), route.path.clone(), route.authorizer.is_some())).collect();
    let text = |(method, path, is_behind): &(String, String, bool)| {
        format!("{method} {path}{}", if *is_behind { ", behind the authorizer" } else { "" })
    };
    let missing = wanted.difference(&found).map(|route| format!("API Gateway has no route {}", text(route)));
    let unknown = found.difference(&wanted).map(|route| format!("no Cargo.toml has the route {}", text(route)));
    missing.chain(unknown).collect()
}
