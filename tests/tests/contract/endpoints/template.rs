//! The function's resource in `template.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::documents::{self, Route};
use toolkit::endpoints::{Endpoint, SessionStore};

use super::{
    block::{
        EXAMPLES, anchor, block, default_memory, event_line, event_names, network_line, policy_lines, reserved_line,
        variable_line,
    },
    logical_id,
};

pub(crate) fn problems(endpoints: &[Endpoint]) -> Vec<String> {
    let functions: BTreeMap<String, Value> = documents::functions().into_iter().collect();
    let mut problems = Vec::new();
    for name in functions.keys().filter(|name| endpoints.iter().all(|endpoint| endpoint.name != **name)) {
        problems.push(format!(
            "template.yaml: there is no folder `functions/{name}`. Delete `Resources/{}`.",
            logical_id(name)
        ));
    }
    for endpoint in endpoints {
        match functions.get(&endpoint.name) {
            Some(properties) => {
                Function { endpoint, properties, id: logical_id(&endpoint.name) }.problems(&mut problems);
            }
            None => problems.push(format!(
                "template.yaml: there is no function `{}`. Add under `Resources`:\n\n{}",
                endpoint.name,
                block(endpoint)
            )),
        }
    }
    problems
}

struct Function<'a> {
    endpoint: &'a Endpoint,
    properties: &'a Value,
    id: String,
}

impl Function<'_> {
    fn problems(&self, problems: &mut Vec<String>) {
        let name = &self.endpoint.name;
        if self.properties != &documents::template()["Resources"][&self.id]["Properties"] {
            problems.push(format!(
                "template.yaml: the resource of `functions/{name}` has another name. Name it `{}`.",
                self.id
            ));
            return;
        }
        let full_name = format!("${{AWS::StackName}}-{name}");
        if self.properties["FunctionName"] != full_name {
            problems.push(self.write("has another name", &format!("FunctionName: !Sub {full_name}"), ""));
        }
        let memory = self.properties["MemorySize"].as_u64().unwrap_or_else(default_memory);
        if memory != self.endpoint.memory {
            let line = format!("MemorySize: {}", self.endpoint.memory);
            problems.push(self.write(
                &format!("has {memory} MB, its Cargo.toml says {}", self.endpoint.memory),
                &line,
                "",
            ));
        }
        match (self.endpoint.uses_database(SessionStore::PostgreSql), self.properties["VpcConfig"].is_null()) {
            (true, true) => {
                problems.push(self.write("uses the database and is in no network", network_line(self.endpoint), ""));
            }
            (false, false) => {
                problems.push(self.delete("is in the database's network and does not use the database", "VpcConfig"));
            }
            _ => {}
        }
        self.condition(problems);
        self.reserved(problems);
        self.routes(problems);
        self.variables(problems);
        self.actions(problems);
    }

    fn write(&self, what: &str, line: &str, below: &str) -> String {
        format!(
            "template.yaml: the function `{}` {what}. Write `{line}` under `Resources/{}/Properties{below}`.",
            self.endpoint.name, self.id
        )
    }

    fn delete(&self, what: &str, key: &str) -> String {
        format!(
            "template.yaml: the function `{}` {what}. Delete `Resources/{}/Properties/{key}`, or add it to functions/{}/Cargo.toml.",
            self.endpoint.name, self.id, self.endpoint.name
        )
    }

    fn condition(&self, problems: &mut Vec<String>) {
        let found = &documents::template()["Resources"][&self.id]["Condition"];
        let (name, id) = (&self.endpoint.name, &self.id);
        if self.endpoint.example && found != EXAMPLES {
            problems.push(format!(
                "template.yaml: the function `{name}` is an example. Write `Condition: {EXAMPLES}` under `Resources/{id}`."
            ));
        }
        if !self.endpoint.example && !found.is_null() {
            problems.push(format!(
                "template.yaml: the function `{name}` is not always deployed. Delete `Resources/{id}/Condition`, or write `example = true` in \
                 functions/{name}/Cargo.toml."
            ));
        }
    }

    fn reserved(&self, problems: &mut Vec<String>) {
        let reserved = &self.properties["ReservedConcurrentExecutions"];
        match self.endpoint.reserved {
            Some(share) if *reserved != json!(["Reserved", share, "AWS::NoValue"]) => {
                problems.push(self.write(&format!("does not reserve its share of {share}"), &reserved_line(share), ""));
            }
            None if !reserved.is_null() => {
                problems.push(self.delete("reserves a share", "ReservedConcurrentExecutions"));
            }
            _ => {}
        }
    }

    fn routes(&self, problems: &mut Vec<String>) {
        let events = self.properties["Events"].as_object();
        let found: BTreeSet<Route> = events
            .into_iter()
            .flatten()
            .filter(|(_, event)| event["Type"] == "HttpApi")
            .map(|(_, event)| {
                let text = |key: &str| event["Properties"][key].as_str().unwrap_or_default().to_owned();
                // There is one authorizer, and it has the name of its function.
                let authorizer = event["Properties"]["Auth"]["Authorizer"].as_str().map(str::to_lowercase);
                Route { method: text("Method"), path: text("Path"), function: self.endpoint.name.clone(), authorizer }
            })
            .collect();
        let wanted: BTreeSet<Route> = self.endpoint.routes.iter().cloned().collect();
        let unused = event_names().filter(|name| events.is_none_or(|events| !events.contains_key(name)));
        for (route, name) in wanted.difference(&found).zip(unused) {
            let what = format!("has no event for `{} {}`{}", route.method, route.path, by(route));
            problems.push(self.write(&what, &event_line(route, &name), "/Events"));
        }
        for route in found.difference(&wanted) {
            let route = format!("{} {}`{}", route.method, route.path, by(route));
            problems
                .push(self.delete(&format!("has an event for `{route} that its Cargo.toml does not have"), "Events/…"));
        }
    }

    fn variables(&self, problems: &mut Vec<String>) {
        let found: BTreeSet<&str> = self.properties["Environment"]["Variables"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        for need in &self.endpoint.needs {
            let missing: Vec<_> =
                need.variables().map(|variable| variable.name).filter(|name| !found.contains(name)).collect();
            if missing.is_empty() {
                continue;
            }
            let what = format!("lacks `{}` of the need `{}`", missing.join("`, `"), need.name());
            let lines = anchor(self.endpoint, *need).map_or_else(
                || missing.iter().map(|name| variable_line(name)).collect::<Vec<_>>().join("`, `"),
                |anchor| format!("<<: [{anchor}]"),
            );
            problems.push(self.write(&what, &lines, "/Environment/Variables"));
        }
        let wanted = self.endpoint.variables();
        for name in found.iter().filter(|name| !wanted.contains_key(*name)) {
            problems.push(self.delete(
                &format!("has the variable `{name}`, which none of its needs reads"),
                &format!("Environment/Variables/{name}"),
            ));
        }
    }

    fn actions(&self, problems: &mut Vec<String>) {
        let mut found = BTreeSet::new();
        actions(&self.properties["Policies"], &mut found);
        let wanted = self.endpoint.actions();
        for (need, line) in policy_lines(self.endpoint) {
            let missing: Vec<_> = need.actions().iter().filter(|action| !found.contains(**action)).copied().collect();
            if !missing.is_empty() {
                let what = format!("may not call `{}` of the need `{}`", missing.join("`, `"), need.name());
                problems.push(self.write(&what, &format!("- {line}"), "/Policies"));
            }
        }
        for action in found.iter().filter(|action| !wanted.contains(action.as_str())) {
            problems.push(self.delete(&format!("may call `{action}`, which none of its needs calls"), "Policies/…"));
        }
    }
}

fn by(route: &Route) -> &'static str {
    if route.authorizer.is_some() { " behind the authorizer" } else { "" }
}

/// Every `Action` in a list of policies.
fn actions(node: &Value, found: &mut BTreeSet<String>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| actions(item, found)),
        Value::Object(fields) => {
            let action = fields.get("Action");
            let several = action
                .and_then(Value::as_array)
                .map_or_else(|| action.into_iter().collect(), |list| list.iter().collect::<Vec<_>>());
            found.extend(several.into_iter().filter_map(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| actions(field, found));
        }
        _ => {}
    }
}
