//! Records the answers during a fault, and asserts that they are allowed.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, join_all};
use tests::{Person, Reply, Tokens, server};

/// The longest time an answer may take. docs/operations.md promises 4 s. The tests allow more, because a busy machine takes
/// longer to start a process or to hash a password.
const LONGEST_ANSWER: Duration = Duration::from_secs(6);

/// A fault, and the answers during it.
pub struct Fault {
    number: u32,
    description: String,
    statuses: BTreeMap<u16, usize>,
    longest: Duration,
    recovery: Option<Duration>,
}

impl Fault {
    /// A fault with its number in docs/operations.md, and its description for the table of results.
    pub fn new(number: u32, description: impl Into<String>) -> Self {
        Self {
            number,
            description: description.into(),
            statuses: BTreeMap::new(),
            longest: Duration::ZERO,
            recovery: None,
        }
    }

    /// Records an answer during the fault. It must come in time, and must be 503 if it is a server error.
    #[track_caller]
    pub fn record(&mut self, reply: &Reply) {
        assert!(reply.took < LONGEST_ANSWER, "{:?} for {}", reply.took, reply.text);
        if reply.status >= 500 {
            assert_unavailable(reply);
        }
        *self.statuses.entry(reply.status).or_default() += 1;
        self.longest = self.longest.max(reply.took);
    }

    /// Records answers that must be 503.
    #[track_caller]
    pub fn record_unavailable(&mut self, replies: &[Reply]) {
        for reply in replies {
            self.record(reply);
            assert_unavailable(reply);
        }
    }

    /// Records an answer that must be successful.
    #[track_caller]
    pub fn record_served(&mut self, reply: &Reply) {
        self.record(reply);
        assert!(reply.status < 400, "{}", reply.text);
    }

    /// Repeats a request after the fault has ended, until it is successful. No function is restarted.
    pub async fn wait_for_recovery<'a>(&mut self, ask: impl Fn() -> BoxFuture<'a, Reply>) {
        let ended = Instant::now();
        loop {
            let reply = ask().await;
            self.record(&reply);
            if reply.status < 400 {
                self.recovery = Some(self.recovery.unwrap_or_default().max(ended.elapsed()));
                return;
            }
            assert!(ended.elapsed() < Duration::from_secs(30), "the service does not recover: {}", reply.text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a request to every function after the fault, and asserts that none fails. The tokens of links are unknown, so their requests are
    /// refused.
    pub async fn assert_recovered(&mut self, ada: &Person<'_>, stranger: &Person<'_>, tokens: &Tokens) {
        self.record_served(&stranger.signs_up().await);
        self.record_served(&stranger.tries_to_sign_in().await);
        for reply in [
            ada.dashboard(&tokens.access).await,
            ada.account(&tokens.access).await,
            ada.sessions(&tokens.access).await,
            ada.reauthenticates(&tokens.access).await,
        ] {
            self.record_served(&reply);
        }
        let refreshed = ada.refreshes(&tokens.refresh).await;
        self.record_served(&refreshed);
        self.record_served(&ada.forgets_password().await);
        let unknown = "A".repeat(43);
        for refused in [ada.resets_password(&unknown, "another password").await, ada.keeps_account(&unknown).await] {
            self.record(&refused);
            refused.assert_refused(400, "invalid_or_expired_token", "Invalid or expired token");
        }
        self.record_served(&ada.logs_out(&Tokens::from(&refreshed).access).await);
    }
}

impl Drop for Fault {
    /// Appends a row for this fault to the table of results.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let statuses =
            self.statuses.iter().map(|(status, times)| format!("{times} × {status}")).collect::<Vec<_>>().join(", ");
        let recovery = self.recovery.map_or_else(|| "–".to_owned(), |recovery| recovery.as_millis().to_string());
        let row = format!(
            "| {}: {} | {statuses} | {} | {recovery} |\n",
            self.number,
            self.description,
            self.longest.as_millis()
        );
        let table = File::options().create(true).append(true).open(server("TEST_FAULTS"));
        table.and_then(|mut table| table.write_all(row.as_bytes())).expect("the table of results is writable");
    }
}

#[track_caller]
pub fn assert_unavailable(reply: &Reply) {
    reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
    assert!(reply.header("retry-after").is_some());
}

/// Sends one request to every endpoint that needs the database, all concurrently.
pub async fn request_every_endpoint(ada: &Person<'_>, stranger: &Person<'_>, tokens: &Tokens) -> Vec<Reply> {
    let unknown = "A".repeat(43);
    let asked: [BoxFuture<'_, Reply>; 12] = [
        Box::pin(stranger.signs_up()),
        Box::pin(ada.tries_to_sign_in()),
        Box::pin(ada.refreshes(&tokens.refresh)),
        Box::pin(ada.dashboard(&tokens.access)),
        Box::pin(ada.logs_out(&tokens.access)),
        Box::pin(ada.forgets_password()),
        Box::pin(ada.resets_password(&unknown, "another password")),
        Box::pin(ada.keeps_account(&unknown)),
        Box::pin(ada.account(&tokens.access)),
        Box::pin(ada.sessions(&tokens.access)),
        Box::pin(ada.reauthenticates(&tokens.access)),
        Box::pin(ada.changes_password(&tokens.access, "another password")),
    ];
    join_all(asked).await
}

/// Lets every function open its database connection, and returns the tokens of a session.
pub async fn warm_up(ada: &Person<'_>) -> Tokens {
    let ended = ada.signs_in().await;
    let tokens = ada.signs_in().await;
    for reply in [
        ada.dashboard(&tokens.access).await,
        ada.account(&tokens.access).await,
        ada.sessions(&tokens.access).await,
        ada.reauthenticates(&tokens.access).await,
    ] {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(ada.logs_out(&ended.access).await.status, 200);
    assert_eq!(ada.forgets_password().await.status, 200);
    assert_eq!(ada.resets_password(&"A".repeat(43), "another password").await.status, 400);
    assert_eq!(ada.keeps_account(&"A".repeat(43)).await.status, 400);
    tokens
}
