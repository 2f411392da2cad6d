//! The block of a function in `template.yaml`, and its lines.

use tests::documents::{self, Route};
use toolkit::{
    endpoints::{Endpoint, SessionStore},
    needs::Need,
};

use super::logical_id;

/// The condition of the example functions.
pub(super) const EXAMPLES: &str = "WithExamples";

/// The YAML anchor in `template.yaml` that holds a need's variables.
pub(super) fn anchor(endpoint: &Endpoint, need: Need) -> Option<&'static str> {
    match need {
        Need::Database => Some("*database"),
        // `*sessions` includes the variables of the database. A function with the need `database` gets these from `*database`.
        need if need.is_of_sessions() && !endpoint.needs.contains(&Need::Database) => Some("*sessions"),
        need if need.partitions().is_some() => Some("*state"),
        Need::Mail => Some("*mail"),
        Need::Brand => Some("*brand"),
        Need::Tokens => Some("*tokens"),
        Need::Keys => Some("*keys"),
        Need::PasswordRules => Some("*password-rules"),
        _ => None,
    }
}

/// A variable that is set from a parameter of the same name.
pub(super) fn variable_line(name: &str) -> String {
    format!("{name}: !Ref {}", logical_id(&name.to_lowercase().replace('_', "-")))
}

/// For each need that calls AWS, the entry of `Policies` that allows it.
pub(super) fn policy_lines(endpoint: &Endpoint) -> Vec<(Need, String)> {
    let connects = endpoint.uses_database(SessionStore::PostgreSql).then_some(Need::Database);
    let others = endpoint.needs.iter().copied().filter(|need| *need != Need::Database && !need.actions().is_empty());
    connects.into_iter().chain(others).map(|need| (need, policy_line(need))).collect()
}

fn policy_line(need: Need) -> String {
    let partition = match need {
        Need::Database => return "*may-connect".to_owned(),
        Need::Mail => return "*may-mail".to_owned(),
        Need::Counters => return "*may-count".to_owned(),
        Need::Sessions => return "*may-check-sessions".to_owned(),
        Need::EndAllSessions => return "*may-end-all-sessions".to_owned(),
        need if need.is_of_sessions() => "*of-sessions",
        _ => "*of-counters",
    };
    format!("Statement: {{ <<: {partition}, Action: [{}] }}", need.actions().join(", "))
}

pub(super) fn default_memory() -> u64 {
    documents::template()["Globals"]["Function"]["MemorySize"].as_u64().expect("a number of MB")
}

pub(super) fn reserved_line(share: u64) -> String {
    format!("ReservedConcurrentExecutions: !If [Reserved, {share}, !Ref AWS::NoValue]")
}

/// The names for the events of a function: `Http`, `Http2`, `Http3`, …
pub(super) fn event_names() -> impl Iterator<Item = String> {
    (1..).map(|number| if number == 1 { "Http".to_owned() } else { format!("Http{number}") })
}

pub(super) fn event_line(route: &Route, name: &str) -> String {
    let auth = if route.authorizer.is_some() { ", Auth: { Authorizer: Authorizer }" } else { "" };
    let Route { method, path, .. } = route;
    let path = if path.contains('{') { format!("\"{path}\"") } else { path.clone() };
    format!("{name}: {{ Type: HttpApi, Properties: {{ ApiId: !Ref Api, Method: {method}, Path: {path}{auth} }} }}")
}

/// The whole resource of a function.
pub(super) fn block(endpoint: &Endpoint) -> String {
    let Endpoint { name, memory, .. } = endpoint;
    let mut lines = vec![format!("  {}:", logical_id(name)), "    <<: *function".to_owned()];
    lines.extend(endpoint.example.then(|| format!("    Condition: {EXAMPLES}")));
    lines.push("    Properties:".to_owned());
    let mut line = |text: String| lines.push(format!("      {text}"));
    line(network_line(endpoint).to_owned());
    line(format!("FunctionName: !Sub ${{AWS::StackName}}-{name}"));
    line(format!("CodeUri: functions/{name}/"));
    if *memory != default_memory() {
        line(format!("MemorySize: {memory}"));
    }
    endpoint.reserved.map(reserved_line).into_iter().for_each(&mut line);
    environment_lines(endpoint).into_iter().for_each(&mut line);
    policies_lines(endpoint).into_iter().for_each(&mut line);
    if !endpoint.routes.is_empty() {
        line("Events:".to_owned());
        endpoint
            .routes
            .iter()
            .zip(event_names())
            .for_each(|(route, name)| line(format!("  {}", event_line(route, &name))));
    }
    lines.join("\n") + "\n"
}

/// The line that puts a function into the database's network, or into no network.
pub(super) fn network_line(endpoint: &Endpoint) -> &'static str {
    match [SessionStore::PostgreSql, SessionStore::DynamoDb].map(|store| endpoint.uses_database(store)) {
        [_, true] => "<<: *with-database",
        [true, false] => "<<: *with-sessions",
        [false, false] => "VersionDescription: *build",
    }
}

/// One line, if anchors hold all variables.
fn environment_lines(endpoint: &Endpoint) -> Vec<String> {
    let mut anchors: Vec<_> = endpoint.needs.iter().filter_map(|need| anchor(endpoint, *need)).collect();
    anchors.dedup();
    let without_anchor = endpoint.needs.iter().filter(|need| anchor(endpoint, **need).is_none());
    let own: Vec<_> = without_anchor.flat_map(|need| need.variables()).collect();
    match anchors.as_slice() {
        [] if own.is_empty() => Vec::new(),
        [anchor] if own.is_empty() => vec![format!("Environment: {{ Variables: {anchor} }}")],
        anchors if own.is_empty() => vec![format!("Environment: {{ Variables: {{ <<: [{}] }} }}", anchors.join(", "))],
        anchors => {
            let mut lines = vec!["Environment:".to_owned(), "  Variables:".to_owned()];
            lines.extend((!anchors.is_empty()).then(|| format!("    <<: [{}]", anchors.join(", "))));
            lines.extend(own.iter().map(|variable| format!("    {}", variable_line(variable.name))));
            lines
        }
    }
}

/// One line, if anchors hold all policies.
fn policies_lines(endpoint: &Endpoint) -> Vec<String> {
    let policies: Vec<_> = policy_lines(endpoint).into_iter().map(|(_, policy)| policy).collect();
    if policies.is_empty() {
        return Vec::new();
    }
    if policies.iter().all(|policy| policy.starts_with('*')) {
        return vec![format!("Policies: [{}]", policies.join(", "))];
    }
    let each = policies.iter().map(|policy| format!("  - {policy}"));
    ["Policies:".to_owned()].into_iter().chain(each).collect()
}

/// The text of a function's resource in `template.yaml`.
fn text_of(function: &str) -> String {
    let template = documents::read("template.yaml");
    let start = format!("\n  {}:\n", logical_id(function));
    let (_, block) = template.split_once(&start).unwrap_or_else(|| panic!("template.yaml has no {function}"));
    format!("{}{}\n", &start[1..], block.split("\n\n").next().unwrap_or_default())
}

/// The block that the check prints for a missing function is the one that the template has.
#[test]
fn the_printed_block_of_a_function_is_complete() {
    for name in ["public", "example", "jwks", "reset-password-page", "dashboard", "logout"] {
        let endpoint = documents::endpoints().iter().find(|endpoint| endpoint.name == name).unwrap();
        assert_eq!(block(endpoint), text_of(name));
    }
}

/// docs/adding-an-endpoint.md states this number. The endpoint of this test has a memory size, a reserved share, variables, policies and one route.
#[test]
fn a_new_endpoint_costs_at_most_twelve_lines_of_the_template() {
    let find = |name| documents::endpoints().iter().find(|endpoint| endpoint.name == name).unwrap();
    let (resets, example) = (find("reset-password"), find("example"));
    let needs = resets.needs.iter().copied().chain([Need::Tokens]).collect();
    let endpoint = Endpoint { needs, routes: example.routes.clone(), ..resets.clone() };
    let printed = block(&endpoint);
    assert_eq!(printed.lines().count(), 12, "{printed}");
    assert!(documents::read("docs/adding-an-endpoint.md").contains("at most 12 lines"));
}
