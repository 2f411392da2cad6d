//! The gateway: HTTP on one side, the Lambda runtime interface on the other.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    handler::Handler,
    http::{HeaderName, HeaderValue, Response, StatusCode},
    middleware::from_fn_with_state,
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{
    cors::{self, Cors},
    documents::{self, Route},
    event,
    function::{Function, Outcome},
};

/// The functions of a stack, by name.
pub(crate) type Functions = BTreeMap<String, Function>;

struct Gateway {
    routes: Vec<Route>,
    functions: Arc<Functions>,
}

/// API Gateway's own limit (10 MB), above Lambda's.
const MAX_BODY: usize = 10 * 1024 * 1024;

/// Serves until the listener's task is dropped with the runtime of its test.
pub(crate) fn serve(listener: TcpListener, functions: Arc<Functions>) {
    let gateway = Arc::new(Gateway { routes: documents::routes().into_iter().collect(), functions });
    let app = Router::new()
        .route("/.rt/{function}/{process}/2018-06-01/runtime/invocation/next", get(next))
        .route("/.rt/{function}/{process}/2018-06-01/runtime/invocation/{request_id}/response", post(response))
        .route("/.rt/{function}/{process}/2018-06-01/runtime/invocation/{request_id}/error", post(error))
        .fallback(request.layer(from_fn_with_state(Arc::new(Cors::of_the_template()), cors::apply)))
        .with_state(gateway);
    tokio::spawn(async move { axum::serve(listener, app).await });
}

async fn next(State(gateway): State<Arc<Gateway>>, Path((function, process)): Path<(String, usize)>) -> Response<Body> {
    let invocation = gateway.functions[&function].next(process).await;
    #[expect(clippy::disallowed_methods, reason = "Lambda tells a function when its time is up")]
    let deadline = std::time::SystemTime::now() + gateway.functions[&function].timeout;
    let deadline = deadline.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    Response::builder()
        .header("lambda-runtime-aws-request-id", invocation.request_id)
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header(
            "lambda-runtime-invoked-function-arn",
            format!("arn:aws:lambda:us-east-1:123456789012:function:{function}"),
        )
        .body(invocation.event.to_string().into())
        .expect("a response")
}

async fn response(
    State(gateway): State<Arc<Gateway>>,
    Path((function, _, request_id)): Path<(String, usize, String)>,
    body: Bytes,
) -> StatusCode {
    let answer = serde_json::from_slice(&body).expect("a function answers JSON");
    gateway.functions[&function].answer(&request_id, Outcome::Answer(answer));
    StatusCode::ACCEPTED
}

async fn error(
    State(gateway): State<Arc<Gateway>>,
    Path((function, _, request_id)): Path<(String, usize, String)>,
    body: Bytes,
) -> StatusCode {
    let error = serde_json::from_slice(&body).expect("a function reports an error as JSON");
    gateway.functions[&function].answer(&request_id, Outcome::Error(error));
    StatusCode::ACCEPTED
}

async fn request(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY).await.expect("a body within the gateway's limit");
    let matched = gateway.routes.iter().find_map(|route| {
        let token = route.matches(parts.method.as_str(), parts.uri.path())?;
        Some((route, token))
    });
    let Some((route, token)) = matched else {
        return gateways_own(StatusCode::NOT_FOUND, "Not Found");
    };
    let request_id = Uuid::new_v4().to_string();
    let mut event = event::of(route, token.as_deref(), &parts.uri, &parts.headers, &body, &request_id);
    if let Some(authorizer) = &route.authorizer {
        match authorize(&gateway.functions[authorizer], &event).await {
            Ok(context) => event["requestContext"]["authorizer"] = json!({ "lambda": context }),
            Err((status, message)) => return gateways_own(status, message),
        }
    }
    match gateway.functions[&route.function].invoke(event, Some(request_id)).await {
        Outcome::Answer(answer) => http(&answer),
        Outcome::Error(_) => gateways_own(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        // API Gateway says 500 here, too. Another status tells what a test did from a defect.
        Outcome::Lost => gateways_own(StatusCode::BAD_GATEWAY, "Bad Gateway"),
    }
}

/// Asks an authorizer (payload format 2.0, simple response). A request without what it wants to see never gets there.
async fn authorize(authorizer: &Function, event: &Value) -> Result<Value, (StatusCode, &'static str)> {
    let identity = &event["headers"]["authorization"];
    if identity.is_null() {
        return Err((StatusCode::UNAUTHORIZED, "Unauthorized"));
    }
    let mut question = event.clone();
    question["type"] = "REQUEST".into();
    question["routeArn"] = "arn:aws:execute-api:us-east-1:123456789012:api-id/$default/GET/api/example".into();
    question["identitySource"] = json!([identity]);
    question.as_object_mut().expect("an object").retain(|name, _| name != "body" && name != "isBase64Encoded");
    match authorizer.invoke(question, None).await {
        Outcome::Answer(answer) if answer["isAuthorized"] == true => Ok(answer["context"].clone()),
        Outcome::Answer(_) => Err((StatusCode::FORBIDDEN, "Forbidden")),
        Outcome::Error(_) | Outcome::Lost => Err((StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")),
    }
}

/// What API Gateway answers by itself.
fn gateways_own(status: StatusCode, message: &str) -> Response<Body> {
    let body = json!({ "message": message }).to_string();
    Response::builder().status(status).header("content-type", "application/json").body(body.into()).expect("a response")
}

/// A function's answer (payload format 2.0) as HTTP.
fn http(answer: &Value) -> Response<Body> {
    let status = answer["statusCode"].as_u64().and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
    let text = answer["body"].as_str().unwrap_or_default();
    let body = match answer["isBase64Encoded"].as_bool() {
        Some(true) => STANDARD.decode(text).expect("base64 where it says so"),
        _ => text.as_bytes().to_vec(),
    };
    let mut response = Response::new(body.into());
    *response.status_mut() = status.expect("an answer has a status");
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str()).expect("a header's name");
        let value = HeaderValue::try_from(value.as_str().expect("a header is text")).expect("a header's value");
        response.headers_mut().insert(name, value);
    }
    response
}
