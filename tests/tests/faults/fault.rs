//! What users see of a fault.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, join_all};
use tests::{Person, Reply, Stack, Tokens, server};

/// The longest an answer may take. 4 s is promised, and docs/operations.md has what was measured; a machine that has other work may
/// take longer to start a process or to hash a password.
const LONGEST: Duration = Duration::from_secs(6);

/// A fault, and every answer that was given because or in spite of it.
pub struct Fault {
    number: u32,
    what: String,
    seen: BTreeMap<u16, usize>,
    longest: Duration,
    healed: Option<Duration>,
}

impl Fault {
    /// A fault by its number in docs/operations.md, and in words for the table there.
    pub fn new(number: u32, what: impl Into<String>) -> Self {
        Self { number, what: what.into(), seen: BTreeMap::new(), longest: Duration::ZERO, healed: None }
    }

    /// An answer under the fault: in time, and either what would be said without it, or that the service is unavailable.
    #[track_caller]
    pub fn saw(&mut self, reply: &Reply) {
        assert!(reply.took < LONGEST, "{:?} for {}", reply.took, reply.text);
        if reply.status >= 500 {
            assert_unavailable(reply);
        }
        *self.seen.entry(reply.status).or_default() += 1;
        self.longest = self.longest.max(reply.took);
    }

    /// The same, when nothing can be served.
    #[track_caller]
    pub fn saw_unavailable(&mut self, replies: &[Reply]) {
        for reply in replies {
            self.saw(reply);
            assert_unavailable(reply);
        }
    }

    /// The same, when users should notice nothing.
    #[track_caller]
    pub fn saw_served(&mut self, reply: &Reply) {
        self.saw(reply);
        assert!(reply.status < 400, "{}", reply.text);
    }

    /// The fault has ended: asks until it is served, which takes no restart of a function.
    pub async fn has_ended<'a>(&mut self, ask: impl Fn() -> BoxFuture<'a, Reply>) {
        let ended = Instant::now();
        loop {
            let reply = ask().await;
            self.saw(&reply);
            if reply.status < 400 {
                self.healed = Some(self.healed.unwrap_or_default().max(ended.elapsed()));
                return;
            }
            assert!(ended.elapsed() < Duration::from_secs(30), "it does not heal: {}", reply.text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Nothing of the fault is left: whatever a function is asked first after it, it serves.
    pub async fn is_over(&mut self, ada: &Person<'_>, stranger: &Person<'_>, tokens: &Tokens) {
        self.saw_served(&stranger.signs_up().await);
        self.saw_served(&stranger.tries_to_sign_in().await);
        self.saw_served(&ada.dashboard(&tokens.access).await);
        let refreshed = ada.refreshes(&tokens.refresh).await;
        self.saw_served(&refreshed);
        self.saw_served(&ada.forgets_password().await);
        let unknown = ada.resets_password(&"A".repeat(43), "another password").await;
        unknown.assert_refused(400, "invalid_or_expired_token", "Invalid or expired token");
        self.saw_served(&ada.logs_out(&Tokens::from(&refreshed).access).await);
    }
}

impl Drop for Fault {
    /// Writes the row of the table.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let seen = self.seen.iter().map(|(status, times)| format!("{times} × {status}")).collect::<Vec<_>>().join(", ");
        let healed = self.healed.map_or_else(|| "–".to_owned(), |healed| healed.as_millis().to_string());
        let row = format!("| {}: {} | {seen} | {} | {healed} |\n", self.number, self.what, self.longest.as_millis());
        let table = File::options().create(true).append(true).open(server("TEST_FAULTS"));
        table.and_then(|mut table| table.write_all(row.as_bytes())).expect("the table takes a row");
    }
}

#[track_caller]
pub fn assert_unavailable(reply: &Reply) {
    reply.assert_refused(503, "service_unavailable", "Service temporarily unavailable");
    assert!(reply.header("retry-after").is_some());
}

/// One of everything that needs the database, at once.
pub async fn everything(ada: &Person<'_>, stranger: &Person<'_>, tokens: &Tokens) -> Vec<Reply> {
    let unknown = "A".repeat(43);
    let asked: [BoxFuture<'_, Reply>; 7] = [
        Box::pin(stranger.signs_up()),
        Box::pin(ada.tries_to_sign_in()),
        Box::pin(ada.refreshes(&tokens.refresh)),
        Box::pin(ada.dashboard(&tokens.access)),
        Box::pin(ada.logs_out(&tokens.access)),
        Box::pin(ada.forgets_password()),
        Box::pin(ada.resets_password(&unknown, "another password")),
    ];
    join_all(asked).await
}

/// Everything that has a connection has used it, and its owner a session.
pub async fn warm(ada: &Person<'_>) -> Tokens {
    let ended = ada.signs_in().await;
    let tokens = ada.signs_in().await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    let tokens = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(ada.logs_out(&ended.access).await.status, 200);
    assert_eq!(ada.forgets_password().await.status, 200);
    assert_eq!(ada.resets_password(&"A".repeat(43), "another password").await.status, 400);
    tokens
}

/// Returns when a statement of a function waits for a lock.
pub async fn wait_for_blocked_statement(stack: &Stack) {
    let role = stack.database.name();
    let waiting =
        format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND wait_event_type = 'Lock'");
    while stack.sql_number(&waiting).await == 0 {}
}
