//! CORS as API Gateway's HTTP API does it by the template's `CorsConfiguration`: the gateway answers every preflight itself, names an
//! allowed origin in what functions answer, and drops whatever they say about it.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
    middleware::Next,
};

use crate::documents;

/// What other origins may do.
pub(crate) struct Cors {
    origins: Vec<String>,
    methods: Vec<String>,
    headers: Vec<String>,
    max_age: String,
}

impl Cors {
    /// As the template has it, for the origins that are its default.
    pub(crate) fn of_the_template() -> Self {
        let template = documents::template();
        let cors = &template["Resources"]["Api"]["Properties"]["CorsConfiguration"];
        let list = |name: &str| -> Vec<String> {
            let items = cors[name].as_array().unwrap_or_else(|| panic!("template.yaml: {name} is no list"));
            items.iter().map(|item| item.as_str().expect("a text").to_owned()).collect()
        };
        let parameter = cors["AllowOrigins"].as_str().expect("AllowOrigins is a parameter");
        let origins = template["Parameters"][parameter]["Default"].as_str().expect("a default");
        Self {
            origins: origins.split(',').map(str::to_owned).collect(),
            methods: list("AllowMethods"),
            headers: list("AllowHeaders"),
            max_age: cors["MaxAge"].to_string(),
        }
    }

    /// The origin of a request, if it is allowed. Allowed origins are compared whole.
    fn allowed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        headers.get(header::ORIGIN).filter(|origin| self.origins.iter().any(|allowed| *origin == allowed.as_str()))
    }

    /// The headers of a preflight's answer; none, unless origin, method and every header are allowed.
    fn preflight(&self, headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let asked = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let mut asked = asked.split(',').map(str::trim).filter(|name| !name.is_empty());
        let allowed = text(header::ACCESS_CONTROL_REQUEST_METHOD)
            .is_some_and(|asked| self.methods.iter().any(|allowed| allowed == asked))
            && asked.all(|asked| self.headers.iter().any(|allowed| allowed.eq_ignore_ascii_case(asked)));
        let Some(origin) = self.allowed_origin(headers).filter(|_| allowed) else { return Vec::new() };
        let value = |text: &str| HeaderValue::from_str(text).expect("a header's value");
        vec![
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            (header::ACCESS_CONTROL_ALLOW_METHODS, value(&self.methods.join(","))),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, value(&self.headers.join(","))),
            (header::ACCESS_CONTROL_MAX_AGE, value(&self.max_age)),
        ]
    }
}

/// What stands between a client and the routes.
pub(crate) async fn apply(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response<Body> {
    if request.method() == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().extend(cors.preflight(request.headers()));
        return response;
    }
    let origin = cors.allowed_origin(request.headers()).cloned();
    let mut response = next.run(request).await;
    let says_cors = |name: &HeaderName| name.as_str().starts_with("access-control-");
    let said: Vec<_> = response.headers().keys().filter(|name| says_cors(name)).cloned().collect();
    for name in said {
        response.headers_mut().remove(name);
    }
    response.headers_mut().extend(origin.map(|origin| (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)));
    response
}
