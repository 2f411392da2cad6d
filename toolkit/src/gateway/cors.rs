//! CORS as an HTTP API of API Gateway implements it with the `CorsConfiguration` of `template.yaml`. API Gateway answers every
//! preflight request itself. In all other answers it removes the CORS headers of the function, and names the origin of the
//! request if it is allowed.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
        },
    },
    middleware::Next,
};
use serde::Deserialize;

use crate::template::Template;

/// The requests that pages of other origins may send.
pub struct Cors {
    origins: Vec<HeaderValue>,
    methods: Vec<String>,
    headers: Vec<String>,
    max_age: u32,
}

/// The settings of the template that this module implements. Any other setting is an error, because it would have no effect here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Configuration {
    /// The name of the template's parameter that lists the origins.
    allow_origins: String,
    allow_methods: Vec<String>,
    allow_headers: Vec<String>,
    max_age: u32,
}

impl Cors {
    /// Reads the configuration in the template. `origins` is a comma-separated list. If it is `None`, the template's default
    /// applies.
    ///
    /// # Errors
    /// If the configuration has a setting that this module does not implement, or if an origin is not a valid header value.
    pub fn of_template(template: &Template, origins: Option<&str>) -> Result<Self> {
        let configuration = Configuration::deserialize(template.cors())
            .context("the local gateway does not implement the CorsConfiguration in template.yaml")?;
        let origins = origins.map_or_else(|| template.default(&configuration.allow_origins), Ok)?;
        Ok(Self {
            origins: origins.split(',').map(|origin| origin.trim().parse()).collect::<Result<_, _>>()?,
            methods: configuration.allow_methods,
            headers: configuration.allow_headers,
            max_age: configuration.max_age,
        })
    }

    /// The value of `Access-Control-Allow-Origin` in the answer to a request. `None` if the origin of the request is not allowed.
    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.origins.iter().find(|allowed| *allowed == origin || *allowed == "*").cloned()
    }

    /// The headers of the answer to a preflight request. `None` unless the origin, the method and every header are allowed.
    fn preflight(&self, headers: &HeaderMap) -> Option<[(HeaderName, HeaderValue); 4]> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let method = text(ACCESS_CONTROL_REQUEST_METHOD)?;
        let names = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let mut names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let allowed = self.methods.iter().any(|allowed| allowed == method)
            && names.all(|name| self.headers.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)));
        let origin = self.allowed_origin(headers).filter(|_| allowed)?;
        Some([
            (ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (ACCESS_CONTROL_ALLOW_METHODS, self.methods.join(",").parse().ok()?),
            (ACCESS_CONTROL_ALLOW_HEADERS, self.headers.join(",").parse().ok()?),
            (ACCESS_CONTROL_MAX_AGE, self.max_age.into()),
        ])
    }

    /// Removes the CORS headers of a function's answer, and adds the allowed origin.
    fn replace_headers(origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        let names = headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned();
        for name in names.collect::<Vec<_>>() {
            headers.remove(name);
        }
        headers.extend(origin.map(|origin| (ACCESS_CONTROL_ALLOW_ORIGIN, origin)));
    }
}

/// Answers preflight requests, and sets the CORS headers of all other answers.
pub(super) async fn apply(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response<Body> {
    if request.method() == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().extend(cors.preflight(request.headers()).into_iter().flatten());
        return response;
    }
    let origin = cors.allowed_origin(request.headers());
    let mut response = next.run(request).await;
    Cors::replace_headers(origin, response.headers_mut());
    response
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

    fn cors(origins: Option<&str>) -> Cors {
        Cors::of_template(&Template::parse(TEMPLATE).expect("a template"), origins).expect("a configuration")
    }

    fn request(origin: &'static str, headers: &'static str) -> HeaderMap {
        [(ORIGIN, origin), (ACCESS_CONTROL_REQUEST_METHOD, "POST"), (ACCESS_CONTROL_REQUEST_HEADERS, headers)]
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .into_iter()
            .collect()
    }

    fn pairs<'a>(headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        headers.into_iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    #[test]
    fn a_preflight_of_an_allowed_origin_gets_what_the_template_allows() {
        let answer: HeaderMap =
            cors(None).preflight(&request("https://b.example", "Content-Type")).into_iter().flatten().collect();
        let expected = [
            ("access-control-allow-origin", "https://b.example"),
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-headers", "authorization,content-type"),
            ("access-control-max-age", "600"),
        ];
        assert_eq!(pairs(&answer), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_preflight_with_another_origin_or_another_header_gets_nothing() {
        assert!(cors(None).preflight(&request("https://c.example", "content-type")).is_none());
        assert!(cors(None).preflight(&request("https://a.example", "content-type, x-other")).is_none());
        assert!(cors(Some("https://c.example")).preflight(&request("https://a.example", "")).is_none());
    }

    #[test]
    fn the_cors_headers_of_a_function_are_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
        Cors::replace_headers(cors(None).allowed_origin(&request("https://a.example", "")), &mut headers);
        assert_eq!(pairs(&headers), [("access-control-allow-origin".to_owned(), "https://a.example".to_owned())]);
        Cors::replace_headers(None, &mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_star_allows_every_origin() {
        let allowed = cors(Some("*")).allowed_origin(&request("https://c.example", ""));
        assert_eq!(allowed, Some(HeaderValue::from_static("*")));
    }

    #[test]
    fn a_setting_that_is_not_implemented_is_an_error() {
        let text = format!("{TEMPLATE}\n                AllowCredentials: true");
        assert!(Cors::of_template(&Template::parse(&text).expect("a template"), None).is_err());
    }
}
