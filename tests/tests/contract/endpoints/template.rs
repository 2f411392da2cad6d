//! The function's resource in `template.yaml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Value, json};
use tests::documents::{self, Route};
use toolkit::{endpoints::Endpoint, needs::Need};

use super::logical_id;

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
                resource(endpoint)
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
        let asks_database = self.endpoint.needs.contains(&Need::Database);
        match (asks_database, self.properties["VpcConfig"].is_null()) {
            (true, true) => problems.push(self.write("has the need `database` and no network", "VpcConfig: *vpc", "")),
            (false, false) => {
                problems.push(self.delete("is in the database's network without the need `database`", "VpcConfig"));
            }
            _ => {}
        }
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
        let events = self.properties["Events"].as_object().into_iter().flatten();
        let found: BTreeSet<Route> = events
            .filter(|(_, event)| event["Type"] == "HttpApi")
            .map(|(_, event)| {
                let text = |key: &str| event["Properties"][key].as_str().unwrap_or_default().to_owned();
                // There is one authorizer, and it has the name of its function.
                let authorizer = event["Properties"]["Auth"]["Authorizer"].as_str().map(str::to_lowercase);
                Route { method: text("Method"), path: text("Path"), function: self.endpoint.name.clone(), authorizer }
            })
            .collect();
        let wanted: BTreeSet<Route> = self.endpoint.routes.iter().cloned().collect();
        for (number, route) in wanted.difference(&found).enumerate() {
            let what = format!("has no event for `{} {}`{}", route.method, route.path, by(route));
            problems.push(self.write(&what, &event_line(route, number), "/Events"));
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
        let wanted = template_variables(self.endpoint);
        for (need, names) in wanted.iter().filter(|(_, names)| !names.is_subset(&found)) {
            let missing: Vec<&str> = names.difference(&found).copied().collect();
            let what = format!("lacks `{}` of the need `{}`", missing.join("`, `"), need.name());
            let below = "/Environment/Variables";
            problems.push(match anchors(*need) {
                Some(anchors) => self.write(&what, &format!("<<: [{anchors}]"), below),
                None => self.write(
                    &what,
                    &missing.iter().map(|name| variable_line(name)).collect::<Vec<_>>().join("`, `"),
                    below,
                ),
            });
        }
        for name in found.difference(&wanted.into_values().flatten().collect()) {
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

/// The variables that the template must set, by the need that reads them.
fn template_variables(endpoint: &Endpoint) -> BTreeMap<Need, BTreeSet<&'static str>> {
    let of =
        |need: &Need| need.variables().filter(|variable| variable.in_template).map(|variable| variable.name).collect();
    endpoint.needs.iter().map(|need| (*need, of(need))).collect()
}

/// The YAML anchors in `template.yaml` that hold a need's variables.
fn anchors(need: Need) -> Option<&'static str> {
    match need {
        Need::Database => Some("*database"),
        Need::Counters => Some("*state"),
        Need::Mail => Some("*mail"),
        Need::Tokens => Some("*keys, *secrets"),
        Need::Keys => Some("*keys"),
        _ => None,
    }
}

/// A variable that is set from a parameter of the same name.
fn variable_line(name: &str) -> String {
    format!("{name}: !Ref {}", logical_id(&name.to_lowercase().replace('_', "-")))
}

/// For each need that calls AWS, the entry of `Policies` that allows it.
fn policy_lines(endpoint: &Endpoint) -> Vec<(Need, &'static str)> {
    let allowed = endpoint.actions();
    let needs = endpoint.needs.iter().filter(|need| need.actions().iter().any(|action| allowed.contains(action)));
    let lines = needs.map(|need| {
        let line = match need {
            Need::Database => "*may-connect",
            Need::Counters => "*may-count",
            Need::Mail => "*may-mail",
            _ => "Statement: { Effect: Allow, Action: dynamodb:DeleteItem, Resource: !GetAtt StateTable.Arn }",
        };
        (*need, line)
    });
    lines.collect()
}

fn default_memory() -> u64 {
    documents::template()["Globals"]["Function"]["MemorySize"].as_u64().expect("a number of MB")
}

fn reserved_line(share: u64) -> String {
    format!("ReservedConcurrentExecutions: !If [Reserved, {share}, !Ref AWS::NoValue]")
}

/// `number` is 0 for the first event of a function.
fn event_line(route: &Route, number: usize) -> String {
    let name = if number == 0 { "Http".to_owned() } else { format!("Http{}", number + 1) };
    let auth = if route.authorizer.is_some() { ", Auth: { Authorizer: Authorizer }" } else { "" };
    format!(
        "{name}: {{ Type: HttpApi, Properties: {{ ApiId: !Ref Api, Method: {}, Path: \"{}\"{auth} }} }}",
        route.method, route.path
    )
}

/// The whole resource of a function.
fn resource(endpoint: &Endpoint) -> String {
    let (name, id) = (&endpoint.name, logical_id(&endpoint.name));
    let mut yaml = format!(
        "  {id}:
    Type: AWS::Serverless::Function
    Metadata: {{ BuildMethod: rust-cargolambda }}
    UpdateReplacePolicy: Retain
    Properties:
      FunctionName: !Sub ${{AWS::StackName}}-{name}
      CodeUri: functions/{name}/
      VersionDescription: *build
"
    );
    let mut line = |text: String| writeln!(yaml, "      {text}").expect("a String takes every text");
    if endpoint.memory != default_memory() {
        line(format!("MemorySize: {}", endpoint.memory));
    }
    if let Some(share) = endpoint.reserved {
        line(reserved_line(share));
        line("VpcConfig: *vpc".to_owned());
    }
    if endpoint.variables().values().any(|variable| variable.in_template) {
        line("Environment:".to_owned());
        line("  Variables:".to_owned());
        let anchors: Vec<_> = endpoint.needs.iter().filter_map(|need| anchors(*need)).collect();
        if !anchors.is_empty() {
            line(format!("    <<: [{}]", anchors.join(", ")));
        }
        for (need, names) in template_variables(endpoint) {
            if self::anchors(need).is_none() {
                for name in names {
                    line(format!("    {}", variable_line(name)));
                }
            }
        }
    }
    let policies = policy_lines(endpoint);
    if !policies.is_empty() {
        line("Policies:".to_owned());
        for (_, policy) in &policies {
            line(format!("  - {policy}"));
        }
    }
    line(format!("LoggingConfig: {{ LogGroup: !Ref {id}Logs }}"));
    if !endpoint.routes.is_empty() {
        line("Events:".to_owned());
        endpoint.routes.iter().enumerate().for_each(|(number, route)| line(format!("  {}", event_line(route, number))));
    }
    yaml
}
