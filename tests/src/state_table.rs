//! A DynamoDB table for each test, behind a proxy that can take it away.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::server;

/// Where attempts are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In the database, beside everything else.
    PostgreSql,
    /// In a table of their own.
    DynamoDb,
}

/// What the table does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Well,
    /// It refuses everything as a table does that has more to do than it may.
    Throttled,
    /// It takes every request and never answers.
    Hanging,
}

/// A table of its own, dropped with this value.
pub struct StateTable {
    /// Its name.
    pub name: String,
    /// Where functions find DynamoDB.
    pub endpoint: String,
    proxy: Arc<Proxy>,
}

/// What a function asked of DynamoDB.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `BatchGetItem`, `UpdateItem`, …
    pub operation: String,
    /// The body.
    pub body: Value,
}

struct Proxy {
    health: Mutex<Health>,
    asked: Mutex<Vec<Asked>>,
    client: Client,
}

impl StateTable {
    /// A new table, as the template makes it.
    pub async fn new() -> Self {
        let name = format!("test-{}", Uuid::new_v4().simple());
        let proxy = Proxy { health: Mutex::new(Health::Well), asked: Mutex::default(), client: Client::new() };
        let proxy = Arc::new(proxy);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(forward).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let table = Self { name, endpoint, proxy };
        let definition = json!({
            "TableName": table.name,
            "AttributeDefinitions": [{ "AttributeName": "key", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "key", "KeyType": "HASH" }],
            "BillingMode": "PAY_PER_REQUEST",
        });
        ask(&table.proxy.client, "CreateTable", &definition).await;
        table
    }

    /// Lets the table fail, or be well again.
    pub fn is(&self, health: Health) {
        *self.proxy.health.lock().expect("no panic") = health;
    }

    /// Everything functions have asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.proxy.asked.lock().expect("no panic").clone()
    }

    /// Everything in the table.
    pub async fn items(&self) -> Vec<Value> {
        let scan = json!({ "TableName": self.name, "ConsistentRead": true });
        let found = ask(&self.proxy.client, "Scan", &scan).await;
        found["Items"].as_array().expect("items").clone()
    }

    /// Makes everything in the table older.
    pub async fn pass(&self, seconds: i64) {
        for mut item in self.items().await {
            for time in ["blocked_until", "expires_at"] {
                if let Some(at) = item[time]["N"].as_str().and_then(|at| at.parse::<i64>().ok()) {
                    item[time]["N"] = (at - seconds).to_string().into();
                }
            }
            ask(&self.proxy.client, "PutItem", &json!({ "TableName": self.name, "Item": item })).await;
        }
    }
}

impl Drop for StateTable {
    /// As with a test's database: on a thread and a runtime of its own.
    fn drop(&mut self) {
        let name = self.name.clone();
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { ask(&Client::new(), "DeleteTable", &json!({ "TableName": name })).await })
        });
        assert!(dropped.join().is_ok() || std::thread::panicking(), "the table of a test could not be dropped");
    }
}

/// DynamoDB Local wants a signature and does not look at it.
const SIGNATURE: &str =
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";

async fn ask(client: &Client, operation: &str, body: &Value) -> Value {
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

async fn forward(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap, Bytes) {
    let operation = headers.get("x-amz-target").and_then(|target| target.to_str().ok()?.split('.').nth(1));
    proxy.asked.lock().expect("no panic").push(Asked {
        operation: operation.unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    let health = *proxy.health.lock().expect("no panic");
    if health == Health::Hanging {
        std::future::pending::<()>().await;
    }
    if health == Health::Throttled {
        let refusal = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#;
        return (StatusCode::BAD_REQUEST, HeaderMap::new(), refusal.into());
    }
    let request = proxy.client.post(server("TEST_DYNAMODB_URL")).headers(headers).body(body);
    let response = request.send().await.expect("DynamoDB Local answers");
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, response.bytes().await.expect("a body"))
}
