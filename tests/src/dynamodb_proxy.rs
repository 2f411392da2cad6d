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
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    },
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, time::sleep};

use crate::{InterruptionPoint, client_of_shared_servers, server};

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
    /// The number of the round trip. Requests that are under way at the same time belong to the same round trip.
    pub trip: usize,
    /// The read or write units that it consumed.
    pub units: f64,
}

impl DynamoDbRequest {
    /// The partition keys of the items that it reads or writes.
    #[must_use]
    pub fn partitions(&self) -> Vec<&str> {
        let keys: Vec<&Value> = match self.operation.as_str() {
            "BatchGetItem" => {
                let tables = self.body["RequestItems"].as_object().into_iter().flat_map(|tables| tables.values());
                tables.filter_map(|table| table["Keys"].as_array()).flatten().map(|key| &key["pk"]).collect()
            }
            "PutItem" => vec![&self.body["Item"]["pk"]],
            "Query" => vec![&self.body["ExpressionAttributeValues"][":pk"]],
            _ => vec![&self.body["Key"]["pk"]],
        };
        keys.into_iter().map(|key| key["S"].as_str().expect("a partition key")).collect()
    }
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
    /// The time that an answer waits in the proxy.
    delay: Duration,
    /// How many requests are under way.
    under_way: usize,
    requests: Vec<DynamoDbRequest>,
    /// How many requests had arrived when `interruption` or `later_health` was set. Both count only the requests after these.
    counted_from: usize,
    /// The number of the request to hold. The first one has the number 1.
    interruption: Option<(usize, InterruptionPoint)>,
    /// From the request with this number on, the proxy behaves like this.
    later_health: Option<(usize, DynamoDbHealth)>,
}

impl DynamoDbProxy {
    /// Starts a proxy, and returns it with its URL.
    pub(crate) async fn start() -> (Arc<Self>, String) {
        let proxy = Arc::new(Self {
            state: Mutex::default(),
            held: Notify::new(),
            released: Notify::new(),
            client: client_of_shared_servers(),
        });
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

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.state().delay = delay;
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
    fn receive(
        &self,
        operation: &str,
        body: &Value,
    ) -> (RequestUnderWay<'_>, DynamoDbHealth, Option<InterruptionPoint>) {
        let mut state = self.state();
        let trip = state.requests.last().map_or(0, |last| last.trip) + usize::from(state.under_way == 0);
        state.under_way += 1;
        state.requests.push(DynamoDbRequest { operation: operation.to_owned(), body: body.clone(), trip, units: 0.0 });
        let recorded = RequestUnderWay { proxy: self, place: state.requests.len() - 1 };
        let number = state.requests.len() - state.counted_from;
        let point = state.interruption.and_then(|(held, point)| (held == number).then_some(point));
        let health = state.later_health.filter(|(first, _)| number >= *first).map_or(state.health, |(_, later)| later);
        (recorded, health, point)
    }

    async fn hold(&self) {
        // The future is woken by every release after its creation, so a release before the `await` is not missed.
        let released = self.released.notified();
        self.held.notify_one();
        released.await;
    }

    /// Forwards a request, and also asks DynamoDB how many units it consumes.
    async fn forward(&self, mut headers: HeaderMap, mut body: Value) -> (StatusCode, HeaderMap, Bytes) {
        body["ReturnConsumedCapacity"] = "TOTAL".into();
        headers.remove(CONTENT_LENGTH);
        let request = self.client.post(server("TEST_DYNAMODB_URL")).headers(headers).body(body.to_string());
        let response = request.send().await.expect("DynamoDB Local answers");
        let (status, mut headers) = (response.status(), response.headers().clone());
        // The answer is sent on in one piece.
        headers.remove(TRANSFER_ENCODING);
        (status, headers, response.bytes().await.expect("a body"))
    }
}

/// A request that the proxy has not answered yet.
struct RequestUnderWay<'a> {
    proxy: &'a DynamoDbProxy,
    /// Its place in the list of requests.
    place: usize,
}

impl RequestUnderWay<'_> {
    /// Records the units that the request has consumed, which are in DynamoDB's answer.
    fn set_units(&self, answer: &[u8]) {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let consumed = &answer["ConsumedCapacity"];
        let each = consumed.as_array().map_or_else(|| vec![consumed], |list| list.iter().collect());
        let mut units: f64 = each.into_iter().filter_map(|one| one["CapacityUnits"].as_f64()).sum();
        // A write whose condition fails also consumes a unit, which the answer does not say.
        if answer["__type"].as_str().is_some_and(|refusal| refusal.ends_with("ConditionalCheckFailedException")) {
            units = 1.0;
        }
        self.proxy.state().requests[self.place].units = units;
    }
}

impl Drop for RequestUnderWay<'_> {
    fn drop(&mut self) {
        self.proxy.state().under_way -= 1;
    }
}

async fn answer(RouterState(proxy): RouterState<Arc<DynamoDbProxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers.get("x-amz-target").and_then(|target| target.to_str().ok()?.split('.').nth(1));
    let operation = operation.unwrap_or_default().to_owned();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (recorded, health, point) = proxy.receive(&operation, &json);
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
    let (status, headers, content) = proxy.forward(headers, json).await;
    let delay = proxy.state().delay;
    sleep(delay).await;
    recorded.set_units(&content);
    if point == Some(InterruptionPoint::AfterCommit) {
        proxy.hold().await;
    }
    if health == DynamoDbHealth::Late {
        sleep(LATE).await;
    }
    (status, headers, content).into_response()
}
