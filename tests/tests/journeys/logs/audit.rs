//! The audit lines: what happened to which account.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Stack, Tokens, documents, sample_event};

// Requirement 45.
#[tokio::test]
async fn an_audit_line_has_the_source_and_the_request_id_of_the_access_log() {
    let stack = Stack::builder().with("AWS_LAMBDA_LOG_FORMAT", "JSON").start().await;
    let mut expected = BTreeSet::new();
    for (function, event, source) in [
        ("signup", "signed_up", "203.0.113.7"),
        ("signin", "signed_in", "2001:db8::7"),
        ("forgot-password", "password_reset_requested", "198.51.100.20"),
    ] {
        let mut request = sample_event(function);
        let id = format!("{function}-lliAEPLQ=");
        request["requestContext"]["requestId"] = json!(id);
        request["requestContext"]["http"]["sourceIp"] = json!(source);
        stack.invoke(function, &request).await.unwrap();
        expected.insert([event.to_owned(), id, source.to_owned()]);
    }
    let logs = stack.final_logs().await;
    let lines = logs.values().flat_map(|log| log.lines()).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let audited = lines.filter(|line| line["message"] == "audit").map(|line| {
        ["/event", "/span/api_request_id", "/span/source"]
            .map(|pointer| line.pointer(pointer).and_then(Value::as_str).unwrap_or("missing").to_owned())
    });
    assert_eq!(audited.collect::<BTreeSet<_>>(), expected);

    let access_log = documents::template()["Resources"]["Api"]["Properties"]["AccessLogSettings"]["Format"].to_string();
    for field in [r#""requestId":"$context.requestId""#, r#""source":"$context.identity.sourceIp""#] {
        assert!(access_log.replace('\\', "").contains(field), "no {field} in {access_log}");
    }
}

// Requirement 45.
#[tokio::test]
async fn account_events_are_audited_by_user_id() {
    let stack = Stack::start().await;
    let ada = stack.user("Ada").await;
    let first = ada.signs_in().await;
    let second = Tokens::from(&ada.refreshes(&first.refresh).await);
    ada.refreshes(&second.refresh).await;
    ada.refreshes(&first.refresh).await;
    ada.with_password("wrong").tries_to_sign_in().await;
    stack.stranger("Nobody").tries_to_sign_in().await;
    let session = ada.signs_in().await;
    ada.logs_out(&session.access).await;
    let mail = ada.receives_reset_mail(1).await;
    ada.resets_password(&mail.token(), "another password").await;
    let logs = stack.logs();
    for (event, times) in [
        ("signed_up", 1),
        ("signed_in", 2),
        ("sign_in_failed", 1),
        ("refreshed", 2),
        ("refresh_reused", 1),
        ("signed_out", 1),
        ("password_reset_requested", 1),
        ("password_reset", 1),
    ] {
        let line = format!("event=\"{event}\" user_id=1");
        assert_eq!(logs.matches(&line).count(), times, "{event} in\n{logs}");
    }
    assert_eq!(logs.matches("event=\"sign_in_failed\"").count(), 2, "the failure of an unknown user has no user id");
}
