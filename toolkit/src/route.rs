//! A route of the API.

/// A route: its method, its path, and the function that answers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The method, in upper case.
    pub method: String,
    /// The path. `{token}` is a placeholder for a token.
    pub path: String,
    /// The function's name.
    pub function: String,
    /// The function that API Gateway calls first to check the access token. `None` if the route has no authorizer.
    pub authorizer: Option<String>,
}

impl Route {
    /// Compares a request with this route. `None` if the request does not match. Otherwise the value of `{token}`, if the path has one.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str) -> Option<Option<String>> {
        let (pattern, segments): (Vec<_>, Vec<_>) = (self.path.split('/').collect(), path.split('/').collect());
        let mut token = None;
        let same = pattern.len() == segments.len()
            && pattern.iter().zip(&segments).all(|(&pattern, &segment)| {
                if pattern == "{token}" {
                    token = Some(segment.to_owned());
                }
                pattern == segment || (pattern == "{token}" && !segment.is_empty())
            });
        (self.method == method && same).then_some(token)
    }
}
