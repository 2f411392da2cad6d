//! Routes stand in four places: the local router, the template, openapi.yaml and the sample events.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::documents::{self, OPENAPI, Route, template};

/// The functions that no route leads to.
const WITHOUT_ROUTE: [&str; 1] = ["migrate"];

/// The functions of the template: name, as the folder has it, and properties.
fn functions_of(template: &Value) -> Vec<(String, Value)> {
    let resources = template["Resources"].as_object().expect("resources").values();
    let functions = resources.filter(|resource| resource["Type"] == "AWS::Serverless::Function");
    let named = functions.map(|function| {
        let properties = function["Properties"].clone();
        let name = properties["CodeUri"].as_str().and_then(|uri| uri.strip_prefix("functions/")?.strip_suffix('/'));
        (name.expect("a function's code lies in functions/<name>/").to_owned(), properties)
    });
    named.collect()
}

#[test]
fn the_template_has_the_routes_of_the_local_router() {
    let template = template();
    let routes: BTreeSet<Route> = functions_of(&template)
        .into_iter()
        .flat_map(|(function, properties)| {
            let events = properties["Events"].as_object().cloned().unwrap_or_default();
            events.into_iter().filter(|(_, event)| event["Type"] == "HttpApi").map(move |(_, event)| Route {
                method: event["Properties"]["Method"].as_str().expect("a method").to_owned(),
                path: event["Properties"]["Path"].as_str().expect("a path").to_owned(),
                function: function.clone(),
            })
        })
        .collect();
    assert_eq!(routes, documents::router());
}

#[test]
fn openapi_has_the_routes_of_the_local_router() {
    let methods = ["get", "put", "post", "delete", "patch", "head", "options", "trace"];
    let routes: BTreeSet<Route> = OPENAPI["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, operations)| {
            let operations = operations.as_object().expect("operations").iter();
            operations.filter(|(method, _)| methods.contains(&method.as_str())).map(|(method, operation)| Route {
                method: method.to_uppercase(),
                path: path.clone(),
                function: operation["operationId"].as_str().expect("an operationId").to_owned(),
            })
        })
        .collect();
    assert_eq!(routes, documents::router());
}

#[test]
fn every_route_has_a_sample_event_that_leads_to_it() {
    for route in documents::router() {
        let event: Value = serde_json::from_str(&documents::read(&format!("events/{}.json", route.function))).unwrap();
        let place = format!("events/{}.json", route.function);
        assert_eq!(event["version"], "2.0", "{place}");
        assert_eq!(event["routeKey"], format!("{} {}", route.method, route.path), "{place}");
        assert_eq!(event["requestContext"]["routeKey"], event["routeKey"], "{place}");
        let path = event["rawPath"].as_str().expect("a path");
        let token = route.matches(&route.method, path).unwrap_or_else(|| panic!("{place}: {path} is another route"));
        assert_eq!(event["pathParameters"]["token"].as_str(), token.as_deref(), "{place}");
    }
}

#[test]
fn every_function_is_known_by_one_name() {
    let folders: BTreeSet<String> = std::fs::read_dir(documents::root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let routed = documents::router().into_iter().map(|route| route.function);
    assert_eq!(routed.chain(WITHOUT_ROUTE.map(str::to_owned)).collect::<BTreeSet<_>>(), folders, "the router");

    let template = template();
    let functions = functions_of(&template);
    assert_eq!(functions.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), folders, "the template");
    for (name, properties) in functions {
        assert_eq!(properties["FunctionName"], format!("${{AWS::StackName}}-{name}"));
    }
    for folder in folders {
        let manifest = documents::read(&format!("functions/{folder}/Cargo.toml"));
        assert!(manifest.contains(&format!("name = \"{folder}\"")), "functions/{folder}/Cargo.toml");
        serde_json::from_str::<Value>(&documents::read(&format!("events/{folder}.json"))).unwrap();
    }
}

#[test]
fn only_the_functions_that_mail_may_send() {
    for (name, properties) in functions_of(&template()) {
        let mails = ["forgot-password", "reset-password"].contains(&name.as_str());
        let policies = properties["Policies"].to_string();
        assert_eq!(policies.contains("ses:SendEmail"), mails, "{name}");
        assert_eq!(properties["Policies"].is_null(), !mails, "{name} is allowed nothing");
        assert_eq!(properties["Environment"]["Variables"]["MAIL_FROM"].is_null(), !mails, "{name}");
    }
}

// Requirement 44.
#[test]
fn pages_of_other_origins_may_do_what_the_routes_need_and_nothing_more() {
    let template = template();
    let cors = &template["Resources"]["Api"]["Properties"]["CorsConfiguration"];
    let methods: BTreeSet<String> = documents::router().into_iter().map(|route| route.method).collect();
    assert_eq!(cors["AllowMethods"], serde_json::json!(methods));
    assert_eq!(cors["AllowHeaders"], serde_json::json!(["authorization", "content-type"]));
    assert!(cors.get("AllowCredentials").is_none(), "tokens are no cookies: nothing travels by itself");
    assert!(!cors.to_string().contains('*'), "no wildcard: {cors}");

    let origins = &template["Parameters"]["AllowedOrigins"];
    assert_eq!(cors["AllowOrigins"], "AllowedOrigins");
    assert_eq!(origins["AllowedPattern"], "[a-z][a-z0-9+.-]*://[^*/]+", "no wildcard can be deployed");
    assert_eq!(origins["Default"], "http://localhost:3000");
}

// Requirement 43.
#[test]
fn only_migrate_is_given_the_owner_of_the_tables() {
    for (name, properties) in functions_of(&template()) {
        let environment = properties["Environment"]["Variables"].to_string();
        assert_eq!(environment.contains("MigrateDatabaseUrl"), name == "migrate", "{name}");
    }
}
