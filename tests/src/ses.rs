//! A way to the local SES that can be cut.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use reqwest::Client;
use tokio::net::TcpListener;
use url::form_urlencoded;

use crate::{mailbox::Mail, server};

/// What SES does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SesHealth {
    /// It takes mails.
    Well,
    /// It refuses them as it does when more come than it was granted a second.
    Throttled,
    /// It refuses them for good.
    Rejecting,
    /// It refuses all mails of the account until AWS or its owner lets it send again.
    Paused,
    /// It takes every request and never answers.
    Hanging,
}

/// SES, for one test.
pub struct Ses {
    /// Where functions find it.
    pub endpoint: String,
    proxy: Arc<Proxy>,
}

/// A mail, and when SES had taken it.
pub type Taken = (Instant, Mail);

struct Proxy {
    health: Mutex<SesHealth>,
    asked: Mutex<Vec<String>>,
    taken: Mutex<HashMap<String, Vec<Taken>>>,
    client: Client,
}

impl Ses {
    /// A new one, which is well.
    pub async fn new() -> Self {
        let proxy = Arc::new(Proxy {
            health: Mutex::new(SesHealth::Well),
            asked: Mutex::default(),
            taken: Mutex::default(),
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
        *self.proxy.health.lock().expect("no panic") = health;
    }

    /// What it has taken for an address so far, oldest first.
    #[must_use]
    pub fn taken_for(&self, address: &str) -> Vec<Taken> {
        self.proxy.taken.lock().expect("no panic").get(address).cloned().unwrap_or_default()
    }
}

async fn forward(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
    let refusal = |code: &str, message: &str| {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
        (StatusCode::BAD_REQUEST, format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>").into())
    };
    proxy.asked.lock().expect("no request panicked").push(String::from_utf8_lossy(&body).into_owned());
    let health = *proxy.health.lock().expect("no panic");
    match health {
        SesHealth::Throttled => refusal("Throttling", "Maximum sending rate exceeded."),
        SesHealth::Paused => refusal("AccountSendingPausedException", "Email sending is disabled for your account."),
        SesHealth::Rejecting => refusal("MessageRejected", "Email address is not verified."),
        SesHealth::Hanging => std::future::pending().await,
        SesHealth::Well => {
            let request = proxy.client.post(server("TEST_SES_URL")).headers(headers).body(body.clone());
            let response = request.send().await.expect("the local SES answers");
            let (status, answer) = (response.status(), response.bytes().await.expect("a body"));
            if status.is_success() {
                let (address, mail) = read(&body);
                proxy.taken.lock().expect("no panic").entry(address).or_default().push((Instant::now(), mail));
            }
            (status, answer)
        }
    }
}

/// The mail of a `SendEmail`, and to whom it goes.
fn read(request: &[u8]) -> (String, Mail) {
    let mut fields: HashMap<_, _> = form_urlencoded::parse(request).into_owned().collect();
    let mut field = |name: &str| fields.remove(name).unwrap_or_default();
    let mail = Mail {
        subject: field("Message.Subject.Data"),
        from: field("Source"),
        text: field("Message.Body.Text.Data"),
        html: field("Message.Body.Html.Data"),
    };
    (field("Destination.ToAddresses.member.1"), mail)
}
