//! A DynamoDB table for each test, behind a proxy that can simulate failures.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};
use shared::{domain::CounterKey, security::policy};
use uuid::Uuid;

use crate::{
    DynamoDbHealth, DynamoDbRequest, InterruptionPoint, client_of_shared_servers,
    dynamodb_proxy::DynamoDbProxy,
    server,
    stored_sessions::{add_to, now_in_millis},
};

/// Where the functions keep sessions and count attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In tables of the test's PostgreSQL database.
    PostgreSql,
    /// In a DynamoDB table.
    DynamoDb,
}

/// A DynamoDB table that is deleted when this value is dropped.
pub struct StateTable {
    /// The table's name.
    pub name: String,
    /// The URL of the proxy, for `AWS_ENDPOINT_URL_DYNAMODB`.
    pub endpoint: String,
    proxy: Arc<DynamoDbProxy>,
    client: Client,
    /// Whether the test has deleted the table.
    is_deleted: AtomicBool,
}

impl StateTable {
    /// Creates a table with the key schema that `template.yaml` defines.
    pub async fn new() -> Self {
        let name = format!("test-{}", Uuid::new_v4().simple());
        let (proxy, endpoint) = DynamoDbProxy::start().await;
        let table =
            Self { name, endpoint, proxy, client: client_of_shared_servers(), is_deleted: AtomicBool::new(false) };
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
        call(&table.client, "CreateTable", &definition).await;
        table
    }

    /// Deletes the table, while the functions still use it.
    pub async fn delete(&self) {
        self.is_deleted.store(true, Ordering::Relaxed);
        call(&self.client, "DeleteTable", &json!({ "TableName": self.name })).await;
    }

    /// Delays every answer from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.proxy.set_delay(delay);
    }

    /// Sets how the proxy behaves from now on.
    pub fn set_health(&self, health: DynamoDbHealth) {
        self.proxy.set_health(health);
    }

    /// Sets how the proxy behaves from the request with this number on. The next request has the number 1.
    pub fn set_health_from(&self, number: usize, health: DynamoDbHealth) {
        self.proxy.set_health_from(number, health);
    }

    /// Holds the request with this number. The next request has the number 1. [`StateTable::wait_until_held`] returns when it is held.
    pub fn hold_request(&self, number: usize, point: InterruptionPoint) {
        self.proxy.hold_request(number, point);
    }

    /// Waits until a request is held.
    pub async fn wait_until_held(&self) {
        self.proxy.wait_until_held().await;
    }

    /// Lets a held request continue, and holds no further one.
    pub fn stop_interrupting(&self) {
        self.proxy.stop_interrupting();
    }

    /// Every request that functions have sent so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<DynamoDbRequest> {
        self.proxy.requests()
    }

    /// The number of requests since [`StateTable::set_health_from`] or [`StateTable::hold_request`].
    #[must_use]
    pub fn requests_since_fault_was_set(&self) -> usize {
        self.proxy.requests_since_fault_was_set()
    }

    /// Every item of the table.
    pub async fn items(&self) -> Vec<Value> {
        let scan = json!({ "TableName": self.name, "ConsistentRead": true });
        let found = call(&self.client, "Scan", &scan).await;
        found["Items"].as_array().expect("items").clone()
    }

    /// The items that are counters of attempts.
    pub async fn counters(&self) -> Vec<Value> {
        self.items().await.into_iter().filter(is_counter).collect()
    }

    /// Sets the counter of failed sign-ins of a source, which consists of several items. Each item gets an equal part and expires in an hour.
    pub async fn set_failures_of_source(&self, source: &str, attempts: i64) {
        for number in 0..policy::ITEMS_OF_SOURCE {
            let item = CounterKey::of(&["signin", "source", source]).item(number);
            self.set_counter(item, attempts / i64::from(policy::ITEMS_OF_SOURCE)).await;
        }
    }

    /// Sets a counter, which expires five seconds before an hour has passed. A sign-in that is under way has read its time a moment earlier, and must
    /// still be told to wait at most an hour.
    pub async fn set_counter(&self, counter: CounterKey, attempts: i64) {
        let key = hex::encode(counter.as_bytes());
        let counter = json!({
            "pk": { "S": format!("c#{key}") },
            "sk": { "S": "counter" },
            "attempts": { "N": attempts.to_string() },
            "expires_at": { "N": (now_in_millis() / 1000 + 3595).to_string() },
        });
        self.put(&counter).await;
    }

    /// Simulates that this number of seconds passes for every counter: moves its times into the past.
    pub async fn let_time_pass_for_counters(&self, seconds: i64) {
        self.rewrite(is_counter, |item| {
            add_to(item, "blocked_until", -seconds);
            add_to(item, "expires_at", -seconds);
        })
        .await;
    }

    /// Changes every item for which `is_meant` is true. No function may write to the table meanwhile.
    pub(crate) async fn rewrite(&self, is_meant: impl Fn(&Value) -> bool, change: impl Fn(&mut Value)) {
        for mut item in self.items().await.into_iter().filter(is_meant) {
            change(&mut item);
            self.put(&item).await;
        }
    }

    pub(crate) async fn put(&self, item: &Value) {
        call(&self.client, "PutItem", &json!({ "TableName": self.name, "Item": item })).await;
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
            runtime.block_on(async {
                call(&client_of_shared_servers(), "DeleteTable", &json!({ "TableName": name })).await
            })
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
