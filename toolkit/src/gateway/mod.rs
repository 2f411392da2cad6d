//! The local API Gateway. It converts each HTTP request to an event, invokes the function of the route with it, and converts the
//! function's answer to an HTTP response. If the route has an authorizer, the gateway invokes the authorizer first. It answers
//! preflight requests itself.

mod cors;
mod event;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    handler::Handler as _,
    http::{
        HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    },
    middleware::from_fn_with_state,
    response::IntoResponse as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use uuid::Uuid;

pub use self::cors::Cors;
use crate::{
    lambda::{Function, Functions, NoAnswer, Outcome},
    route::Route,
};

/// API Gateway's limit for the body of a request, 10 MB. It is higher than Lambda's limit.
const MAX_BODY: usize = 10 * 1024 * 1024;

/// How long API Gateway waits for the answer of a function.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Called with the route, the function and the reason when a function does not answer a request. Afterwards the gateway itself
/// answers the client.
pub type OnNoAnswer = Box<dyn Fn(&Route, &Function, &NoAnswer) + Send + Sync>;

/// An API, and the functions behind it.
pub struct Api {
    /// The routes, in any order.
    pub routes: Vec<Route>,
    /// The functions that the routes name, authorizers included.
    pub functions: Arc<Functions>,
    /// The domain name in events.
    pub domain_name: String,
    /// The client's IP address in events.
    pub client_address: String,
    /// A header with which tests set another client address. Functions do not receive the header. API Gateway has no such header.
    pub client_address_header: Option<HeaderName>,
    /// Called when a function does not answer, for example to report that on the terminal.
    pub on_no_answer: OnNoAnswer,
}

/// Serves an API until the Tokio runtime of the caller ends.
///
/// # Errors
/// If a route names a function that does not exist.
pub fn serve(listener: TcpListener, api: Api, cors: Cors) -> Result<()> {
    for route in &api.routes {
        let names = [Some(&route.function), route.authorizer.as_ref()];
        if let Some(name) = names.into_iter().flatten().find(|name| api.functions.get(name).is_none()) {
            bail!("the route {} {} names the function `{name}`, which does not exist", route.method, route.path);
        }
    }
    let cors = from_fn_with_state(Arc::new(cors), cors::apply);
    let app = Router::new().fallback(answer.layer(cors)).with_state(Arc::new(api));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(())
}

async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let matched = api.routes.iter().find_map(|route| {
        let parameters = route.matches(parts.method.as_str(), parts.uri.path())?;
        Some((route, parameters))
    });
    let Some((route, parameters)) = matched else { return message(StatusCode::NOT_FOUND, "Not Found") };
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let id = Uuid::new_v4().to_string();
    #[expect(clippy::disallowed_methods, reason = "API Gateway writes the time into the event")]
    let now = SystemTime::now();
    let source = api.client_address_header.as_ref().and_then(|header| parts.headers.remove(header));
    let mut event = event::of(&event::MatchedRequest {
        route,
        parameters: &parameters,
        uri: &parts.uri,
        headers: &parts.headers,
        body: &body,
        id: &id,
        domain_name: &api.domain_name,
        source: source.as_ref().and_then(|source| source.to_str().ok()).unwrap_or(&api.client_address),
        time: now.duration_since(UNIX_EPOCH).unwrap_or_default(),
    });
    if let Some(authorizer) = &route.authorizer {
        match api.authorize(route, authorizer, &event).await {
            Ok(context) => event["requestContext"]["authorizer"] = json!({ "lambda": context }),
            Err(refusal) => return refusal,
        }
    }
    match api.invoke(route, &route.function, event, Some(id)).await {
        Ok(answer) => http(&answer).unwrap_or_else(internal_server_error),
        Err(failure) => failure,
    }
}

impl Api {
    /// Invokes an authorizer (payload format 2.0, simple response), and returns the context in its answer.
    ///
    /// # Errors
    /// The response for the client, if the request is not authorized. If the request has no Authorization header, the authorizer
    /// is not invoked.
    async fn authorize(&self, route: &Route, authorizer: &str, event: &Value) -> Result<Value, Response<Body>> {
        let identity = &event["headers"]["authorization"];
        if identity.is_null() {
            return Err(message(StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        let mut authorizer_event = event.clone();
        let api = "arn:aws:execute-api:us-east-1:123456789012:api-id/$default";
        authorizer_event["type"] = "REQUEST".into();
        authorizer_event["routeArn"] = format!("{api}/{}{}", route.method, route.path).into();
        authorizer_event["identitySource"] = json!([identity]);
        for field in ["body", "isBase64Encoded"] {
            authorizer_event.as_object_mut().map(|authorizer_event| authorizer_event.remove(field));
        }
        match self.invoke(route, authorizer, authorizer_event, None).await? {
            answer if answer["isAuthorized"] == true => Ok(answer["context"].clone()),
            _ => Err(message(StatusCode::FORBIDDEN, "Forbidden")),
        }
    }

    /// Invokes a function, and returns its answer.
    ///
    /// # Errors
    /// The response for the client, if the function fails or does not answer.
    async fn invoke(
        &self,
        route: &Route,
        name: &str,
        event: Value,
        request_id: Option<String>,
    ) -> Result<Value, Response<Body>> {
        let Some(function) = self.functions.get(name) else { return Err(internal_server_error()) };
        let answered = timeout(TIMEOUT, function.invoke(event, request_id)).await;
        match answered.unwrap_or(Err(NoAnswer::TimedOut)) {
            Ok(Outcome::Answer(answer)) => Ok(answer),
            Ok(Outcome::Error(_)) => Err(internal_server_error()),
            // API Gateway answers 500 here. This gateway answers 502, so that a test can distinguish a process that it killed
            // from a defect.
            Ok(Outcome::Killed) => Err(message(StatusCode::BAD_GATEWAY, "Bad Gateway")),
            Err(reason) => {
                (self.on_no_answer)(route, function, &reason);
                Err(match reason {
                    NoAnswer::NotRunning | NoAnswer::CannotStart(_) | NoAnswer::Restarted => unavailable(),
                    NoAnswer::Ended => internal_server_error(),
                    NoAnswer::TimedOut => message(StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout"),
                })
            }
        }
    }
}

/// A response that API Gateway creates itself.
fn message(status: StatusCode, text: &str) -> Response<Body> {
    (status, [(CONTENT_TYPE, "application/json")], json!({ "message": text }).to_string()).into_response()
}

fn internal_server_error() -> Response<Body> {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// The same response as a function sends when a service that it uses is unavailable.
fn unavailable() -> Response<Body> {
    let body = json!({ "message": "Service temporarily unavailable", "code": "service_unavailable" });
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (RETRY_AFTER, "1")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, body.to_string()).into_response()
}

/// Converts a function's answer (payload format 2.0) to an HTTP response. `None` if the answer is malformed.
fn http(answer: &Value) -> Option<Response<Body>> {
    let status = StatusCode::from_u16(answer["statusCode"].as_u64()?.try_into().ok()?).ok()?;
    let text = answer["body"].as_str().unwrap_or_default();
    let body = match answer["isBase64Encoded"].as_bool() {
        Some(true) => STANDARD.decode(text).ok()?,
        _ => text.as_bytes().to_vec(),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        headers.insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.as_str()?).ok()?);
    }
    let mut response = (status, body).into_response();
    *response.headers_mut() = headers;
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_status_and_the_headers_of_the_function() {
        let answer = json!({ "statusCode": 201, "headers": { "x-a": "b" }, "body": "{}" });
        let response = http(&answer).expect("a response");
        assert_eq!((response.status().as_u16(), response.headers().len()), (201, 1));
        assert_eq!(response.headers()["x-a"], "b");
    }

    #[test]
    fn an_answer_that_is_malformed_is_none() {
        let with = |name: &str, value: Value| json!({ "statusCode": 200, name: value });
        let malformed = [
            json!({}),
            with("statusCode", json!(99)),
            with("headers", json!({ "x a": "b" })),
            with("headers", json!({ "x-a": 1 })),
            json!({ "statusCode": 200, "isBase64Encoded": true, "body": "%" }),
        ];
        for answer in malformed {
            assert!(http(&answer).is_none(), "{answer}");
        }
    }
}
