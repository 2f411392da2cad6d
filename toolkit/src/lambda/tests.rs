use std::{
    env,
    process::ExitStatus,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;

use super::{FunctionSettings, Functions, NoAnswer, Observer};

/// Everything that the observer was called with.
#[derive(Default)]
struct Reports(Mutex<Vec<String>>);

impl Observer for Reports {
    fn line_written(&self, function: &str, line: &str) {
        self.0.lock().expect("no panic").push(format!("{function}: {line}"));
    }

    fn process_ended(&self, function: &str, status: ExitStatus, restarted: bool) {
        self.0.lock().expect("no panic").push(format!("{function} ended: {}, {restarted}", status.success()));
    }
}

impl Reports {
    fn contain(&self, report: &str) -> bool {
        self.0.lock().expect("no panic").iter().any(|found| found == report)
    }
}

/// A function whose program is a program of the operating system.
async fn function(program: &str, environment: &[(&str, &str)]) -> (Arc<Functions>, Arc<Reports>) {
    let reports = Arc::new(Reports::default());
    let settings = FunctionSettings {
        name: "signin".to_owned(),
        binary: program.into(),
        folder: env::temp_dir(),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        timeout: Duration::from_secs(1),
        max_processes: 2,
        restart: true,
    };
    let functions = Functions::open(vec![settings], Arc::<Reports>::clone(&reports)).await;
    (functions.expect("a free port"), reports)
}

#[tokio::test]
async fn a_function_that_ends_as_soon_as_it_starts_stays_stopped() {
    let (functions, reports) = function("false", &[]).await;
    let signin = functions.get("signin").expect("a function");
    assert!(matches!(signin.invoke(json!({}), None).await, Err(NoAnswer::Ended)));
    assert!(matches!(signin.invoke(json!({}), None).await, Err(NoAnswer::NotRunning)));
    assert!(!signin.is_running() && signin.process_ids().is_empty());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(reports.contain("signin ended: false, false"));
}

#[tokio::test]
async fn a_program_that_is_not_there_cannot_start() {
    let (functions, _) = function("/nowhere/signin", &[]).await;
    let signin = functions.get("signin").expect("a function");
    assert!(matches!(signin.invoke(json!({}), None).await, Err(NoAnswer::CannotStart(_))));
    assert!(signin.start().is_err());
}

#[tokio::test]
async fn a_process_has_the_variables_of_its_function_and_no_others() {
    let (functions, reports) = function("env", &[("MAIL_FROM", "a@example.com")]).await;
    let signin = functions.get("signin").expect("a function");
    assert!(matches!(signin.invoke(json!({}), None).await, Err(NoAnswer::Ended)));
    for line in ["MAIL_FROM=a@example.com", "AWS_LAMBDA_FUNCTION_NAME=signin"] {
        assert!(reports.contain(&format!("signin: {line}")), "{line}");
    }
    assert!(!reports.0.lock().expect("no panic").iter().any(|line| line.starts_with("signin: PATH=")));
}

#[tokio::test]
async fn an_event_is_not_answered_when_its_function_restarts() {
    // This program runs, but never requests an event.
    let (functions, _) = function("yes", &[]).await;
    let signin = functions.get("signin").expect("a function");
    let restarted = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        signin.restart(None).await.expect("a restart");
    };
    let (answer, ()) = tokio::join!(signin.invoke(json!({}), None), restarted);
    assert!(matches!(answer, Err(NoAnswer::Restarted)));
    assert_eq!(signin.process_ids().len(), 2);
    signin.end().await;
    assert!(signin.process_ids().is_empty());
}
