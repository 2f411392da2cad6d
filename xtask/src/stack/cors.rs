//! Which pages of other origins may call the API: template.yaml's `CorsConfiguration` says it, and nothing else does.

use std::fs;

use anyhow::{Context as _, Result};
use axum::http::{
    HeaderMap, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    },
};
use serde::Deserialize;
use serde_json::Value;
use toolkit::workspace::Workspace;

/// What the API tells browsers.
pub struct Cors {
    origins: Vec<HeaderValue>,
    methods: HeaderValue,
    headers: HeaderValue,
    max_age: HeaderValue,
}

/// The template's `CorsConfiguration`, as far as it is imitated here: a setting beyond that is an error, not overlooked.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Configuration {
    /// The name of the parameter that lists them.
    allow_origins: String,
    allow_methods: Vec<String>,
    allow_headers: Vec<String>,
    max_age: u32,
}

impl Cors {
    /// As the template configures it, with these origins, or the parameter's default where there are none.
    pub fn of_template(workspace: &Workspace, origins: Option<&str>) -> Result<Self> {
        let text = fs::read_to_string(workspace.root.join("template.yaml"))?;
        Self::read(&text, origins).context("template.yaml's CorsConfiguration cannot be imitated here")
    }

    fn read(template: &str, origins: Option<&str>) -> Result<Self> {
        // CloudFormation's tags go: `!Ref AllowedOrigins` is read as the parameter's name.
        let template: Value = serde_saphyr::from_str(template)?;
        let given = &template["Resources"]["Api"]["Properties"]["CorsConfiguration"];
        let configuration = Configuration::deserialize(given)?;
        let parameter = configuration.allow_origins;
        let origins = origins.or_else(|| template["Parameters"][&parameter]["Default"].as_str());
        let origins = origins.with_context(|| format!("the parameter {parameter} has no default"))?;
        Ok(Self {
            origins: origins.split(',').map(|origin| origin.trim().parse()).collect::<Result<_, _>>()?,
            methods: configuration.allow_methods.join(",").parse()?,
            headers: configuration.allow_headers.join(",").parse()?,
            max_age: configuration.max_age.into(),
        })
    }

    /// Puts what API Gateway says into the place of what a function says.
    pub fn apply(&self, origin: Option<&HeaderValue>, preflight: bool, headers: &mut HeaderMap) {
        let theirs = headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned();
        for name in theirs.collect::<Vec<_>>() {
            headers.remove(name);
        }
        let Some(allowed) = origin.and_then(|origin| self.answer(origin)) else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if preflight {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
            headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
    }

    fn answer(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        self.origins.iter().find(|allowed| *allowed == origin || *allowed == "*").cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "
        Parameters:
          Origins: { Type: CommaDelimitedList, Default: 'https://a.example,https://b.example' }
        Resources:
          Api:
            Properties:
              CorsConfiguration:
                AllowOrigins: !Ref Origins
                AllowMethods: [GET, POST]
                AllowHeaders: [authorization, content-type]
                MaxAge: 600";

    /// What a browser sees of a function's answer that itself admits everybody.
    fn seen(origins: Option<&str>, origin: &'static str, preflight: bool) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
        let cors = Cors::read(TEMPLATE, origins).expect("a template");
        cors.apply(Some(&HeaderValue::from_static(origin)), preflight, &mut headers);
        let seen = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
        seen.collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_allowed_origin_is_told_what_the_template_says() {
        let expected = pairs(&[
            ("access-control-allow-origin", "https://b.example"),
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-headers", "authorization,content-type"),
            ("access-control-max-age", "600"),
        ]);
        assert_eq!(seen(None, "https://b.example", true), expected);
        assert_eq!(seen(None, "https://b.example", false), expected[..1]);
    }

    #[test]
    fn any_other_origin_is_told_nothing_whatever_a_function_says() {
        for preflight in [true, false] {
            assert_eq!(seen(None, "https://c.example", preflight), []);
            assert_eq!(seen(Some("https://c.example"), "https://a.example", preflight), []);
        }
    }

    #[test]
    fn a_star_admits_every_origin() {
        assert_eq!(seen(Some("*"), "https://c.example", false), pairs(&[("access-control-allow-origin", "*")]));
    }

    #[test]
    fn a_setting_that_would_be_overlooked_is_refused() {
        let with_more = format!("{TEMPLATE}\n                AllowCredentials: true");
        assert!(Cors::read(&with_more, None).is_err());
    }
}
