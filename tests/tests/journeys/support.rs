//! Requests and assertions that several files of journeys share.

use std::{
    io::{Read, Seek, SeekFrom},
    time::Duration,
};

use reqwest::Method;
use serde_json::json;
use tests::{DynamoDbRequest, Person, Reply, Stack, Tokens, documents};
use tokio::time::sleep;
use toolkit::needs::Need;
use uuid::Uuid;

/// A user with a verified address.
pub async fn verified_user<'a>(stack: &'a Stack, name: &str) -> Person<'a> {
    let person = stack.user(name).await;
    person.has_verified().await;
    person
}

/// Asserts the one answer to a passkey that is wrong in any way.
#[track_caller]
pub fn assert_passkey_rejected(reply: &Reply) {
    reply.assert_refused(400, "passkey_rejected", "Passkey rejected");
}

/// Calls the route behind the authorizer.
pub async fn get_example(stack: &Stack, access_token: &str) -> Reply {
    stack.with_token(Method::GET, "/api/example", access_token).await
}

/// Asserts that the needs of a function allow these requests to DynamoDB: both the action and the partition of each.
#[track_caller]
pub fn assert_role_allows(function: &str, requests: &[DynamoDbRequest]) {
    let needs = &documents::endpoints().iter().find(|endpoint| endpoint.name == function).expect("a function").needs;
    for request in requests {
        let action = format!("dynamodb:{}", request.operation);
        for partition in request.partitions() {
            let allows = |need: &&Need| {
                let prefix = need.partitions().map(|pattern| pattern.trim_end_matches('*'));
                need.actions().contains(&&*action) && prefix.is_some_and(|prefix| partition.starts_with(prefix))
            };
            assert!(needs.iter().any(|need| allows(&need)), "{function} may not call {action} in {partition}");
        }
    }
}

/// Asserts the answer that API Gateway gives by itself, without calling the function.
#[track_caller]
pub fn assert_gateway_answer(reply: &Reply, status: u16, message: &str) {
    assert_eq!((reply.status, reply.json()), (status, json!({ "message": message })));
}

/// Asserts the answer to a link of a mail that is unknown, used, void or expired.
#[track_caller]
pub fn assert_link_refused(reply: &Reply) {
    reply.assert_refused(400, "invalid_or_expired_token", "Invalid or expired token");
}

/// Asserts that every endpoint refuses the tokens of a session that has ended.
pub async fn assert_session_ended(stack: &Stack, tokens: &Tokens) {
    for (method, path) in [(Method::GET, "/api/dashboard"), (Method::POST, "/api/logout")] {
        let reply = stack.with_token(method, path, &tokens.access).await;
        reply.assert_refused(401, "token_revoked", "Token has been revoked");
        assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
    }
    let reply = stack.with_token(Method::POST, "/api/refresh", &tokens.refresh).await;
    assert_refresh_refused(&reply);
}

/// Asserts that a refresh token was refused.
#[track_caller]
pub fn assert_refresh_refused(reply: &Reply) {
    reply.assert_refused(401, "invalid_refresh_token", "Invalid or expired refresh token");
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
}

/// Sends `replaces`, which replaces the recovery codes, and then `undoes`, which waits for it. All codes but one are used. So the new ones are rows that the
/// statement of the undo does not see. Returns both answers.
pub async fn while_codes_are_replaced(
    stack: &Stack,
    replaces: impl Future<Output = Reply>,
    undoes: impl Future<Output = Reply>,
) -> (Reply, Reply) {
    stack.sql("DELETE FROM recovery_codes WHERE number > 1").await;
    let mut rival = stack.database.connect().await;
    let rival = rival.transaction().await.unwrap();
    rival.execute("SELECT FROM recovery_codes FOR UPDATE", &[]).await.unwrap();
    let undoes = async {
        stack.wait_for_blocked_statement().await;
        undoes.await
    };
    let commits = async {
        stack.wait_for_blocked_statements(2).await;
        rival.commit().await.unwrap();
    };
    let (first, second, ()) = tokio::join!(replaces, undoes, commits);
    (first, second)
}

/// The log of PostgreSQL from a position on.
pub struct ServerLog(u64);

impl ServerLog {
    pub fn from_now() -> Self {
        Self(std::fs::metadata(tests::server("TEST_DATABASE_LOG")).unwrap().len())
    }

    /// The log up to now. To find the end, the test logs a line of its own.
    pub async fn read(&self, stack: &Stack) -> String {
        let end = Uuid::new_v4();
        stack.sql(&format!("DO $$ BEGIN RAISE LOG 'end {end}'; END $$")).await;
        for _ in 0..100 {
            let mut file = std::fs::File::open(tests::server("TEST_DATABASE_LOG")).unwrap();
            file.seek(SeekFrom::Start(self.0)).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            let log = String::from_utf8_lossy(&bytes);
            if log.contains(&format!("end {end}")) {
                return log.into_owned();
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("TEST_DATABASE_LOG is not the log of the server: the line of the test is missing")
    }
}
