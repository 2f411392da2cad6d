//! A way to the local SES that can be cut.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU8, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use reqwest::Client;
use tokio::net::TcpListener;

use crate::server;

/// What SES does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SesHealth {
    /// It takes mails.
    Well,
    /// It refuses them as it does when more come than it was granted a second.
    Throttled,
    /// It refuses them for good.
    Rejecting,
    /// It takes every request and never answers.
    Hanging,
}

/// SES, for one test.
pub struct Ses {
    /// Where functions find it.
    pub endpoint: String,
    proxy: Arc<Proxy>,
}

struct Proxy {
    health: AtomicU8,
    asked: Mutex<Vec<String>>,
    client: Client,
}

impl Ses {
    /// A new one, which is well.
    pub async fn new() -> Self {
        let proxy = Arc::new(Proxy {
            health: AtomicU8::new(SesHealth::Well as u8),
            asked: Mutex::default(),
            client: Client::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(forward).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, proxy }
    }

    /// What it was asked to do, as form data, oldest first.
    ///
    /// # Panics
    /// If a request to it panicked.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.proxy.asked.lock().expect("no request panicked").clone()
    }

    /// Lets it fail, or be well again.
    pub fn is(&self, health: SesHealth) {
        self.proxy.health.store(health as u8, Ordering::SeqCst);
    }
}

async fn forward(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
    let refusal = |code: &str, message: &str| {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
        (StatusCode::BAD_REQUEST, format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>").into())
    };
    proxy.asked.lock().expect("no request panicked").push(String::from_utf8_lossy(&body).into_owned());
    match proxy.health.load(Ordering::SeqCst) {
        health if health == SesHealth::Throttled as u8 => refusal("Throttling", "Maximum sending rate exceeded."),
        health if health == SesHealth::Rejecting as u8 => refusal("MessageRejected", "Email address is not verified."),
        health if health == SesHealth::Hanging as u8 => std::future::pending().await,
        _ => {
            let request = proxy.client.post(server("TEST_SES_URL")).headers(headers).body(body);
            let response = request.send().await.expect("the local SES answers");
            (response.status(), response.bytes().await.expect("a body"))
        }
    }
}
