//! A route of the API.

use std::collections::BTreeMap;

/// A route: its method, its path, and the function that answers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The method, in upper case.
    pub method: String,
    /// The path. A segment in braces, such as `{token}`, is a parameter.
    pub path: String,
    /// The function's name.
    pub function: String,
    /// The function that API Gateway calls first to check the access token. `None` if the route has no authorizer.
    pub authorizer: Option<String>,
}

impl Route {
    /// The path, with a value for each of its parameters.
    #[must_use]
    pub fn example_path(&self) -> String {
        let segments = self.path.split('/').map(|segment| if parameter(segment).is_some() { "x" } else { segment });
        segments.collect::<Vec<_>>().join("/")
    }

    /// Compares a request with this route. `None` if the request does not match. Otherwise the values of the path's parameters.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str) -> Option<BTreeMap<String, String>> {
        let (pattern, segments): (Vec<_>, Vec<_>) = (self.path.split('/').collect(), path.split('/').collect());
        let mut parameters = BTreeMap::new();
        let same = pattern.len() == segments.len()
            && pattern.iter().zip(&segments).all(|(&pattern, &segment)| match parameter(pattern) {
                Some(name) => {
                    parameters.insert(name.to_owned(), segment.to_owned());
                    !segment.is_empty()
                }
                None => pattern == segment,
            });
        (self.method == method && same).then_some(parameters)
    }
}

/// The name of the parameter that a segment of a path is. `None` if it is none.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}
