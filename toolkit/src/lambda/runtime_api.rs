//! The Lambda runtime interface. A process requests its next event here, and sends its answer here.
//!
//! Each process has its own address, `/<function>/<number of the process>`, so that this module knows which process has which
//! event.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, State},
    http::{Response, StatusCode},
    response::IntoResponse as _,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Functions, Outcome};

/// Lambda limits an answer to 6 MB. The additional 2 MB allow for JSON escapes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Serves until the runtime of the caller ends.
pub(super) fn serve(listener: TcpListener, functions: Arc<Functions>) {
    let app = Router::new()
        .route("/{function}/{process}/2018-06-01/runtime/invocation/next", get(next))
        .route("/{function}/{process}/2018-06-01/runtime/invocation/{request_id}/response", post(response))
        .route("/{function}/{process}/2018-06-01/runtime/invocation/{request_id}/error", post(error))
        .layer(DefaultBodyLimit::max(MAX_ANSWER))
        .with_state(functions);
    tokio::spawn(async move { axum::serve(listener, app).await });
}

async fn next(State(functions): State<Arc<Functions>>, Path((name, process)): Path<(String, usize)>) -> Response<Body> {
    let Some(function) = functions.get(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let invocation = function.next_event(process).await;
    #[expect(clippy::disallowed_methods, reason = "Lambda gives each event a deadline")]
    let deadline = SystemTime::now() + function.timeout();
    let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let headers = [
        ("lambda-runtime-aws-request-id", invocation.request_id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", format!("arn:aws:lambda:us-east-1:123456789012:function:{name}")),
    ];
    (headers, invocation.event.to_string()).into_response()
}

type InvocationPath = Path<(String, usize, String)>;

async fn response(State(functions): State<Arc<Functions>>, path: InvocationPath, body: Bytes) -> StatusCode {
    let outcome = serde_json::from_slice(&body).map(Outcome::Answer);
    answer(&functions, path, outcome.unwrap_or_else(|_| Outcome::Error(json!({ "errorType": "InvalidResponse" }))))
}

async fn error(State(functions): State<Arc<Functions>>, path: InvocationPath, body: Bytes) -> StatusCode {
    let error: Value = serde_json::from_slice(&body).unwrap_or_default();
    answer(&functions, path, Outcome::Error(error))
}

fn answer(functions: &Functions, Path((name, _, request_id)): InvocationPath, outcome: Outcome) -> StatusCode {
    let Some(function) = functions.get(&name) else { return StatusCode::NOT_FOUND };
    function.deliver(&request_id, outcome);
    StatusCode::ACCEPTED
}
