//! The routes of the API.

/// A route: its method, its path, and the function that answers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// In upper case.
    pub method: String,
    /// With `{token}` where there is one.
    pub path: String,
    /// The function's name.
    pub function: String,
    /// The function that decides who gets there, if one does.
    pub authorizer: Option<String>,
}

impl Route {
    /// The value of `{token}`, if the request's path matches this route and has one; `None` where it does not match.
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
