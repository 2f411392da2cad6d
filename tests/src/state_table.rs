//! A DynamoDB table for each test, behind a proxy that can simulate failures.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    },
};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{server, stored_sessions::add_to};

/// Where the functions keep sessions and count attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In tables of the test's PostgreSQL database.
    PostgreSql,
    /// In a DynamoDB table.
    DynamoDb,
}

/// How the proxy in front of DynamoDB behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamoDbHealth {
    /// It forwards every request.
    Healthy,
    /// It refuses every request with `ProvisionedThroughputExceededException`.
    Throttled,
    /// It refuses every `DeleteItem` in the same way, and forwards the other requests.
    ThrottlingDeletes,
    /// It accepts every request and never answers.
    Hanging,
}

/// A DynamoDB table that is deleted when this value is dropped.
pub struct StateTable {
    /// The table's name.
    pub name: String,
    /// The URL of the proxy, for `AWS_ENDPOINT_URL_DYNAMODB`.
    pub endpoint: String,
    proxy: Arc<DynamoDbProxy>,
    /// Whether the test has deleted the table.
    is_deleted: AtomicBool,
}

/// A request that a function sent to DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoDbRequest {
    /// `BatchGetItem`, `UpdateItem`, …
    pub operation: String,
    /// The JSON body.
    pub body: Value,
    /// The number of the round trip. Requests that are under way at the same time belong to the same one.
    pub trip: usize,
    /// The read or write units that it consumed.
    pub units: f64,
}

struct DynamoDbProxy {
    health: Mutex<DynamoDbHealth>,
    requests: Mutex<Vec<DynamoDbRequest>>,
    /// The time that an answer waits in the proxy.
    delay: Mutex<Duration>,
    /// How many requests are under way.
    under_way: AtomicUsize,
    client: Client,
}

impl StateTable {
    /// Creates a table with the key schema that `template.yaml` defines.
    pub async fn new() -> Self {
        let name = format!("test-{}", Uuid::new_v4().simple());
        let proxy = DynamoDbProxy {
            health: Mutex::new(DynamoDbHealth::Healthy),
            requests: Mutex::default(),
            delay: Mutex::default(),
            under_way: AtomicUsize::new(0),
            client: Client::new(),
        };
        let proxy = Arc::new(proxy);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(forward).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let table = Self { name, endpoint, proxy, is_deleted: AtomicBool::new(false) };
        let definition = json!({
            "TableName": table.name,
            "AttributeDefinitions": [
                { "AttributeName": "pk", "AttributeType": "S" }, { "AttributeName": "sk", "AttributeType": "S" },
            ],
            "KeySchema": [
                { "AttributeName": "pk", "KeyType": "HASH" }, { "AttributeName": "sk", "KeyType": "RANGE" },
            ],
            "BillingMode": "PAY_PER_REQUEST",
        });
        call(&table.proxy.client, "CreateTable", &definition).await;
        table
    }

    /// Deletes the table, while the functions still use it.
    pub async fn delete(&self) {
        self.is_deleted.store(true, Ordering::Relaxed);
        call(&self.proxy.client, "DeleteTable", &json!({ "TableName": self.name })).await;
    }

    /// Sets how the proxy behaves from now on.
    pub fn set_health(&self, health: DynamoDbHealth) {
        *self.proxy.health.lock().expect("no panic") = health;
    }

    /// Delays every answer from now on.
    pub fn set_delay(&self, delay: Duration) {
        *self.proxy.delay.lock().expect("no panic") = delay;
    }

    /// Every request that functions have sent so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<DynamoDbRequest> {
        self.proxy.requests.lock().expect("no panic").clone()
    }

    /// Every item of the table.
    pub async fn items(&self) -> Vec<Value> {
        let scan = json!({ "TableName": self.name, "ConsistentRead": true });
        let found = call(&self.proxy.client, "Scan", &scan).await;
        found["Items"].as_array().expect("items").clone()
    }

    /// The items that are counters of attempts.
    pub async fn counters(&self) -> Vec<Value> {
        self.items().await.into_iter().filter(is_counter).collect()
    }

    /// Simulates that this number of seconds passes for every counter: moves its times into the past.
    pub async fn let_time_pass_for_counters(&self, seconds: i64) {
        self.rewrite(is_counter, |item| {
            add_to(item, "blocked_until", -seconds);
            add_to(item, "expires_at", -seconds);
        })
        .await;
    }

    /// Changes every item that `is_meant`. No function may write to the table meanwhile.
    pub(crate) async fn rewrite(&self, is_meant: impl Fn(&Value) -> bool, change: impl Fn(&mut Value)) {
        for mut item in self.items().await.into_iter().filter(is_meant) {
            change(&mut item);
            self.put(&item).await;
        }
    }

    pub(crate) async fn put(&self, item: &Value) {
        call(&self.proxy.client, "PutItem", &json!({ "TableName": self.name, "Item": item })).await;
    }
}

fn is_counter(item: &Value) -> bool {
    item["pk"]["S"].as_str().is_some_and(|partition| partition.starts_with("c#"))
}

impl Drop for StateTable {
    /// Uses a thread and a runtime of its own, because the test's runtime may be shutting down.
    fn drop(&mut self) {
        if self.is_deleted.load(Ordering::Relaxed) {
            return;
        }
        let name = self.name.clone();
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { call(&Client::new(), "DeleteTable", &json!({ "TableName": name })).await })
        });
        assert!(dropped.join().is_ok() || std::thread::panicking(), "the DynamoDB table of a test was not deleted");
    }
}

/// DynamoDB Local requires a signature and does not verify it.
const SIGNATURE: &str =
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";

/// Calls DynamoDB Local without the proxy.
async fn call(client: &Client, operation: &str, body: &Value) -> Value {
    let request = client
        .post(server("TEST_DYNAMODB_URL"))
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", SIGNATURE)
        .body(body.to_string());
    let response = request.send().await.expect("DynamoDB Local answers");
    let (status, text) = (response.status(), response.text().await.expect("text"));
    assert!(status.is_success(), "{operation}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

async fn forward(
    State(proxy): State<Arc<DynamoDbProxy>>,
    mut headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, Bytes) {
    let operation = headers.get("x-amz-target").and_then(|target| target.to_str().ok()?.split('.').nth(1));
    let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let recorded = RequestUnderWay::begin(&proxy, operation.unwrap_or_default(), &body);
    let health = *proxy.health.lock().expect("no panic");
    if health == DynamoDbHealth::Hanging {
        std::future::pending::<()>().await;
    }
    let is_throttled = match health {
        DynamoDbHealth::Throttled => true,
        DynamoDbHealth::ThrottlingDeletes => operation == Some("DeleteItem"),
        DynamoDbHealth::Healthy | DynamoDbHealth::Hanging => false,
    };
    if is_throttled {
        let refusal = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#;
        return (StatusCode::BAD_REQUEST, HeaderMap::new(), refusal.into());
    }
    body["ReturnConsumedCapacity"] = "TOTAL".into();
    headers.remove(CONTENT_LENGTH);
    let request = proxy.client.post(server("TEST_DYNAMODB_URL")).headers(headers).body(body.to_string());
    let response = request.send().await.expect("DynamoDB Local answers");
    let (status, mut headers) = (response.status(), response.headers().clone());
    // The answer is sent on in one piece.
    headers.remove(TRANSFER_ENCODING);
    let answer = response.bytes().await.expect("a body");
    let delay = *proxy.delay.lock().expect("no panic");
    tokio::time::sleep(delay).await;
    recorded.set_units(&answer);
    (status, headers, answer)
}

/// A request that the proxy has not answered yet.
struct RequestUnderWay<'a> {
    proxy: &'a DynamoDbProxy,
    /// Its place in the list of requests.
    place: usize,
}

impl<'a> RequestUnderWay<'a> {
    fn begin(proxy: &'a DynamoDbProxy, operation: &str, body: &Value) -> Self {
        let mut requests = proxy.requests.lock().expect("no panic");
        let is_new_trip = proxy.under_way.fetch_add(1, Ordering::SeqCst) == 0;
        let trip = requests.last().map_or(0, |last| last.trip) + usize::from(is_new_trip);
        requests.push(DynamoDbRequest { operation: operation.to_owned(), body: body.clone(), trip, units: 0.0 });
        Self { proxy, place: requests.len() - 1 }
    }

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
        self.proxy.requests.lock().expect("no panic")[self.place].units = units;
    }
}

impl Drop for RequestUnderWay<'_> {
    fn drop(&mut self) {
        self.proxy.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
