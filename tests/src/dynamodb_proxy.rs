//! A proxy in front of DynamoDB Local that can simulate failures, or hold a chosen request.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State as RouterState,
    http::{HeaderMap, StatusCode, header::TRANSFER_ENCODING},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, time::sleep};

use crate::{InterruptionPoint, server};

/// How the proxy in front of DynamoDB behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DynamoDbHealth {
    /// It forwards every request.
    #[default]
    Healthy,
    /// It refuses every request with `ProvisionedThroughputExceededException`.
    Throttled,
    /// It refuses every `DeleteItem` in the same way, and forwards the other requests.
    ThrottlingDeletes,
    /// It reads no item for `BatchGetItem`, and answers that all keys are unprocessed. It forwards the other requests.
    LeavingKeysUnprocessed,
    /// It breaks the connection off instead of answering.
    Unreachable,
    /// It accepts every request and never answers.
    Hanging,
    /// It forwards every request, and answers when the functions have given up.
    Late,
}

/// Longer than a function waits for DynamoDB.
const LATE: Duration = Duration::from_secs(4);

/// A request that a function sent to DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoDbRequest {
    /// `BatchGetItem`, `UpdateItem`, …
    pub operation: String,
    /// The JSON body.
    pub body: Value,
}

/// A running proxy. It stops with the runtime of its test.
pub(crate) struct DynamoDbProxy {
    state: Mutex<State>,
    held: Notify,
    released: Notify,
    client: Client,
}

#[derive(Default)]
struct State {
    health: DynamoDbHealth,
    requests: Vec<DynamoDbRequest>,
    /// How many requests came before those that `interruption` and `later_health` count.
    counted_from: usize,
    /// The number of the request to hold. The first one has the number 1.
    interruption: Option<(usize, InterruptionPoint)>,
    /// The number of the first request that meets this health.
    later_health: Option<(usize, DynamoDbHealth)>,
}

impl DynamoDbProxy {
    /// Starts a proxy, and returns it with its URL.
    pub(crate) async fn start() -> (Arc<Self>, String) {
        let proxy =
            Self { state: Mutex::default(), held: Notify::new(), released: Notify::new(), client: Client::new() };
        let proxy = Arc::new(proxy);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (proxy, url)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    pub(crate) fn set_health(&self, health: DynamoDbHealth) {
        let mut state = self.state();
        (state.health, state.later_health) = (health, None);
    }

    pub(crate) fn set_health_from(&self, number: usize, health: DynamoDbHealth) {
        let mut state = self.state();
        state.counted_from = state.requests.len();
        state.later_health = Some((number, health));
    }

    pub(crate) fn hold_request(&self, number: usize, point: InterruptionPoint) {
        let mut state = self.state();
        state.counted_from = state.requests.len();
        state.interruption = Some((number, point));
    }

    pub(crate) async fn wait_until_held(&self) {
        self.held.notified().await;
    }

    pub(crate) fn stop_interrupting(&self) {
        self.state().interruption = None;
        self.released.notify_waiters();
    }

    pub(crate) fn requests(&self) -> Vec<DynamoDbRequest> {
        self.state().requests.clone()
    }

    pub(crate) fn requests_since_fault_was_set(&self) -> usize {
        let state = self.state();
        state.requests.len() - state.counted_from
    }

    /// Records a request, and decides what happens to it.
    fn receive(&self, request: DynamoDbRequest) -> (DynamoDbHealth, Option<InterruptionPoint>) {
        let mut state = self.state();
        state.requests.push(request);
        let number = state.requests.len() - state.counted_from;
        let point = state.interruption.and_then(|(held, point)| (held == number).then_some(point));
        let health = state.later_health.filter(|(first, _)| number >= *first).map_or(state.health, |(_, later)| later);
        (health, point)
    }

    async fn hold(&self) {
        // The future counts from its creation, so a release between the two statements is not missed.
        let released = self.released.notified();
        self.held.notify_one();
        released.await;
    }

    async fn forward(&self, headers: HeaderMap, body: Bytes) -> Response {
        let request = self.client.post(server("TEST_DYNAMODB_URL")).headers(headers).body(body);
        let response = request.send().await.expect("DynamoDB Local answers");
        let (status, mut headers) = (response.status(), response.headers().clone());
        // The answer is sent on in one piece.
        headers.remove(TRANSFER_ENCODING);
        (status, headers, response.bytes().await.expect("a body")).into_response()
    }
}

async fn answer(RouterState(proxy): RouterState<Arc<DynamoDbProxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers.get("x-amz-target").and_then(|target| target.to_str().ok()?.split('.').nth(1));
    let operation = operation.unwrap_or_default().to_owned();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (health, point) = proxy.receive(DynamoDbRequest { operation: operation.clone(), body: json.clone() });
    if point == Some(InterruptionPoint::BeforeExecution) {
        proxy.hold().await;
    }
    match (health, operation.as_str()) {
        (DynamoDbHealth::Throttled, _) | (DynamoDbHealth::ThrottlingDeletes, "DeleteItem") => {
            let refusal = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#;
            return (StatusCode::BAD_REQUEST, refusal).into_response();
        }
        (DynamoDbHealth::LeavingKeysUnprocessed, "BatchGetItem") => {
            let answer = json!({ "Responses": {}, "UnprocessedKeys": json["RequestItems"] });
            return answer.to_string().into_response();
        }
        (DynamoDbHealth::Unreachable, _) => {
            return Body::from_stream(stream::iter([Err::<Bytes, _>(io::Error::other("broken off"))])).into_response();
        }
        (DynamoDbHealth::Hanging, _) => std::future::pending().await,
        _ => {}
    }
    let response = proxy.forward(headers, body).await;
    if point == Some(InterruptionPoint::AfterCommit) {
        proxy.hold().await;
    }
    if health == DynamoDbHealth::Late {
        sleep(LATE).await;
    }
    response
}
