//! What each function says about itself in its Cargo.toml: its routes, its needs, its memory and its share of the database's connections.
//!
//! ```toml
//! [package.metadata.endpoint]
//! routes = ["GET /api/dashboard"]              # none for a function that API Gateway does not call by a route
//! authorizer = true                            # API Gateway asks the function `authorizer` first; left out: it does not
//! needs = ["database", "sessions", "tokens"]   # see `Need`
//! reserved = 10                                # with the need `database`: concurrent executions that the template reserves
//!
//! [package.metadata.lambda.deploy]
//! memory = 256                                 # MB; `cargo lambda deploy` reads it, too
//! ```
//!
//! `template.yaml`, `openapi.yaml` and the documents are written by hand. The tests compare them with this.

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

/// The function that API Gateway asks before it calls a function with `authorizer = true`.
pub const AUTHORIZER: &str = "authorizer";

/// What a function says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The function's name: that of its folder, its package and its binary.
    pub name: String,
    /// The routes that lead to it. Empty for a function without a route.
    pub routes: Vec<Route>,
    /// What it uses.
    pub needs: BTreeSet<Need>,
    /// Concurrent executions that the template reserves for it, if it uses the database.
    pub reserved: Option<u64>,
    /// Its memory in MB.
    pub memory: u64,
}

impl Endpoint {
    /// The environment variables that it reads, by name.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<&'static str, Variable> {
        let variables = self.needs.iter().flat_map(|need| need.variables());
        variables.map(|variable| (variable.name, *variable)).collect()
    }

    /// The IAM actions that it may call. The owner of the tables logs in by a password, so it does not need `rds-db:connect`.
    #[must_use]
    pub fn actions(&self) -> BTreeSet<&'static str> {
        let by_password = self.needs.contains(&Need::TableOwner);
        let needs = self.needs.iter().filter(|need| !(by_password && **need == Need::Database));
        needs.flat_map(|need| need.actions()).copied().collect()
    }
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
/// All that is wrong with them, one problem a line: a file that cannot be read, a missing or unknown key, a value that is not allowed, a
/// route that two functions have, a name that a dependency has.
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
        let problem_of_name = taken_by_a_dependency(&folder, &lock);
        match parse(&folder, &text) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(found) => problems.extend(found.into_iter().map(|problem| format!("{file}: {problem}"))),
        }
        problems.extend(problem_of_name);
    }
    problems.extend(shared_routes(&endpoints));
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(endpoints)
}

/// The routes of all functions, in alphabetical order of the functions.
///
/// # Errors
/// Those of [`endpoints`].
pub fn routes(root: &Path) -> Result<Vec<Route>> {
    Ok(endpoints(root)?.into_iter().flat_map(|endpoint| endpoint.routes).collect())
}

/// Reads one Cargo.toml. The errors do not name the file.
fn parse(folder: &str, text: &str) -> Result<Endpoint, Vec<String>> {
    let manifest: Manifest = toml::from_str(text).map_err(|problem| vec![problem.message().to_owned()])?;
    let mut problems = Vec::new();
    if manifest.package.name != folder {
        let name = &manifest.package.name;
        problems.push(format!("the package is named `{name}`, the folder `{folder}`. Write `name = \"{folder}\"`."));
    }
    let endpoint = table::<EndpointTable>(&manifest, "endpoint", "routes = [\"GET /api/…\"]` and `needs = []");
    let lambda = table::<LambdaTable>(&manifest, "lambda", "memory = 256` under `[package.metadata.lambda.deploy]");
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
            let EndpointTable { needs, reserved, .. } = endpoint;
            let endpoint = Endpoint { name: folder.to_owned(), routes, needs, reserved, memory };
            if problems.is_empty() { Ok(endpoint) } else { Err(problems) }
        }
        (endpoint, lambda) => {
            problems.extend(endpoint.err());
            problems.extend(lambda.err());
            Err(problems)
        }
    }
}

/// A table below `package.metadata`. `least` is what it must hold at least.
fn table<T: for<'de> Deserialize<'de>>(manifest: &Manifest, name: &str, least: &str) -> Result<T, String> {
    let Some(table) = manifest.package.metadata.get(name) else {
        return Err(format!("`[package.metadata.{name}]` is missing. Add it with `{least}`."));
    };
    table.clone().try_into().map_err(|problem: toml::de::Error| {
        let message = problem.message().trim_end_matches('\n');
        format!("`[package.metadata.{name}]`: {message}. Add or correct that key.")
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
    if let Some(segment) = path.split('/').find(|segment| segment.contains('{') && *segment != "{token}") {
        return Err(format!("the route `{text}` has `{segment}`. The only placeholder in a path is `{{token}}`."));
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
    match (endpoint.needs.contains(&Need::Database), endpoint.reserved) {
        (true, None) => problems.push(
            "a function with the need `database` has a share of the connections. Add `reserved = 5` under \
             `[package.metadata.endpoint]`."
                .to_owned(),
        ),
        (false, Some(_)) => problems
            .push("a function without the need `database` takes no connection. Delete the key `reserved`.".to_owned()),
        _ => {}
    }
    if endpoint.authorizer && endpoint.routes.is_empty() {
        problems.push("`authorizer = true` has no effect without a route. Delete it.".to_owned());
    }
    problems
}

/// Cargo cannot tell two packages of one name apart, as in `cargo build -p whoami`.
fn taken_by_a_dependency(name: &str, lock: &str) -> Option<String> {
    let of_that_name = format!("name = \"{name}\"");
    let mut packages = lock.split("[[package]]");
    let taken = packages.any(|package| {
        package.lines().any(|line| line == of_that_name) && package.lines().any(|line| line.starts_with("source = "))
    });
    taken.then(|| {
        format!(
            "functions/{name}: a dependency is named `{name}`, too (Cargo.lock). Choose another name for the function."
        )
    })
}

fn shared_routes(endpoints: &[Endpoint]) -> Vec<String> {
    let mut functions: BTreeMap<String, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for route in endpoints.iter().flat_map(|endpoint| &endpoint.routes) {
        let name = format!("{} {}", route.method, route.path);
        if let Some(other) = functions.insert(name.clone(), &route.function) {
            problems.push(format!(
                "functions/{}/Cargo.toml: the function `{other}` has the route `{name}`, too. Delete one of the two.",
                route.function
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [package]
        name = "sessions"
        [package.metadata.endpoint]
        routes = ["GET /api/sessions"]
        needs = ["database", "sessions", "tokens"]
        reserved = 5
        [package.metadata.lambda.deploy]
        memory = 256
    "#;

    /// The first problem with the good file after a change.
    fn problem(old: &str, new: &str) -> String {
        assert!(GOOD.contains(old), "{old}");
        parse("sessions", &GOOD.replace(old, new)).unwrap_err().remove(0)
    }

    #[test]
    fn a_function_says_its_routes_needs_memory_and_share() {
        let endpoint = parse("sessions", GOOD).unwrap();
        assert_eq!(endpoint.needs, [Need::Database, Need::Sessions, Need::Tokens].into());
        assert_eq!((endpoint.reserved, endpoint.memory), (Some(5), 256));
        let route = &endpoint.routes[0];
        assert_eq!((route.method.as_str(), route.path.as_str()), ("GET", "/api/sessions"));
        assert_eq!((route.function.as_str(), &route.authorizer), ("sessions", &None));
    }

    #[test]
    fn a_typo_is_named_with_the_known_keys() {
        let typo = problem("routes", "rotes");
        assert!(typo.contains("unknown field `rotes`, expected one of `routes`, `authorizer`, `needs`"), "{typo}");
        let typo = problem("\"database\"", "\"databse\"");
        assert!(typo.contains("unknown need `databse`, expected one of `database`, `table-owner`"), "{typo}");
        let typo = problem("memory", "memry");
        assert!(typo.contains("unknown field `memry`, expected `memory`"), "{typo}");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(problem("reserved = 5", "").contains("Add `reserved = 5`"));
        assert!(problem("\"database\", ", "").contains("Add \"database\" to `needs`"));
        assert!(problem("needs =", "# needs =").contains("missing field `needs`"));
        assert!(problem("[package.metadata.lambda.deploy]\n        memory = 256", "").contains("is missing"));
    }

    #[test]
    fn a_value_that_is_not_allowed_is_refused() {
        assert!(problem("GET /api", "GET api").contains("Write a method and a path"));
        assert!(problem("GET /api", "get /api").contains("Write a method and a path"));
        assert!(problem("/api/sessions", "/api/sessions/{id}").contains("has `{id}`"));
        assert!(problem("256", "64").contains("128 to 10240"));
        assert!(problem("name = \"sessions\"", "name = \"session\"").contains("Write `name = \"sessions\"`"));
    }

    #[test]
    fn a_function_does_not_take_the_name_of_a_dependency() {
        let lock = "[[package]]\nname = \"whoami\"\nversion = \"2.0.0\"\nsource = \"registry\"\n\n[[package]]\nname = \"signin\"\n";
        assert!(taken_by_a_dependency("whoami", lock).unwrap().contains("Choose another name"));
        assert_eq!(taken_by_a_dependency("signin", lock), None);
    }

    #[test]
    fn two_functions_do_not_have_the_same_route() {
        let endpoint = parse("sessions", GOOD).unwrap();
        assert_eq!(shared_routes(&[endpoint.clone(), endpoint]).len(), 1);
    }

    #[test]
    fn the_functions_of_this_workspace_are_described() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let routes = routes(root).unwrap();
        let example = routes.iter().find(|route| route.function == "example").unwrap();
        assert_eq!(example.authorizer.as_deref(), Some(AUTHORIZER));
    }
}
