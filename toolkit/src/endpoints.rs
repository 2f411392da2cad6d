//! Reads the metadata of each function from its Cargo.toml: routes, needs, memory, and reserved concurrent executions.
//!
//! ```toml
//! [package.metadata.endpoint]
//! routes = ["GET /api/dashboard"]              # empty if the function has no route
//! authorizer = true                            # API Gateway calls the function `authorizer` first. Default: false
//! needs = ["database", "sessions", "tokens"]   # see `Need`
//! reserved = 10                                # concurrent executions; required if the function uses the database
//! example = true                               # deployed only with the parameter `Examples=on`. Default: false
//!
//! [package.metadata.lambda.deploy]
//! memory = 256                                 # MB; `cargo lambda deploy` also reads this key
//! ```
//!
//! `template.yaml`, `openapi.yaml` and the documents are written by hand. Tests check that they agree with this metadata.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{
    needs::{Need, Variable},
    route::Route,
};

/// The function that API Gateway calls before it calls a function with `authorizer = true`.
pub const AUTHORIZER: &str = "authorizer";

/// Connections to the database for people, and for RDS itself.
pub const OTHER_CONNECTIONS: u64 = 10;

/// The sum of the concurrent executions that the template reserves.
#[must_use]
pub fn reserved(endpoints: &[Endpoint]) -> u64 {
    endpoints.iter().filter_map(|endpoint| endpoint.reserved).sum()
}

/// How many connections to the database are enough for the reserved concurrency. Each process of a function has one connection. During a
/// deployment, there are processes of the old and of the new version.
#[must_use]
pub fn needed_connections(endpoints: &[Endpoint]) -> u64 {
    2 * reserved(endpoints) + OTHER_CONNECTIONS
}

/// Where sessions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStore {
    /// In the database.
    PostgreSql,
    /// In the state table.
    DynamoDb,
}

/// The metadata of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name of the function. Folder, package and binary have the same name.
    pub name: String,
    /// Its routes. Empty if the function has no route.
    pub routes: Vec<Route>,
    /// The clients and keys that it uses.
    pub needs: BTreeSet<Need>,
    /// The number of concurrent executions that the template reserves for it. `Some` if it uses the database.
    pub reserved: Option<u64>,
    /// Whether it is an example, which is deployed only with the parameter `Examples=on`.
    pub example: bool,
    /// Its memory in MB.
    pub memory: u64,
}

impl Endpoint {
    /// The environment variables that it reads, by name.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<&'static str, Variable> {
        let mut variables = BTreeMap::new();
        for variable in self.needs.iter().flat_map(|need| need.variables()) {
            // A variable that one need requires is required, even if another need can do without it.
            let earlier = variables.entry(variable.name).or_insert(*variable);
            earlier.required |= variable.required;
        }
        variables
    }

    /// All IAM actions that it may call, for sessions in PostgreSQL and for sessions in DynamoDB together.
    #[must_use]
    pub fn actions(&self) -> BTreeSet<&'static str> {
        let connects = self.uses_database(SessionStore::PostgreSql).then(|| Need::Database.actions());
        let actions = self.needs.iter().map(|need| need.actions());
        actions.chain(connects).flatten().copied().collect()
    }

    /// Whether it connects to PostgreSQL, if sessions are in this store.
    #[must_use]
    pub fn uses_database(&self, sessions: SessionStore) -> bool {
        uses_database(&self.needs, sessions)
    }
}

fn uses_database(needs: &BTreeSet<Need>, sessions: SessionStore) -> bool {
    let has_sessions = || needs.iter().any(|need| need.is_of_sessions());
    needs.contains(&Need::Database) || (sessions == SessionStore::PostgreSql && has_sessions())
}

#[derive(Deserialize)]
struct Manifest {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    metadata: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointTable {
    routes: Vec<String>,
    #[serde(default)]
    authorizer: bool,
    needs: BTreeSet<Need>,
    reserved: Option<u64>,
    #[serde(default)]
    example: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LambdaTable {
    deploy: DeployTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeployTable {
    memory: u64,
}

/// Reads the Cargo.toml of every folder in `functions/`, in alphabetical order.
///
/// # Errors
/// Lists all problems, one per line: a file that cannot be read, a missing or unknown key, a value that is not allowed, a route
/// used by two functions, a function name that is also the name of a dependency.
pub fn endpoints(root: &Path) -> Result<Vec<Endpoint>> {
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock")?;
    let mut folders = Vec::new();
    for entry in fs::read_dir(root.join("functions")).context("functions/")? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            folders.extend(path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    folders.sort();
    let (mut endpoints, mut problems) = (Vec::new(), Vec::new());
    for folder in folders {
        let file = format!("functions/{folder}/Cargo.toml");
        let text = fs::read_to_string(root.join(&file)).with_context(|| file.clone())?;
        let name_conflict = name_conflict_with_dependency(&folder, &lock);
        match parse(&folder, &text) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(found) => problems.extend(found.into_iter().map(|problem| format!("{file}: {problem}"))),
        }
        problems.extend(name_conflict);
    }
    problems.extend(duplicate_routes(&endpoints));
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(endpoints)
}

/// The routes of all functions, in alphabetical order of the functions.
///
/// # Errors
/// The same as [`endpoints`].
pub fn routes(root: &Path) -> Result<Vec<Route>> {
    Ok(endpoints(root)?.into_iter().flat_map(|endpoint| endpoint.routes).collect())
}

/// Reads one Cargo.toml. The caller adds the file name to the errors.
fn parse(folder: &str, text: &str) -> Result<Endpoint, Vec<String>> {
    let manifest: Manifest = toml::from_str(text).map_err(|problem| vec![problem.message().to_owned()])?;
    let mut problems = Vec::new();
    if manifest.package.name != folder {
        let name = &manifest.package.name;
        problems.push(format!("the package is named `{name}`, the folder `{folder}`. Write `name = \"{folder}\"`."));
    }
    let endpoint = table::<EndpointTable>(&manifest, "endpoint", "`routes = [\"GET /api/…\"]` and `needs = []`");
    let lambda = table::<LambdaTable>(&manifest, "lambda", "`memory = 256` under `[package.metadata.lambda.deploy]`");
    match (endpoint, lambda) {
        (Ok(endpoint), Ok(lambda)) => {
            let memory = lambda.deploy.memory;
            if !(128..=10_240).contains(&memory) {
                problems.push(format!("`memory = {memory}` is not allowed. Lambda takes 128 to 10240 MB."));
            }
            let authorizer = endpoint.authorizer.then(|| AUTHORIZER.to_owned());
            let mut routes = Vec::new();
            for route in &endpoint.routes {
                match parse_route(route, folder, authorizer.as_ref()) {
                    Ok(route) => routes.push(route),
                    Err(problem) => problems.push(problem),
                }
            }
            problems.extend(inconsistencies(&endpoint));
            let EndpointTable { needs, reserved, example, .. } = endpoint;
            let endpoint = Endpoint { name: folder.to_owned(), routes, needs, reserved, example, memory };
            if problems.is_empty() { Ok(endpoint) } else { Err(problems) }
        }
        (endpoint, lambda) => {
            problems.extend(endpoint.err());
            problems.extend(lambda.err());
            Err(problems)
        }
    }
}

/// Reads a table below `package.metadata`. If the table is missing, the error shows `minimal_content`.
fn table<T: for<'de> Deserialize<'de>>(manifest: &Manifest, name: &str, minimal_content: &str) -> Result<T, String> {
    let Some(table) = manifest.package.metadata.get(name) else {
        return Err(format!("`[package.metadata.{name}]` is missing. Add it with {minimal_content}."));
    };
    table.clone().try_into().map_err(|problem: toml::de::Error| {
        let message = problem.message().trim_end_matches('\n');
        format!("`[package.metadata.{name}]`: {message}. Correct this table.")
    })
}

fn parse_route(text: &str, function: &str, authorizer: Option<&String>) -> Result<Route, String> {
    const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let route = text.split_once(' ').filter(|(method, path)| METHODS.contains(method) && path.starts_with('/'));
    let Some((method, path)) = route else {
        return Err(format!(
            "the route `{text}` is malformed. Write a method and a path, such as `GET /api/{function}`."
        ));
    };
    let is_unknown = |segment: &&str| segment.contains('{') && !["{token}", "{id}"].contains(segment);
    if let Some(segment) = path.split('/').find(is_unknown) {
        return Err(format!(
            "the route `{text}` has `{segment}`. The parameters in a path are `{{token}}` and `{{id}}`."
        ));
    }
    Ok(Route {
        method: method.to_owned(),
        path: path.to_owned(),
        function: function.to_owned(),
        authorizer: authorizer.cloned(),
    })
}

fn inconsistencies(endpoint: &EndpointTable) -> Vec<String> {
    let mut problems = Vec::new();
    for need in &endpoint.needs {
        if let Some(required) = need.requires().filter(|required| !endpoint.needs.contains(required)) {
            let (need, required) = (need.name(), required.name());
            problems.push(format!("the need `{need}` requires the need `{required}`. Add \"{required}\" to `needs`."));
        }
    }
    match (uses_database(&endpoint.needs, SessionStore::PostgreSql), endpoint.reserved) {
        (true, None) => problems.push(
            "a function that uses the database must have the key `reserved`, the number of its concurrent executions. \
             Add for example `reserved = 5` under `[package.metadata.endpoint]`."
                .to_owned(),
        ),
        (false, Some(_)) => {
            problems.push("`reserved` is only for functions that use the database. Delete the key.".to_owned());
        }
        _ => {}
    }
    if endpoint.authorizer && endpoint.routes.is_empty() {
        problems.push("`authorizer = true` has no effect without a route. Delete it.".to_owned());
    }
    problems
}

/// A function must not have the name of a dependency: `cargo build -p whoami` is ambiguous if two packages are named `whoami`.
/// Packages of this workspace have no `source` in Cargo.lock.
fn name_conflict_with_dependency(name: &str, lock: &str) -> Option<String> {
    let name_line = format!("name = \"{name}\"");
    let mut packages = lock.split("[[package]]");
    let is_dependency = packages.any(|package| {
        package.lines().any(|line| line == name_line) && package.lines().any(|line| line.starts_with("source = "))
    });
    is_dependency.then(|| {
        format!(
            "functions/{name}: a dependency is also named `{name}` (Cargo.lock). Choose another name for the function."
        )
    })
}

fn duplicate_routes(endpoints: &[Endpoint]) -> Vec<String> {
    let mut functions: BTreeMap<String, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for route in endpoints.iter().flat_map(|endpoint| &endpoint.routes) {
        let name = format!("{} {}", route.method, route.path);
        if let Some(other) = functions.insert(name.clone(), &route.function) {
            problems.push(format!(
                "functions/{}/Cargo.toml: the function `{other}` also has the route `{name}`. Delete one of the two.",
                route.function
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID_MANIFEST: &str = r#"
        [package]
        name = "sessions"
        [package.metadata.endpoint]
        routes = ["GET /api/sessions"]
        needs = ["database", "sessions", "tokens"]
        reserved = 5
        [package.metadata.lambda.deploy]
        memory = 256
    "#;

    /// Replaces `old` by `new` in the valid manifest and returns the first error.
    fn problem(old: &str, new: &str) -> String {
        assert!(VALID_MANIFEST.contains(old), "{old}");
        parse("sessions", &VALID_MANIFEST.replace(old, new)).unwrap_err().remove(0)
    }

    #[test]
    fn a_valid_manifest_is_parsed() {
        let endpoint = parse("sessions", VALID_MANIFEST).unwrap();
        assert_eq!(endpoint.needs, [Need::Database, Need::Sessions, Need::Tokens].into());
        assert_eq!((endpoint.reserved, endpoint.memory, endpoint.example), (Some(5), 256, false));
        let route = &endpoint.routes[0];
        assert_eq!((route.method.as_str(), route.path.as_str()), ("GET", "/api/sessions"));
        assert_eq!((route.function.as_str(), &route.authorizer), ("sessions", &None));
    }

    #[test]
    fn an_error_for_a_typo_lists_the_known_keys() {
        let typo = problem("routes", "rotes");
        assert!(typo.contains("unknown field `rotes`, expected one of `routes`, `authorizer`, `needs`"), "{typo}");
        let typo = problem("\"database\"", "\"databse\"");
        assert!(typo.contains("unknown need `databse`, expected one of `database`, `table-owner`"), "{typo}");
        let typo = problem("memory", "memry");
        assert!(typo.contains("unknown field `memry`, expected `memory`"), "{typo}");
    }

    #[test]
    fn a_function_that_only_checks_sessions_uses_the_database_if_sessions_are_there() {
        let uses = |needs: &str| {
            let endpoint = parse("sessions", &VALID_MANIFEST.replace("\"database\", \"sessions\"", needs)).unwrap();
            [SessionStore::PostgreSql, SessionStore::DynamoDb].map(|store| endpoint.uses_database(store))
        };
        assert_eq!(uses("\"sessions\""), [true, false]);
        assert_eq!(uses("\"database\", \"sessions\""), [true, true]);
    }

    #[test]
    fn an_error_names_the_missing_key() {
        assert!(problem("reserved = 5", "").contains("Add for example `reserved = 5`"));
        assert!(problem("\"database\", \"sessions\"", "\"open-sessions\"").contains("Add \"database\" to `needs`"));
        assert!(problem("needs =", "# needs =").contains("missing field `needs`"));
        assert!(problem("[package.metadata.lambda.deploy]\n        memory = 256", "").contains("is missing"));
    }

    #[test]
    fn a_value_that_is_not_allowed_is_refused() {
        assert!(problem("GET /api", "GET api").contains("Write a method and a path"));
        assert!(problem("GET /api", "get /api").contains("Write a method and a path"));
        assert!(problem("/api/sessions", "/api/sessions/{name}").contains("has `{name}`"));
        assert!(problem("256", "64").contains("128 to 10240"));
        assert!(problem("name = \"sessions\"", "name = \"session\"").contains("Write `name = \"sessions\"`"));
    }

    #[test]
    fn a_function_must_not_have_the_name_of_a_dependency() {
        let lock = "[[package]]\nname = \"whoami\"\nversion = \"2.0.0\"\nsource = \"registry\"\n\n[[package]]\nname = \"signin\"\n";
        assert!(name_conflict_with_dependency("whoami", lock).unwrap().contains("Choose another name"));
        assert_eq!(name_conflict_with_dependency("signin", lock), None);
    }

    #[test]
    fn two_functions_must_not_have_the_same_route() {
        let endpoint = parse("sessions", VALID_MANIFEST).unwrap();
        assert_eq!(duplicate_routes(&[endpoint.clone(), endpoint]).len(), 1);
    }

    #[test]
    fn the_manifests_of_this_workspace_are_valid() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let routes = routes(root).unwrap();
        let example = routes.iter().find(|route| route.function == "example").unwrap();
        assert_eq!(example.authorizer.as_deref(), Some(AUTHORIZER));
        let examples = endpoints(root).unwrap().into_iter().filter(|endpoint| endpoint.example);
        assert_eq!(examples.map(|endpoint| endpoint.name).collect::<Vec<_>>(), ["example", "public"]);
    }
}
