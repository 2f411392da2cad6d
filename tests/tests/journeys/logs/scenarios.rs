//! Traffic whose secrets and personal data are marked, so that a log can be searched for them.

use std::time::Duration;

use serde_json::json;
use tests::{Person, Stack, Tokens, documents, mailbox, wait_until};
use tokio::time::sleep;
use uuid::Uuid;

/// Unique texts that no log may contain. Every secret that a client sends contains `secret`, all personal data contains `personal`.
pub struct Marks {
    pub secret: String,
    pub personal: String,
    pub tokens: Vec<String>,
    pub hashes: Vec<String>,
}

impl Marks {
    pub fn new() -> Self {
        let mark = || Uuid::new_v4().simple().to_string();
        Self { secret: mark(), personal: mark(), tokens: Vec::new(), hashes: Vec::new() }
    }

    pub fn person<'a>(&self, stack: &'a Stack) -> Person<'a> {
        let mut person = stack.stranger(&self.personal).with_password(&format!("old {}", self.secret));
        person.name = format!("Name {}", self.personal);
        person
    }

    /// Adds tokens that no log may contain.
    pub fn add_tokens(&mut self, tokens: &Tokens) {
        // The header is the same for all tokens, so only claims and signature identify one.
        self.tokens.extend(
            [&tokens.access, &tokens.refresh].into_iter().flat_map(|token| token.split('.').skip(1)).map(str::to_owned),
        );
    }

    pub fn assert_no_secret(&self, what: &str, log: &str) {
        for secret in self.tokens.iter().chain([&self.secret]) {
            assert!(!log.contains(secret), "{what} logged a secret: {}", line_with(log, secret));
        }
    }

    /// Adds all stored password hashes.
    pub async fn add_hashes(&mut self, stack: &Stack) {
        let hashes = stack.sql_text("SELECT string_agg(password, ' ') FROM users").await;
        self.hashes.extend(hashes.split(' ').map(str::to_owned));
    }

    pub fn assert_no_personal_data(&self, what: &str, log: &str) {
        for personal in self.hashes.iter().chain([&self.personal]) {
            assert!(!log.contains(personal), "{what} logged personal data: {}", line_with(log, personal));
        }
    }
}

/// The line of a log that contains a text.
pub fn line_with<'a>(log: &'a str, found: &str) -> &'a str {
    log.lines().find(|line| line.contains(found)).unwrap_or_default()
}

/// Sends successful and refused requests to every endpoint, as a user would.
pub async fn send_usual_requests(stack: &Stack, marks: &mut Marks) {
    let ada = marks.person(stack);
    ada.signs_up().await.assert_created();
    assert_eq!(ada.with_email(&ada.email.to_uppercase()).signs_up().await.json()["code"], "user_already_exists");
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    assert_eq!(ada.dashboard(&second.access).await.status, 200);
    assert_eq!(ada.logs_out(&second.access).await.status, 200);
    assert_eq!(ada.dashboard(&second.access).await.status, 401);
    assert_eq!(ada.refreshes(&first.refresh).await.status, 401);
    assert_eq!(ada.with_password(&format!("wrong {}", marks.secret)).tries_to_sign_in().await.status, 401);

    let session = ada.signs_in().await;
    assert_eq!(ada.requests_verification_mail(&session.access).await.status, 202);
    let verification = ada.mails(1).await.remove(0);
    assert_eq!(
        ada.with_password(&format!("wrong {}", marks.secret)).verifies_by_link(&verification.token()).await.status,
        401
    );
    assert_eq!(ada.verifies_by_code(&session.access, &verification.code()).await.status, 200);
    marks.add_tokens(&session);
    marks.tokens.extend([verification.code(), verification.token()]);

    let link = ada.receives_reset_mail(2).await;
    assert_eq!(stack.get(&link.link().replace(&stack.base_url, "")).await.status, 200);
    let token = link.token();
    assert_eq!(ada.resets_password(&token, &"2 long ".repeat(50)).await.status, 400);
    let new = format!("new {}", marks.secret);
    for status in [200, 400] {
        assert_eq!(ada.resets_password(&token, &new).await.status, status);
    }
    let third = ada.with_password(&new).signs_in().await;
    let keep_token = ada.deletes_account_with_mail(&third.access, 4).await;
    for status in [200, 400] {
        assert_eq!(ada.keeps_account(&keep_token).await.status, status);
    }
    let fourth = ada.with_password(&new).signs_in().await;
    for tokens in [&first, &second, &third, &fourth] {
        marks.add_tokens(tokens);
    }
    marks.tokens.extend([token, keep_token]);

    let other = marks.person(stack);
    let access = &fourth.access;
    assert_eq!(ada.requests_email_change(access, &format!("{} {}", marks.personal, marks.secret)).await.status, 400);
    assert_eq!(ada.requests_email_change(access, &other.email).await.status, 202);
    let link = other.newest_mail(mailbox::EMAIL_CHANGE).await.token();
    assert_eq!(ada.with_password(&format!("wrong {}", marks.secret)).changes_email(&link).await.status, 401);
    for status in [200, 400] {
        assert_eq!(ada.with_password(&new).changes_email(&link).await.status, status);
    }
    assert_eq!(ada.signs_up().await.json()["code"], "user_already_exists", "the earlier address is reserved");
    let undo = ada.newest_mail(mailbox::EMAIL_CHANGED).await.token();
    for status in [200, 400] {
        assert_eq!(ada.undoes_email_change(&undo).await.status, status);
    }
    let reset = ada.newest_mail(mailbox::RESET).await.token();
    marks.tokens.extend([link, undo, reset]);

    // As if the function had stopped before it sent this notice.
    stack
        .sql("INSERT INTO outbox (user_id, kind, id, due_at, expires_at) SELECT id, 'password_changed', gen_random_uuid(), now(), now() + interval '1 hour' FROM users")
        .await;
    assert_eq!(stack.sweep().await["mails_sent"], 1);
}

/// Sends malformed requests that contain the marks in every field.
pub async fn send_malformed_requests(stack: &Stack, marks: &Marks) {
    let Marks { secret, personal, .. } = marks;
    let object = |end: &str| {
        let (personal, secret) = (format!("{personal}{end}"), format!("{secret}{end}"));
        json!({ "name": personal, "email": personal, "password": secret, secret.as_str(): secret })
            .to_string()
            .into_bytes()
    };
    let bodies = [
        object(""),
        object("\0"),
        format!("{{\"password\":\"{secret}").into_bytes(),
        format!("\"{secret}\"").into_bytes(),
        [secret.as_bytes(), b"\xff\xfe"].concat(),
    ];
    for route in documents::routes() {
        let path = format!("{}?token={secret}&{secret}", route.path.replace("{token}", secret).replace("{id}", secret));
        for credentials in [format!("Bearer {secret}"), format!("Basic {secret}"), secret.clone()] {
            for body in &bodies {
                let reply = stack.send(route.method.parse().unwrap(), &path, |request| {
                    let request =
                        request.header("content-type", "application/json").header("authorization", &credentials);
                    let request = request.header("cookie", secret).header("x-odd", bodies[4].as_slice());
                    request.body(body.clone())
                });
                assert!(reply.await.status < 500);
            }
        }
    }
    stack.get(&format!("/nowhere/{secret}?{secret}")).await;
    let headers = json!({ "content-type": "application/json", "authorization": "Bearer" });
    let mut event = json!({ "headers": headers, "body": String::from_utf8_lossy(&bodies[0]), "requestContext": { "http": { "method": "POST" } } });
    stack.invoke("panics", &event).await.unwrap();
    event["headers"]["authorization"] = format!("Bearer\n{secret}").into();
    for route in documents::routes() {
        stack.invoke(&route.function, &event).await.unwrap();
    }
}

/// Closes the functions' connections, because changed settings of a database hold for new connections only.
const CLOSE_CONNECTIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'jwt-auth'";

/// Sends requests while the database fails in different ways.
pub async fn send_requests_during_failures(stack: &Stack, marks: &mut Marks) {
    let (mut rival, operator) = (stack.database.connect().await, stack.database.connect().await);
    let database = stack.sql_text("SELECT current_database()::text").await;
    let alter = async |change: &str| {
        operator.batch_execute(&format!("ALTER DATABASE {database} {change}; {CLOSE_CONNECTIONS}")).await.unwrap();
    };
    let ada = marks.person(stack);
    ada.signs_up().await.assert_created();
    let tokens = ada.signs_in().await;
    marks.add_tokens(&tokens);

    // The connection of a waiting statement is closed, and the repeated statement is cancelled at the deadline.
    let lock = rival.transaction().await.unwrap();
    lock.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    let close_connection = async {
        sleep(Duration::from_millis(300)).await;
        operator.batch_execute(CLOSE_CONNECTIONS).await.unwrap();
    };
    let (reply, ()) = tokio::join!(ada.refreshes(&tokens.refresh), close_connection);
    assert_eq!(reply.status, 503);
    let busy = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'jwt-auth' AND state = 'active'";
    wait_until("no statement runs", async || stack.sql_number(busy).await == 0).await;
    for setting in ["lock_timeout", "statement_timeout"] {
        alter(&format!("SET {setting} = '50ms'")).await;
        assert_eq!(ada.refreshes(&tokens.refresh).await.status, 503);
        assert_eq!(ada.logs_out(&tokens.access).await.status, 503);
        alter(&format!("RESET {setting}")).await;
    }
    lock.rollback().await.unwrap();

    for (break_it, repair_it) in [
        ("SET default_transaction_read_only = on", "RESET default_transaction_read_only"),
        ("SET search_path = pg_catalog", "RESET search_path"),
        ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1"),
    ] {
        alter(break_it).await;
        let stranger = marks.person(stack);
        for reply in [stranger.signs_up().await, ada.tries_to_sign_in().await, ada.forgets_password().await] {
            assert!(reply.status >= 500, "{}", reply.text);
        }
        assert!(ada.resets_password(&"A".repeat(43), &marks.secret).await.status >= 500);
        alter(repair_it).await;
    }
    marks.add_tokens(&ada.signs_in().await);
}

/// Sends requests that violate a constraint which the migrations do not contain. PostgreSQL quotes the refused row in the details of the error.
pub async fn violate_a_constraint(stack: &Stack, marks: &mut Marks) {
    let ada = marks.person(stack);
    ada.signs_up().await.assert_created();
    let token = ada.receives_reset_mail(1).await.token();
    stack.sql("ALTER TABLE users ADD CONSTRAINT elsewhere CHECK (created_at < '2000-01-01') NOT VALID").await;
    let stranger = marks.person(stack);
    for reply in [stranger.signs_up().await, ada.resets_password(&token, &marks.secret).await] {
        reply.assert_refused(500, "internal_error", "Internal server error");
    }
    assert!(stack.log_of("signup").contains("23514"), "{}", stack.log_of("signup"));
    marks.tokens.push(token);
}
