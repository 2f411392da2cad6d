//! Checks the routes that `sam local` serves. It ignores the conditions of resources, so it also serves the examples.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use toolkit::{endpoints::Endpoint, process, workspace::Workspace};

use crate::tools;

/// Finds routes that either only `sam local` or only the Cargo.toml files of the functions have.
pub fn wrong_routes(workspace: &Workspace, endpoints: &[Endpoint]) -> Result<Vec<String>> {
    let printed = process::output("SAM", &mut tools::local_routes(workspace)?)?;
    let found: BTreeSet<(String, String, String, bool)> =
        serde_json::from_str(&printed).context("SAM printed no routes")?;
    let routes = endpoints.iter().flat_map(|endpoint| &endpoint.routes).cloned();
    let wanted = routes.map(|route| (route.method, route.path, route.function, route.authorizer.is_some())).collect();
    let different = found.symmetric_difference(&wanted);
    let text = different.map(|route| {
        let (method, path, function, is_behind) = route;
        let authorizer = if *is_behind { ", behind the authorizer" } else { "" };
        let place = if found.contains(route) { "sam local" } else { "its Cargo.toml" };
        format!("only {place} has the route {method} {path} of {function}{authorizer}")
    });
    Ok(text.collect())
}
