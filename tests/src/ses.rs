//! A proxy in front of the local stand-in for SES that can simulate failures.

use std::{
    borrow::Cow,
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
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_parser::{HeaderValue, MessageParser};
use reqwest::Client;
use tokio::net::TcpListener;
use url::form_urlencoded;

use crate::{client_of_shared_servers, mailbox::Mail, server};

/// How the proxy in front of SES behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SesHealth {
    /// It forwards every mail.
    Healthy,
    /// It refuses every mail because the sending rate is exceeded. A later attempt may succeed.
    Throttled,
    /// It rejects every mail. A later attempt would fail as well.
    Rejecting,
    /// It refuses every mail because sending is paused for the whole account.
    Paused,
    /// It accepts every request and never answers.
    Hanging,
}

/// SES for one test.
pub struct Ses {
    /// The URL of the proxy, for `AWS_ENDPOINT_URL_SES`.
    pub endpoint: String,
    proxy: Arc<SesProxy>,
}

/// A mail that SES accepted, and when.
pub type AcceptedMail = (Instant, Mail);

struct SesProxy {
    health: Mutex<SesHealth>,
    requests: Mutex<Vec<String>>,
    accepted: Mutex<HashMap<String, Vec<AcceptedMail>>>,
    client: Client,
}

impl Ses {
    /// Starts a proxy that forwards every mail.
    pub async fn new() -> Self {
        let proxy = Arc::new(SesProxy {
            health: Mutex::new(SesHealth::Healthy),
            requests: Mutex::default(),
            accepted: Mutex::default(),
            client: client_of_shared_servers(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(forward).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, proxy }
    }

    /// The bodies of all requests so far, as form data, oldest first.
    ///
    /// # Panics
    /// If a request handler panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.proxy.requests.lock().expect("no request panicked").clone()
    }

    /// Sets how the proxy behaves from now on.
    pub fn set_health(&self, health: SesHealth) {
        *self.proxy.health.lock().expect("no panic") = health;
    }

    /// The mails to an address that SES has accepted so far, oldest first.
    #[must_use]
    pub fn accepted_for(&self, address: &str) -> Vec<AcceptedMail> {
        self.proxy.accepted.lock().expect("no panic").get(address).cloned().unwrap_or_default()
    }
}

async fn forward(State(proxy): State<Arc<SesProxy>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
    let refusal = |code: &str, message: &str| {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
        (StatusCode::BAD_REQUEST, format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>").into())
    };
    proxy.requests.lock().expect("no request panicked").push(String::from_utf8_lossy(&body).into_owned());
    let health = *proxy.health.lock().expect("no panic");
    match health {
        SesHealth::Throttled => refusal("Throttling", "Maximum sending rate exceeded."),
        SesHealth::Paused => refusal("AccountSendingPausedException", "Email sending is disabled for your account."),
        SesHealth::Rejecting => refusal("MessageRejected", "Email address is not verified."),
        SesHealth::Hanging => std::future::pending().await,
        SesHealth::Healthy => {
            let request = proxy.client.post(server("TEST_SES_URL")).headers(headers).body(body.clone());
            let response = request.send().await.expect("the local SES answers");
            let (status, answer) = (response.status(), response.bytes().await.expect("a body"));
            if status.is_success() {
                let (address, mail) = parse(&body);
                proxy.accepted.lock().expect("no panic").entry(address).or_default().push((Instant::now(), mail));
            }
            (status, answer)
        }
    }
}

/// The recipient and the mail of a `SendRawEmail` request.
fn parse(request: &[u8]) -> (String, Mail) {
    let mut fields: HashMap<_, _> = form_urlencoded::parse(request).into_owned().collect();
    let mut field = |name: &str| fields.remove(name).unwrap_or_default();
    let raw = STANDARD.decode(field("RawMessage.Data")).expect("base64");
    let parsed = MessageParser::default().parse(&raw).expect("a mail");
    let text = |part: Option<Cow<'_, str>>| part.unwrap_or_default().into_owned();
    let mail = Mail {
        subject: parsed.subject().unwrap_or_default().to_owned(),
        from: field("Source"),
        text: text(parsed.body_text(0)),
        html: text(parsed.body_html(0)),
    };
    let is_automatic = parsed.header("Auto-Submitted").and_then(HeaderValue::as_text) == Some("auto-generated");
    assert!(is_automatic, "the header Auto-Submitted is missing in {}", String::from_utf8_lossy(&raw));
    (field("Destinations.member.1"), mail)
}
