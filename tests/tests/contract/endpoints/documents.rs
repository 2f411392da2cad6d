//! The table of endpoints in the README.

use tests::documents;
use toolkit::endpoints::Endpoint;

pub(crate) fn problems(endpoints: &[Endpoint]) -> Vec<String> {
    let readme = documents::read("README.md");
    let section = documents::section(&readme, "## Endpoints");
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let mut problems = Vec::new();
    for Endpoint { name, routes, .. } in endpoints {
        for route in routes {
            let (name, route) = (format!("| `{name}` "), format!("`{} {}`", route.method, route.path));
            if !rows.iter().any(|row| row.starts_with(&name) && row.contains(&route)) {
                problems.push(format!(
                    "README.md: the table of endpoints has no row for {route}. Add `{name}| {route} | … | … |` under `## Endpoints`."
                ));
            }
        }
        if routes.is_empty() && !section.contains(&format!("`{name}`")) {
            problems.push(format!(
                "README.md: the function `{name}` is not mentioned. Say under `## Endpoints` what it does."
            ));
        }
    }
    for row in rows {
        let name = row.trim_start_matches("| `").split('`').next().unwrap_or_default();
        if endpoints.iter().all(|endpoint| endpoint.name != name || endpoint.routes.is_empty()) {
            problems.push(format!(
                "README.md: there is no function `{name}` with a route. Delete its row under `## Endpoints`."
            ));
        }
    }
    problems
}
