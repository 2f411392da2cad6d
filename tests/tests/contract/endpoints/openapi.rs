//! The operations of `openapi.yaml`.

use std::collections::BTreeSet;

use tests::documents::{OPENAPI, Route};
use toolkit::endpoints::Endpoint;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "patch", "head", "options", "trace"];

pub(crate) fn problems(endpoints: &[Endpoint]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut ids = BTreeSet::new();
    let mut known = BTreeSet::new();
    for endpoint in endpoints {
        for route in &endpoint.routes {
            known.insert((route.method.to_lowercase(), route.path.as_str()));
            problems.extend(problem(route, endpoint.routes.len() == 1));
        }
    }
    for (path, operations) in OPENAPI["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let at = format!("`paths` / `{path}` / `{method}`");
            if METHODS.contains(&method.as_str()) && !known.contains(&(method.clone(), path.as_str())) {
                problems.push(format!(
                    "openapi.yaml: no function has the route `{} {path}`. Delete {at}, or add the route to the function's Cargo.toml.",
                    method.to_uppercase()
                ));
            }
            let id = &operation["operationId"];
            if id.is_string() && !ids.insert(id.to_string()) {
                problems.push(format!("openapi.yaml: two operations are named {id}. Give {at} another `operationId`."));
            }
        }
    }
    problems
}

/// A function with several routes has several operations. Their names begin with the name of the function.
fn problem(route: &Route, only: bool) -> Option<String> {
    let Route { method, path, function, authorizer } = route;
    let operation = &OPENAPI["paths"][path][method.to_lowercase()];
    let at = format!("`paths` / `{path}` / `{}`", method.to_lowercase());
    let name = if only {
        format!("`operationId: {function}`")
    } else {
        format!("an `operationId` of its own that begins with `{function}-`")
    };
    let behind = if authorizer.is_some() { " and `x-authorizer: authorizer`" } else { "" };
    if operation.is_null() {
        let like = match (authorizer, method.as_str()) {
            (Some(_), _) => "example",
            (None, "GET") => "dashboard",
            (None, _) => "reset-password",
        };
        return Some(format!(
            "openapi.yaml: the route `{method} {path}` is not described. Add {at} with {name}{behind}, every answer and every \
             refusal. Start with a copy of the operation `{like}`."
        ));
    }
    let id = operation["operationId"].as_str().unwrap_or_default();
    if id != function && (only || !id.starts_with(&format!("{function}-"))) {
        return Some(format!(
            "openapi.yaml: an operation has another name than its function. Write {name} under {at}."
        ));
    }
    match (operation["x-authorizer"].as_str(), authorizer.as_deref()) {
        (found, wanted) if found == wanted => None,
        (_, Some(authorizer)) => Some(format!(
            "openapi.yaml: the route `{method} {path}` is behind the authorizer. Write `x-authorizer: {authorizer}` under {at}."
        )),
        (_, None) => Some(format!(
            "openapi.yaml: the route `{method} {path}` is not behind the authorizer. Delete `x-authorizer` under {at}."
        )),
    }
}
