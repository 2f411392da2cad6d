//! Failures of SES, and events that are delivered twice.

use rstest::rstest;
use serde_json::{Value, json};
use tests::{Ses, SesHealth, Stack, mailbox, sample_event};

use crate::fault::Fault;

// Fault 13.
#[tokio::test]
async fn an_event_that_is_delivered_twice_takes_effect_once() {
    // The long minimum duration lets each request send its mail even on a busy machine.
    let stack = Stack::builder()
        .with("FORGOT_PASSWORD_FLOOR_MS", "4000")
        .with("PASSWORD_MIN_LENGTH", "")
        .with("PASSWORD_BLOCKLIST", "")
        .start()
        .await;
    let twice = async |function: &str, event: Value| {
        let mut answers = Vec::new();
        for _ in 0..2 {
            let answer = stack.invoke(function, &event).await.unwrap();
            let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            answers.push((answer["statusCode"].as_u64().unwrap(), body));
        }
        <[_; 2]>::try_from(answers).unwrap()
    };
    let statuses = |answers: &[(u64, Value); 2]| answers.each_ref().map(|(status, _)| *status);
    let with = |function: &str, token: &Value| {
        let mut event = sample_event(function);
        event["headers"]["authorization"] = format!("Bearer {}", token.as_str().unwrap()).into();
        event
    };

    assert_eq!(statuses(&twice("signup", sample_event("signup")).await), [201, 400]);
    assert_eq!(stack.sql_number("SELECT count(*) FROM users").await, 1);
    let [(_, first), (_, second)] = twice("signin", sample_event("signin")).await;
    assert_ne!(first["refresh_token"], second["refresh_token"], "each sign-in opens a session");
    let refreshed = twice("refresh", with("refresh", &first["refresh_token"])).await;
    assert_eq!(
        refreshed[0].1["refresh_token"], refreshed[1].1["refresh_token"],
        "the refresh is repeated, not rotated twice"
    );
    assert_eq!(statuses(&twice("dashboard", with("dashboard", &first["access_token"])).await), [200, 200]);
    assert_eq!(statuses(&twice("logout", with("logout", &first["access_token"])).await), [200, 401]);
    assert_eq!(stack.sessions().live().await.len(), 1, "only the second session is alive");

    let email = stack.sql_text("SELECT email::text FROM users").await;
    let links = mailbox::mails_to(&email).await.len();
    assert_eq!(statuses(&twice("forgot-password", sample_event("forgot-password")).await), [200, 200]);
    let mails = mailbox::wait_for(&email, links + 2).await;
    let mut reset = sample_event("reset-password");
    reset["pathParameters"]["token"] = mails.last().unwrap().token().into();
    assert_eq!(statuses(&twice("reset-password", reset).await), [200, 400]);
    assert_eq!(stack.sql_number("SELECT credential_version::bigint FROM users").await, 2);
    let notices = mailbox::wait_for(&email, links + 3).await.len();

    for (function, report) in [("migrate", "applied"), ("sweep", "mails_sent")] {
        for _ in 0..2 {
            let done = stack.invoke(function, &sample_event(function)).await.unwrap();
            assert!([json!([]), json!(0)].contains(&done[report]), "{function}: {done}");
        }
    }
    assert_eq!(mailbox::mails_to(&email).await.len(), notices);
}

// Fault 14.
#[rstest]
#[tokio::test]
async fn clients_do_not_notice_that_ses_fails_and_the_next_sweep_sends_the_mails(
    #[values(SesHealth::Throttled, SesHealth::Paused, SesHealth::Hanging)] health: SesHealth,
) {
    let mut fault = Fault::new(14, format!("SES: {health:?}"));
    let ses = Ses::new().await;
    let stack = Stack::builder().with("AWS_ENDPOINT_URL_SES", &ses.endpoint).start().await;
    let (ada, bob) = (stack.user("Ada").await, stack.user("Bob").await);
    let link = ada.receives_reset_mail(1).await.token();
    ses.set_health(health);
    let (forgot, reset) = tokio::join!(bob.forgets_password(), ada.resets_password(&link, "another password"));
    for reply in [forgot, reset] {
        fault.record_served(&reply);
    }
    let sweep = async || {
        stack.make_mails_due().await;
        stack.sweep().await
    };
    let report = sweep().await;
    assert_eq!((&report["mails_failed"], &report["mails_owed"]), (&json!(2), &json!(2)), "{report}");
    ses.set_health(SesHealth::Healthy);
    let report = sweep().await;
    assert_eq!((&report["mails_sent"], &report["mails_owed"]), (&json!(2), &json!(0)), "{report}");
    ada.mails(2).await;
    bob.mails(1).await;
}
